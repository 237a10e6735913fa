#include "lab.h"

#include "sim/random.h"

namespace duet::raid::bench {

namespace {

constexpr GroupId kGroup = {0xBE, 0x4C4};
NodeId node_id(std::uint32_t node) { return NodeId{static_cast<std::uint8_t>(node)}; }

}  // namespace

Lab::Lab(Machine& machine, const LabOptions& options)
    : machine_(machine), options_(options), wire_(machine.scheduler(), options_.timing) {
  for (std::uint32_t i = 0; i < options_.geometry.disks + options_.spares + options_.blank; ++i) {
    disks_.push_back(std::make_unique<RamDisk>(options_.geometry.disk_blocks(), options_.timing));
  }
  for (std::uint32_t i = 0; i < options_.nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>(options_.timing));
    Node& node = *nodes_.back();
    node.memory = std::make_unique<RamMemory>(
        MemoryLayout{options_.slots, options_.pages}.memory_bytes(options_.nodes));
    DUET_CHECK(
        format_intents(*node.memory, kGroup, node_id(i), options_.slots, options_.pages).ok());
    for (const auto& disk : disks_) {
      node.ways.push_back(
          std::make_unique<RamPort>(machine_.scheduler(), *disk, node.port, options_.timing));
      node.devices.push_back(node.ways.back().get());
    }
    node.peers = &wire_.add(*node.memory);
  }
  machine_.run(make());
}

Lab::~Lab() {
  for (const auto& node : nodes_) {
    node->group.reset();
  }
}

Task<void> Lab::make() {
  std::vector<DiskId> ids;
  for (std::uint32_t i = 0; i < disks_.size(); ++i) {
    ids.push_back({0xD15C, 1 + i});
  }
  const std::span<BlockDevice* const> devices = nodes_[0]->devices;
  const std::span<const DiskId> all_ids = ids;
  const std::size_t members = options_.geometry.disks;
  const FormatOptions how = {.range_stripes = options_.range_stripes,
                             .spares = devices.subspan(members, options_.spares),
                             .spare_ids = all_ids.subspan(members, options_.spares),
                             .step_stripes = options_.step_stripes};
  const NodeSet all = (NodeSet{1} << options_.nodes) - 1;
  const Status formatted = co_await format_group(devices.first(members), all_ids.first(members),
                                                 kGroup, options_.geometry, all, how);
  DUET_CHECK(formatted.ok());
  for (std::uint32_t i = 0; i < options_.nodes; ++i) {
    Node& node = *nodes_[i];
    const GroupOptions group_options = {
        .group = kGroup, .self = node_id(i), .incarnation = 100 + i, .copies = options_.copies};
    Result<std::unique_ptr<Group>> opened = co_await Group::open(
        machine_.scheduler(), node.devices, *node.memory, *node.peers, group_options);
    DUET_CHECK(opened.ok());
    node.group = std::move(opened.value());
  }
  for (bool together = false; !together;) {
    co_await sleep(machine_.scheduler(), std::chrono::milliseconds(1));
    together = true;
    for (const auto& node : nodes_) {
      const GroupStatus status = node->group->status();
      together = together && status.active && status.members == all;
    }
  }
}

GroupCounters Lab::counters() const {
  GroupCounters sum;
  for (const auto& node : nodes_) {
    const GroupCounters one = node->group->counters();
    sum.whole_stripes += one.whole_stripes;
    sum.read_modify += one.read_modify;
    sum.reconstruct += one.reconstruct;
    sum.settles += one.settles;
    sum.rebuilt += one.rebuilt;
    sum.passed_by += one.passed_by;
    sum.moved += one.moved;
    sum.messages += one.messages;
    sum.locks.uses += one.locks.uses;
    sum.locks.hits += one.locks.hits;
  }
  return sum;
}

Task<void> Lab::until(bool whole) {
  for (bool all = false; !all;) {
    co_await sleep(machine_.scheduler(), std::chrono::microseconds(100));
    all = true;
    for (const auto& node : nodes_) {
      const GroupLabel label = node->group->status().label;
      bool in_sync = true;
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        in_sync = in_sync && static_cast<DiskState>(label.members[i].state) == DiskState::kInSync;
      }
      all = all && in_sync == whole;
    }
  }
}

Buffer some_blocks(std::size_t blocks, std::uint64_t seed) {
  Buffer buffer(blocks);
  sim::Random random(seed);
  for (std::size_t at = 0; at < buffer.size(); at += 8) {
    store(buffer.bytes(), at, random.next());
  }
  return buffer;
}

}  // namespace duet::raid::bench
