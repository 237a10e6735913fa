// The redundancy groups of a pair as this program opens them itself: their disks, and what the
// nodes' mirror memories have for them.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "groups/format_pair.h"
#include "local.h"
#include "platform/memory_slice.h"

namespace duet::cli {

// 0: a.
[[nodiscard]] std::uint32_t number_of(const config::Node& node);

// The request log's part of a memory of a pair: the same of `memory` and `mirror`.
[[nodiscard]] std::uint64_t log_bytes_of(const config::Config& config);

// A disk of a pair's group, as it was opened or not.
struct GroupDisk {
  config::PairDisk configured;
  BlockDevice* device = nullptr;
  std::string problem;
};

// Groups on disks and memories that this program may change.
//
// Ownership: owns the groups; borrows the rest.  The disks end before it, the memories after it.
class PairGroups {
 public:
  PairGroups(os::EpollScheduler& scheduler, const config::Config& config)
      : scheduler_(scheduler), config_(config) {}

  // A node's mirror, for all groups that are made from now on.
  void add_memory(const config::Node& node, PersistentMemory& mirror);
  // The part of it that group `index` has.
  void add_part(const config::Node& node, std::size_t index, PersistentMemory& part);
  // `disks`: of any groups.  Not opened yet.
  groups::OfflineGroup& make(const config::RaidGroup& group, const std::vector<GroupDisk>& disks);

  // Null: the group was not made.
  [[nodiscard]] groups::OfflineGroup* find(std::string_view name) const;
  [[nodiscard]] const std::vector<std::unique_ptr<groups::OfflineGroup>>& all() const {
    return groups_;
  }
  // REQUIRES: open; a disk that is virtual.
  [[nodiscard]] BlockDevice* virtual_disk(const config::Disk& disk) const;

 private:
  struct Part {
    std::size_t group = 0;  // in config_.groups
    groups::OfflineGroup::Intents intents;
  };
  os::EpollScheduler& scheduler_;
  const config::Config& config_;
  std::vector<std::unique_ptr<MemorySlice>> slices_;
  std::vector<Part> parts_;
  std::vector<std::unique_ptr<groups::OfflineGroup>> groups_;
};

// Groups that are only looked at: what a crash left undone is finished in memory, and disks and
// memories stay as they are.
class PairLook {
 public:
  PairLook(os::EpollScheduler& scheduler, const config::Config& config)
      : scheduler_(scheduler), config_(config), groups_(scheduler, config) {}

  // What the mirrors of these nodes have for the groups is copied; of one that is not there: blank.
  // Empty, or why not.
  std::string copy_memories(const std::vector<const config::Node*>& nodes);
  // A disk of a group, which stays its owner's.  Opening it once more would not do: the kernel lets
  // a device of its own be opened once.
  void lend_disk(const config::PairDisk& configured, BlockDevice& device);
  // A disk of a group; null: not reached.
  void add_disk(const config::PairDisk& configured, std::unique_ptr<BlockDevice> device,
                std::string problem);
  // REQUIRES: its disks and the memories were given.  Empty, or why not.
  std::string open(const config::RaidGroup& group, Entropy& entropy);
  // Whether its disks carry the group as it is configured.
  // Error: its disks do not tell.
  Result<bool> is_there(const config::RaidGroup& group);

  [[nodiscard]] const PairGroups& groups() const { return groups_; }

 private:
  groups::OfflineGroup& made(const config::RaidGroup& group);

  os::EpollScheduler& scheduler_;
  const config::Config& config_;
  std::vector<std::unique_ptr<PersistentMemory>> copies_;
  PairGroups groups_;
  std::vector<GroupDisk> disks_;
  std::vector<std::unique_ptr<BlockDevice>> devices_;  // end first
};

}  // namespace duet::cli
