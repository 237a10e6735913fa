// Marks: the solo mark of one filer, on the members of its home node.
//
// A mark says that its filer has acknowledged requests that the partner does not hold: whoever sees
// one never replays the partner's copy (DESIGN section 4).
//
// Invariants:
//   (1) set() completes with Ok when the mark is durable on the serving quorum.  Members that were
//       not reached then still get it, or what is wanted later, as soon as they can be written.
//   (2) One write per sector is under way: a late one cannot undo what came after it.
//   (3) clear() completes with Ok when no member carries a mark.
//
// Ownership: borrows scheduler and disks; dies before them.  Thread-safety: the scheduler's thread.

#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "mailbox/members.h"
#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::mailbox {

// What the members say.
struct MarkReading {
  std::size_t readable = 0;
  bool quorum = false;             // the reading quorum answered: an absent mark is absent
  std::optional<MarkSector> mark;  // of the newest epoch; none: no member that was read has one
};

class Marks {
 public:
  Marks(Scheduler& scheduler, const Writer& writer, std::uint32_t filer, MemberDisks members);
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;

  // Retries members that fail with kIo.  kFenced: a member refused this node.
  // REQUIRES: one set() or clear() at a time.
  Task<Status> set(std::uint64_t epoch, std::uint64_t first_unmirrored);
  // Error: some member may still carry the mark; call it again.
  Task<Status> clear(std::uint64_t epoch);

  Task<MarkReading> read();

  // The members from now on; given two sets, what counts must count in each.
  void use(const MemberSets& sets);
  // Every member of every set says what this filer's mark is now: what was set or cleared here
  // last, else what the first set says.  Error: a member could not be written.
  // REQUIRES: this node hosts the filer.
  Task<Status> carry();

 private:
  struct Slot {
    shelf::SharedDisk* disk;
    std::unique_ptr<SectorBuffer> buffer;
    std::uint64_t durable = 0;  // the version that it holds
    bool running = false;       // bring() runs
    Status last = Ok{};
    bool retired = false;  // no member any more
  };
  static Task<MarkReading> read(std::array<std::uint64_t, 2> pair, std::uint32_t filer,
                                MemberDisks members);
  void begin(Slot& slot);
  void want(bool set, std::uint64_t epoch, std::uint64_t first);
  Task<void> bring(Slot& slot);
  Task<Status> everywhere();
  // Of one set.
  [[nodiscard]] std::size_t holding(const MemberDisks& members) const;
  [[nodiscard]] bool serving_quorum_holds() const;

  Scheduler& scheduler_;
  const Writer writer_;
  const std::uint32_t filer_;
  MemberSets sets_;
  std::list<Slot> slots_;
  MarkSector wanted_;
  std::uint64_t version_ = 0;  // of wanted_
  WaitList changed_;
  TaskScope scope_;
};

}  // namespace duet::mailbox
