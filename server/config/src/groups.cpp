// What follows from a redundancy group's configuration.

#include <algorithm>

#include "base/check.h"
#include "config/config.h"

namespace duet::config {

namespace {

// Both nodes of a pair, also when there is only one: a node's memory stays as it is laid out.
constexpr std::uint32_t kIntentAreas = 2;
constexpr std::uint32_t kIntentSlots = 512;
constexpr std::uint32_t kIntentPagesMin = 1024;

}  // namespace

std::string_view level_name(raid::Level level) {
  switch (level) {
    case raid::Level::kMirror:
      return "raid1";
    case raid::Level::kSingleParity:
      return "raid5";
    case raid::Level::kDoubleParity:
      return "raid6";
  }
  return "unknown";
}

raid::Geometry RaidGroup::geometry(std::uint64_t smallest_disk_bytes) const {
  const std::uint64_t blocks = smallest_disk_bytes / kBlockBytes;
  const std::uint64_t data = blocks - std::min(blocks, raid::kDataStartBlock);
  return {.level = level,
          .disks = static_cast<std::uint32_t>(disks.size()),
          .chunk_blocks = chunk_blocks,
          .stripes = data / chunk_blocks};
}

raid::MemoryLayout RaidGroup::intents() const {
  // One whole stripe of the widest group, written in place, and another beside it.
  return {.slots = kIntentSlots,
          .pages = std::max(kIntentPagesMin, 2 * raid::kDisksMax * chunk_blocks)};
}

std::uint64_t RaidGroup::intent_bytes() const { return intents().memory_bytes(kIntentAreas); }

MemoryMap map_memory(const std::vector<const RaidGroup*>& groups, std::uint64_t memory_bytes) {
  MemoryMap map;
  map.log_bytes = memory_bytes;
  for (const RaidGroup* const group : groups) {
    map.log_bytes -= map.log_bytes % kBlockBytes;
    DUET_CHECK(group->intent_bytes() <= map.log_bytes);
    map.log_bytes -= group->intent_bytes();
    map.intents.push_back({map.log_bytes, group->intent_bytes()});
  }
  return map;
}

}  // namespace duet::config
