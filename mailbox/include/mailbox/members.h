// Members: the disks that carry a node's mailbox, how many of them count, and who they are (rule
// 2).
//
// The generation in the root of the node's own filer says which membership counts; the members
// sectors, on each member and on no other disk needed, say which disks that is.  A sector names the
// membership before it too, so that one that never got into the root costs nothing.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "mailbox/sector.h"
#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::mailbox {

// In the order of the configuration; one (no failover), two or three.  Borrowed.
using MemberDisks = std::vector<shelf::SharedDisk*>;
// One; or two while the members change: then what counts must count in each.
using MemberSets = std::vector<MemberDisks>;

// A node serves while it renews on so many: one of two, two of three.
[[nodiscard]] constexpr std::size_t serving_quorum(std::size_t members) {
  return members == 3 ? 2 : 1;
}
// So many must be read for "nothing changed": both of two, two of three.  Together with the other
// quorum more than all: what one wrote the other reads.
[[nodiscard]] constexpr std::size_t reading_quorum(std::size_t members) {
  return members == 3 ? 2 : members;
}

struct Membership {
  std::uint64_t generation = 0;  // 0: nobody wrote one; the configuration says
  std::vector<DiskIdentity> disks;
  friend bool operator==(const Membership&, const Membership&) = default;
};

// What the disks of a filer say of its home node's members.
struct MembersRead {
  std::vector<MembersSector> sectors;  // newest first
  bool all = false;                    // every disk answered
  std::size_t unknown = 0;             // disks on which a sector may stand that is not among these

  // The membership of this generation, if a sector names it.
  [[nodiscard]] std::optional<Membership> of(std::uint64_t generation) const;
  [[nodiscard]] std::uint64_t highest() const;  // generation that any sector names; 0: none
};
Task<MembersRead> read_members(std::array<std::uint64_t, 2> pair, Node node, MemberDisks disks);

// `next` replaces `now`: the sector that says so.  REQUIRES: 1 to kMembersMax disks each.
[[nodiscard]] MembersSector members_sector(const Membership& next, const Membership& now);

// Writes a node's own members sectors.
//
// Invariant: one write per sector is under way, and what was wanted last is written last.
// Ownership: borrows scheduler and disks; dies before them.
class MembersWriter {
 public:
  MembersWriter(Scheduler& scheduler, const Writer& writer)
      : writer_(writer), changed_(scheduler), scope_(scheduler) {}
  MembersWriter(const MembersWriter&) = delete;
  MembersWriter& operator=(const MembersWriter&) = delete;

  // Ok: `needed` of `disks` hold it durably; the others were tried, or still are.  Error: of the
  // last that failed.
  Task<Status> write(MembersSector sector, MemberDisks disks, std::size_t needed);
  // Completes when nothing is under way.
  Task<void> quiet();

 private:
  struct Slot {
    shelf::SharedDisk* disk;
    std::unique_ptr<SectorBuffer> buffer;
    std::uint64_t wanted = 0;   // versions
    std::uint64_t tried = 0;    // ... that a write has ended of
    std::uint64_t durable = 0;  // ... that it holds
    bool running = false;
    Status last = Ok{};
  };
  Slot& slot_of(shelf::SharedDisk& disk);
  Task<void> bring(Slot& slot);

  const Writer writer_;
  std::list<Slot> slots_;
  MembersSector wanted_;
  std::uint64_t version_ = 0;
  WaitList changed_;
  TaskScope scope_;
};

}  // namespace duet::mailbox
