// OfflineGroup: a redundancy group of a pair while neither node manages it: `duet init` makes it
// and formats what lies on it, `duet check` looks at it.
//
//   [format()] -> open() -> virtual disks -> close()
//
// It opens the group in the place of one of the nodes and takes the other for one whose process is
// gone.  So whoever calls has seen to it that neither node lives, or works on copies of disks and
// memories (overlay.h).  After close() the label names no holder: both nodes can start.
//
// Ownership: borrows everything it is given.  The disks end before it, and wait for what is under
// way; the memories after it.  Thread-safety: the scheduler's thread.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "platform/block_device.h"
#include "platform/entropy.h"
#include "platform/persistent_memory.h"
#include "raid/group.h"
#include "raid/lone_peers.h"
#include "raid/virtual_disk.h"

namespace duet::groups {

struct NamedGroup;
struct NewDisk;

// Those that manage a group of a pair.
inline constexpr raid::NodeSet kPairNodes = 0b11;

class OfflineGroup {
 public:
  struct Disk {
    const config::Disk* configured = nullptr;
    std::string name;  // for people: the URL without a password
    bool spare = false;
    BlockDevice* device = nullptr;  // null: it was not reached
    std::string problem;            // why not
  };
  // What a node's mirror memory has for this group.
  struct Intents {
    raid::NodeId node{};
    PersistentMemory* memory = nullptr;
  };

  // `disks` as the configuration lists them, spares behind; `file`: the configuration's, for
  // messages.
  OfflineGroup(Scheduler& scheduler, const std::string& file, const config::RaidGroup& configured,
               std::vector<Disk> disks, std::vector<Intents> intents);
  OfflineGroup(const OfflineGroup&) = delete;
  OfflineGroup& operator=(const OfflineGroup&) = delete;

  // Whether the disks carry a group of both nodes with the disks and virtual disks that the
  // configuration describes.  Changes nothing.
  // Error: what is on the disks that can be read does not tell.
  Task<Result<bool>> is_there();

  // Each gives an empty text, or why not, with a remedy.

  // Whether the disks are large enough for it.  REQUIRES: all were reached.
  [[nodiscard]] std::string check() const;

  // Makes the group anew and its intents in the memories that are here; a node whose memory is not
  // makes its own when it first opens the group.  Overwrites whatever the disks hold.
  // REQUIRES: all disks were reached.
  Task<std::string> format(Entropy& entropy,
                           const std::function<void(const std::string&)>& progress);

  // Finishes what a crash left undone, in the place of a node whose memory has all that the group
  // was writing.  REQUIRES: there is a memory.
  Task<std::string> open(Entropy& entropy);

  // REQUIRES, for all below: open() came to a good end.

  // Null: the group has none of that name.
  [[nodiscard]] BlockDevice* virtual_disk(std::string_view name) const;
  [[nodiscard]] raid::Group& group() const { return *group_; }
  // What is not as it should be, for people.
  [[nodiscard]] std::vector<std::string> notes() const;
  // Leaves nothing to finish, and no virtual disk.  REQUIRES: nothing is under way on them.
  Task<Status> close();

  [[nodiscard]] const config::RaidGroup& configured() const { return configured_; }

 private:
  [[nodiscard]] std::string place() const;
  [[nodiscard]] std::vector<NewDisk> new_disks() const;
  Task<std::vector<Result<raid::GroupLabel>>> read_labels();
  [[nodiscard]] NamedGroup find_group(const std::vector<Result<raid::GroupLabel>>& labels) const;
  // Null: why not is in `wrong`.
  [[nodiscard]] const Intents* choose_intents(const raid::GroupId& id,
                                              const raid::GroupLabel& label,
                                              std::string& wrong) const;

  Scheduler& scheduler_;
  const std::string& file_;
  const config::RaidGroup& configured_;
  std::vector<Disk> disks_;
  std::vector<std::optional<raid::DiskId>> ids_;  // of the disks, by their labels
  const std::vector<Intents> intents_;
  raid::LonePeers peers_;
  std::unique_ptr<raid::Group> group_;
  std::vector<std::unique_ptr<raid::VirtualDisk>> virtual_disks_;
};

}  // namespace duet::groups
