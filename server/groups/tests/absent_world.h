// A group of a pair's node whose disks may be out of reach; the partner is never there.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "platform/memory_slice.h"
#include "raid/lone_peers.h"
#include "world.h"

namespace duet::groups::testing {

class AbsentWorld {
 public:
  static constexpr std::uint64_t kDiskBlocks = 1024;

  explicit AbsentWorld(std::string_view level = "raid5", int disks = 3)
      : world(level, disks, kDiskBlocks) {
    EXPECT_EQ(world.format_and_open(), "");
    world.close();
    const std::vector<const config::RaidGroup*> configured = {&world.config.groups[0]};
    const config::MemoryMap map = config::map_memory(configured, World::kMemoryBytes);
    memory =
        std::make_unique<MemorySlice>(world.memory, map.intents[0].offset, map.intents[0].bytes);
    groups.push_back(std::make_unique<ManagedGroup>(
        world.scheduler, world.config.file, world.config.groups[0], raid::NodeId{0},
        [](const raid::GroupId& /*id*/) { return std::make_unique<raid::LonePeers>(); },
        [this](const config::Disk& disk) {
          const auto found = absent.find(disk.path.text);
          return found == absent.end() ? std::string() : found->second;
        }));
  }
  // As a pair's disks: one that is away has no blocks.
  std::string open() {
    const std::string wrong = group().open_disks(
        [this](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
          sim::SimDisk* found = world.disks.at(disk.path.text).get();
          if (absent.contains(disk.path.text)) {
            away.push_back(std::make_unique<sim::SimDisk>(disk.path.text, 0));
            found = away.back().get();
          }
          return Result<std::unique_ptr<BlockDevice>>(
              std::make_unique<sim::SimBlockDevice>(world.scheduler, *found));
        });
    return wrong.empty() ? world.run(group().open(*memory, 7)) : wrong;
  }
  // None comes while the pair is up.
  static ManagedGroup::Opener opener() {
    return [](const config::Disk& /*disk*/) -> Result<std::unique_ptr<BlockDevice>> {
      return Error{Errc::kRefused, "both nodes must know it"};
    };
  }
  [[nodiscard]] ManagedGroup& group() { return *groups.front(); }

  World world;
  std::map<std::string, std::string> absent;  // disks that are not reached, and why
  std::vector<std::unique_ptr<sim::SimDisk>> away;
  std::unique_ptr<MemorySlice> memory;
  std::vector<std::unique_ptr<ManagedGroup>> groups;
};

}  // namespace duet::groups::testing
