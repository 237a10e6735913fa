#include "pair_groups.h"

#include <algorithm>

#include "groups/overlay.h"

namespace duet::cli {

namespace {

config::MemoryMap map_of(const config::Config& config) {
  const config::Node& any = config.nodes.front();
  return config::map_memory(config.groups_of(any), any.memory.size_bytes);
}

// Somebody else's.
class Lent final : public BlockDevice {
 public:
  explicit Lent(BlockDevice& device) : device_(device) {}
  [[nodiscard]] std::uint64_t block_count() const override { return device_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return device_.name(); }
  void start(BlockOperation& operation) override { device_.start(operation); }

 private:
  BlockDevice& device_;
};

}  // namespace

std::uint32_t number_of(const config::Node& node) { return node.name == "b" ? 1 : 0; }

std::uint64_t log_bytes_of(const config::Config& config) { return map_of(config).log_bytes; }

void PairGroups::add_memory(const config::Node& node, PersistentMemory& mirror) {
  const config::MemoryMap map = map_of(config_);
  for (std::size_t i = 0; i < map.intents.size(); ++i) {
    slices_.push_back(
        std::make_unique<MemorySlice>(mirror, map.intents[i].offset, map.intents[i].bytes));
    add_part(node, i, *slices_.back());
  }
}

void PairGroups::add_part(const config::Node& node, std::size_t index, PersistentMemory& part) {
  parts_.push_back({index, {raid::NodeId{static_cast<std::uint8_t>(number_of(node))}, &part}});
}

groups::OfflineGroup& PairGroups::make(const config::RaidGroup& group,
                                       const std::vector<GroupDisk>& disks) {
  std::vector<groups::OfflineGroup::Disk> own;
  for (const GroupDisk& disk : disks) {
    if (disk.configured.group != &group) {
      continue;
    }
    const config::Disk* const configured = disk.configured.disk;
    const bool spare = std::ranges::any_of(
        group.spares, [&](const config::Disk& each) { return &each == configured; });
    own.push_back({.configured = configured,
                   .name = configured->shown(),
                   .spare = spare,
                   .device = disk.device,
                   .problem = disk.problem});
  }
  std::vector<groups::OfflineGroup::Intents> intents;
  for (const Part& part : parts_) {
    if (&config_.groups[part.group] == &group) {
      intents.push_back(part.intents);
    }
  }
  groups_.push_back(std::make_unique<groups::OfflineGroup>(scheduler_, config_.file, group,
                                                           std::move(own), std::move(intents)));
  return *groups_.back();
}

groups::OfflineGroup* PairGroups::find(std::string_view name) const {
  const auto found = std::ranges::find_if(
      groups_, [&](const auto& group) { return group->configured().name == name; });
  return found == groups_.end() ? nullptr : found->get();
}

BlockDevice* PairGroups::virtual_disk(const config::Disk& disk) const {
  groups::OfflineGroup* const group = find(disk.group);
  DUET_CHECK(group != nullptr);
  return group->virtual_disk(disk.virtual_disk);
}

std::string PairLook::copy_memories(const std::vector<const config::Node*>& nodes) {
  const config::MemoryMap map = map_of(config_);
  if (map.intents.empty()) {
    return {};
  }
  for (const config::Node* const node : nodes) {
    config::Memory looked_at = *node->mirror;
    looked_at.accept_volatile = true;  // looking is no serving
    std::unique_ptr<os::MappedMemory> memory;
    if (std::string wrong = open_memory(config_, looked_at, /*create=*/false, memory);
        !wrong.empty()) {
      return wrong;
    }
    for (std::size_t i = 0; i < map.intents.size(); ++i) {
      const config::MemoryMap::Part& part = map.intents[i];
      const std::span<const std::byte> original =
          memory == nullptr ? std::span<const std::byte>()
                            : memory->bytes().subspan(part.offset, part.bytes);
      copies_.push_back(std::make_unique<groups::MemoryCopy>(original, part.bytes));
      groups_.add_part(*node, i, *copies_.back());
    }
  }
  return {};
}

void PairLook::lend_disk(const config::PairDisk& configured, BlockDevice& device) {
  add_disk(configured, std::make_unique<Lent>(device), {});
}

void PairLook::add_disk(const config::PairDisk& configured, std::unique_ptr<BlockDevice> device,
                        std::string problem) {
  GroupDisk disk{.configured = configured, .problem = std::move(problem)};
  if (device != nullptr) {
    devices_.push_back(std::make_unique<groups::Overlay>(scheduler_, std::move(device)));
    disk.device = devices_.back().get();
  }
  disks_.push_back(std::move(disk));
}

groups::OfflineGroup& PairLook::made(const config::RaidGroup& group) {
  groups::OfflineGroup* const known = groups_.find(group.name);
  return known != nullptr ? *known : groups_.make(group, disks_);
}

std::string PairLook::open(const config::RaidGroup& group, Entropy& entropy) {
  return run(scheduler_, made(group).open(entropy));
}

Result<bool> PairLook::is_there(const config::RaidGroup& group) {
  return run(scheduler_, made(group).is_there());
}

}  // namespace duet::cli
