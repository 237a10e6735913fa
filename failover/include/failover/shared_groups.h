// SharedGroups: what the pair does to the redundancy groups that both nodes manage, whatever they
// are.
//
//   waiting --the partner's manager, or its fence--> shared <--> alone
//
// A group's manager waits for the partner in everything that it writes, until the partner's process
// leaves in order or is known to be fenced.  So a pair that has groups
//   - fences a dead partner also when that serves no filer, or while the node's loop waits for a
//     group itself; and a living one that comes to manage no group which waits for it;
//   - lets no log go solo before the partner is fenced or gone: while both live and do not hear
//     each other one of them is shut out (rule 6, "arbitrate: the loser halts");
//   - ends a process whose key was removed from a disk: the others have carried out what it meant
//     to write, and its own writes must not come behind that (rule 10, without the way back).
//
// Ownership: PairNode borrows it.  Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "shelf/shared_disk.h"

namespace duet::failover {

enum class GroupsState : std::uint8_t {
  kShared,   // the partner's process may be at work on some group that this node manages
  kWaiting,  // on none of these; but some are not managed here, and who is at work on them?
  kAlone,    // on all of them this node alone is, or nobody
};

class SharedGroups {
 public:
  virtual ~SharedGroups() = default;

  // This process has joined every disk that it reaches; of no older one of this node anything is
  // under way; and its partner can read that it exists.  Called once, or never.
  virtual void begin() = 0;
  [[nodiscard]] virtual GroupsState state() const = 0;
  // This process cannot go on: a disk has refused it, or a group that it managed has lost too many
  // disks, as it sees them.  The partner waits for it meanwhile.
  [[nodiscard]] virtual bool ended() const = 0;
  // The virtual disks of the filer can be read and written here.
  [[nodiscard]] virtual bool ready(std::uint32_t filer) const = 0;
  // Some group waits until the partner's process of this incarnation manages it, too.
  [[nodiscard]] virtual bool lacks(std::uint64_t incarnation) const = 0;
  // By its labels no other node has managed any group since this one did.
  [[nodiscard]] virtual bool was_last_alone() const = 0;
  // The partner's process of that incarnation, and its older ones, are shut out of all the groups'
  // disks but these: nothing of them is under way, and nothing will come.  Those left are not used
  // any more.  A group that cannot do without them waits on, and is not ready.
  virtual void partner_fenced(std::uint64_t incarnation,
                              std::span<shelf::SharedDisk* const> left) = 0;
  // One of those left can be used again: those processes are shut out of it by now.
  virtual void shut_out_of(shelf::SharedDisk& disk) = 0;
};

}  // namespace duet::failover
