// ManagedGroup: a redundancy group of the configuration on this node, from its disks to the virtual
// disks on it.
//
//   open_disks() -> [format()] -> open() -> virtual disks -> close()
//                              -> start() -> manage() ---^       in a pair: the first waits for
//                                                                nobody, the second for the partner
//
// A disk that is not there, or cannot be opened or read, is noted; whether the group can do without
// it is the group's to say.
//
// Ownership: owns disks, group and virtual disks; borrows the rest.  Virtual disks end before it.
// Thread-safety: the scheduler's thread.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "groups/held_disk.h"
#include "platform/entropy.h"
#include "platform/persistent_memory.h"
#include "platform/wait.h"
#include "raid/group.h"
#include "raid/onlooker.h"
#include "raid/virtual_disk.h"

namespace duet::groups {

// A disk that the configuration lists.
struct Slot {
  const config::Disk* configured = nullptr;
  bool spare = false;                // by the configuration
  bool zeros = false;                // known to hold nothing but zeros
  bool removed = false;              // the operator took it out, and it did not come back
  std::unique_ptr<HeldDisk> device;  // null: it could not be opened, or was closed
  std::string problem;               // why not; or why the group does not use it
  std::optional<raid::DiskId> id;    // by its label
};

// What the present label says of a disk, and of which.
struct DiskView {
  const Slot* slot = nullptr;           // null: no disk that is known here is this one
  std::optional<std::uint32_t> number;  // none: a spare, or no disk of the group
  bool spare = false;                   // takes the place of the next disk that fails
  std::optional<raid::DiskId> id;       // none: no disk of the group
  raid::DiskState state = raid::DiskState::kFailed;
  bool kept_out = false;        // kFailed: an operator failed it
  std::uint64_t watermark = 0;  // kRebuilding: stripes that are done
};

class ManagedGroup {
 public:
  // Gives a disk of the configuration.  Error kRefused: somebody else uses it.
  using Opener = std::function<Result<std::unique_ptr<BlockDevice>>(const config::Disk&)>;

  // Gives the other managers of a group.
  using Connect = std::function<std::unique_ptr<raid::Peers>(const raid::GroupId&)>;

  // Why this node does not reach or use a disk now; empty: it does, as far as is known.
  using Absence = std::function<std::string(const config::Disk&)>;

  // `file`: the configuration's, for messages.  `connect`: in a pair; else there are no others.
  // `absence`: where disks may be away for a while.
  // REQUIRES: what is borrowed outlives it.
  ManagedGroup(Scheduler& scheduler, const std::string& file, const config::RaidGroup& configured,
               raid::NodeId self, Connect connect = nullptr, Absence absence = nullptr);
  ~ManagedGroup();
  ManagedGroup(const ManagedGroup&) = delete;
  ManagedGroup& operator=(const ManagedGroup&) = delete;

  // Empty, or what must be set right first: a disk that another program uses.
  std::string open_disks(const Opener& open);

  // This disk holds nothing but zeros: it need not be looked at before it is formatted.
  void note_zeros(const config::Disk& disk);

  // Makes the group anew, with its virtual disks and its intents in `memory`; overwrites whatever
  // its disks hold.  Empty, or why not; then the disks hold no group.
  Task<std::string> format(PersistentMemory& memory, Entropy& entropy,
                           const std::function<void(const std::string&)>& progress);

  // Finds the group among the disks, finishes what a crash left undone, and manages it.
  // Empty, or why not, with a remedy.
  Task<std::string> open(PersistentMemory& memory, std::uint64_t incarnation);
  // Its two halves; each gives an empty text, or why not.  start() may be tried again.
  Task<std::string> start(PersistentMemory& memory, std::uint64_t incarnation);
  Task<std::string> manage();

  // What stands on its disks now, without managing the group.  `memory` as open()'s.
  // Error: kNotFound: the disks do not tell which group they are; else as Onlooker::open().
  Task<Result<std::unique_ptr<raid::Onlooker>>> look(const PersistentMemory& memory);
  // Null: start() did not come to a good end yet.
  [[nodiscard]] raid::Group* manager() const { return group_.get(); }
  // manage() came to a good end.
  [[nodiscard]] bool managed() const { return managed_; }
  // Why it is not managed, with a remedy.  REQUIRES: !managed().
  [[nodiscard]] std::string why_not_managed() const;
  // Why this node cannot reach or use a disk at the moment; empty: it can, as far as is known.
  [[nodiscard]] std::string absence_of(const Slot& slot) const;
  // The same, or why the group did not take the disk or lost it; may be empty.
  [[nodiscard]] std::string problem_of(const Slot& slot) const;

  // REQUIRES: managed(), for all below.

  // Null: the group has none of that name.
  [[nodiscard]] BlockDevice* virtual_disk(std::string_view name) const;
  [[nodiscard]] raid::Group& group() const { return *group_; }
  // Every disk of the label by its number, then its spares, then what is known and neither, unless
  // it was removed.
  [[nodiscard]] std::vector<DiskView> disks() const;
  // A disk by its path, the end of it behind a slash or a #, or its number.  None, or of several:
  // nullopt.
  [[nodiscard]] std::optional<std::uint32_t> find_disk(std::string_view text) const;
  // Why find_disk() has none, with what to do.
  [[nodiscard]] std::string not_found(std::string_view text) const;
  // How many more disks it can lose; none: it has lost too many.
  [[nodiscard]] std::optional<std::uint32_t> can_lose() const;

  // Each gives an empty text, or why not.  `force`: it may hold something.

  // A disk becomes a spare, or takes the place of a member that has failed.  `path`: one of the
  // configuration that is not used yet, or another, which `open` then opens.
  Task<std::string> add_spare(std::string path, bool force, Opener open, Entropy& entropy);
  Task<std::string> replace(std::uint32_t disk, std::string path, bool force, Opener open,
                            Entropy& entropy);
  // A member that has failed is used again; its device is opened anew if the one at hand is of no
  // use any more.
  Task<std::string> take_back(std::uint32_t disk, Opener open);
  // A spare is none any more.
  Task<std::string> remove_spare(std::string path);
  // A disk that has failed, was replaced or is a spare leaves the group's hands.  Alone, this
  // process closes it; in a pair both nodes keep their sessions.
  struct Removal {
    std::string wrong;  // why not; empty: it is done
    std::string left;   // why what is on it was left there; empty: it is blank for a group again
    bool closed = false;
    bool missed = false;  // no other disk has its place
  };
  Task<Removal> remove(std::string path);
  // The group spreads over these disks, too, while it is used.  `paths` as above.
  Task<std::string> expand(std::vector<std::string> paths, bool force, Opener open,
                           Entropy& entropy);
  // A virtual disk in room that none has; it is served when the configuration names it.
  Task<std::string> add_virtual_disk(std::string name, std::uint64_t bytes);

  // Leaves nothing to finish.  REQUIRES: nothing is under way on its virtual disks.
  Task<Status> close();

  // Others may manage it, too.
  [[nodiscard]] bool in_pair() const { return connect_ != nullptr; }
  [[nodiscard]] const config::RaidGroup& configured() const { return configured_; }
  [[nodiscard]] const std::deque<Slot>& slots() const { return slots_; }

 private:
  [[nodiscard]] std::string place() const;
  Task<std::vector<Result<raid::GroupLabel>>> read_labels();
  Task<std::string> begin(PersistentMemory& memory, std::uint64_t incarnation);
  std::string find_group(const PersistentMemory& memory,
                         const std::vector<Result<raid::GroupLabel>>& labels);
  std::string ready_memory(PersistentMemory& memory,
                           const std::vector<Result<raid::GroupLabel>>& labels) const;
  [[nodiscard]] const raid::GroupLabel* newest(
      const std::vector<Result<raid::GroupLabel>>& labels) const;
  [[nodiscard]] std::string refused_start(
      const Error& error, const std::vector<Result<raid::GroupLabel>>& labels) const;
  [[nodiscard]] std::string remedy_of(Errc code, std::uint32_t disks) const;
  [[nodiscard]] bool knows_newest(const PersistentMemory& memory,
                                  const std::vector<Result<raid::GroupLabel>>& labels) const;
  [[nodiscard]] bool is_slot_of(const Slot& slot, const raid::DiskId& id) const;
  [[nodiscard]] bool uses(const raid::DiskId& id) const;
  Task<void> let_go(Slot& slot, Removal& removal);
  [[nodiscard]] bool is_used_by(const raid::GroupLabel& label) const;
  Task<bool> carries_used_label(BlockDevice& disk) const;
  void give_up_if_used(const Slot& slot) const;
  Task<std::string> erase(BlockDevice& disk) const;
  // Null: why not is in `wrong`.
  Slot* take(const std::string& path, const Opener& open, std::string& wrong);
  Task<Slot*> take_blank(const std::string& path, bool force, const Opener& open,
                         std::string& wrong);
  static std::string given(Slot& slot, const std::string& path, const raid::DiskId& id,
                           const Status& result);
  // Of the blocks in front of the group's: raid looks at its own.  Error: kRefused, kIo.
  static Task<Status> must_be_blank(BlockDevice& disk);

  Scheduler& scheduler_;
  const std::string& file_;
  const config::RaidGroup& configured_;
  const raid::NodeId self_;
  const Connect connect_;
  const Absence absence_;
  std::unique_ptr<raid::Peers> peers_;
  std::deque<config::Disk> added_;  // disks that came later
  std::deque<Slot> slots_;
  std::vector<std::unique_ptr<HeldDisk>> retired_;  // that the group may still know
  AsyncMutex changing_;                             // one verb of an operator at a time
  raid::GroupId id_{};
  bool knows_newest_ = false;
  bool managed_ = false;
  std::string trouble_;  // of the last start
  std::unique_ptr<raid::Group> group_;
  std::vector<std::unique_ptr<raid::VirtualDisk>> virtual_disks_;
};

}  // namespace duet::groups
