#include "groups/node_groups.h"

namespace duet::groups {

NodeGroups::NodeGroups(Scheduler& scheduler, const config::Config& config, const config::Node& node)
    : config_(config) {
  const raid::NodeId self{static_cast<std::uint8_t>(node.name == "b" ? 1 : 0)};
  for (const config::RaidGroup* const group : config.groups_of(node)) {
    groups_.push_back(std::make_unique<ManagedGroup>(scheduler, config_.file, *group, self));
  }
}

ManagedGroup* NodeGroups::find(std::string_view name) const {
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (group->configured().name == name) {
      return group.get();
    }
  }
  return nullptr;
}

void NodeGroups::lay_out(PersistentMemory& memory) {
  std::vector<const config::RaidGroup*> configured;
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    configured.push_back(&group->configured());
  }
  const config::MemoryMap map = config::map_memory(configured, memory.bytes().size());
  log_memory_ = std::make_unique<MemorySlice>(memory, 0, map.log_bytes);
  slices_.clear();
  for (const config::MemoryMap::Part& part : map.intents) {
    slices_.push_back(std::make_unique<MemorySlice>(memory, part.offset, part.bytes));
  }
}

std::string NodeGroups::open_disks(const ManagedGroup::Opener& open) {
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (std::string wrong = group->open_disks(open); !wrong.empty()) {
      return wrong;
    }
  }
  return {};
}

Task<std::string> NodeGroups::format(Entropy& entropy,
                                     const std::function<void(const std::string&)>& progress) {
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    std::string wrong = co_await groups_[i]->format(*slices_[i], entropy, progress);
    if (!wrong.empty()) {
      co_return wrong;
    }
  }
  co_return std::string();
}

Task<std::string> NodeGroups::open(Entropy& entropy) {
  for (; opened_ < groups_.size(); ++opened_) {
    const std::uint64_t incarnation = entropy.next() | 1U;
    std::string wrong = co_await groups_[opened_]->open(*slices_[opened_], incarnation);
    if (!wrong.empty()) {
      co_return wrong;
    }
  }
  co_return std::string();
}

BlockDevice* NodeGroups::virtual_disk(const config::Disk& disk) const {
  ManagedGroup* const group = find(disk.group);
  DUET_CHECK(group != nullptr);
  return group->virtual_disk(disk.virtual_disk);
}

Task<Status> NodeGroups::close() {
  Status first = Ok{};
  for (; opened_ > 0; --opened_) {
    const Status closed = co_await groups_[opened_ - 1]->close();
    if (!closed.ok() && first.ok()) {
      first = closed;
    }
  }
  co_return first;
}

}  // namespace duet::groups
