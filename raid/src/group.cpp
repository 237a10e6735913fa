#include "raid/group.h"

#include <algorithm>

#include "core.h"

namespace duet::raid {

namespace {

constexpr std::uint32_t kStepBlocks = 4096;  // of a disk, in one step of a rebuild

}  // namespace

Task<Status> format_group(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                          const GroupId& group, const Geometry& geometry, NodeSet nodes,
                          FormatOptions options) {
  DUET_CHECK(devices.size() == ids.size() && options.spares.size() == options.spare_ids.size());
  const std::uint32_t range = options.range_stripes;
  if (!geometry.valid() || devices.size() != geometry.disks || nodes == 0 ||
      options.spares.size() > kSparesMax || range == 0 || options.step_stripes % range != 0 ||
      (nodes >> kNodesMax) != 0) {
    co_return Error{Errc::kInvalid, "these disks make no redundancy group"};
  }
  const auto label = std::make_unique<GroupLabel>();
  label->level = static_cast<std::uint32_t>(geometry.level);
  label->group = group;
  label->disks = static_cast<std::uint16_t>(geometry.disks);
  label->chunk_blocks = geometry.chunk_blocks;
  label->stripes = geometry.stripes;
  label->sequence = 1;
  label->generation = 1;
  label->nodes = nodes;
  label->range_stripes = range;
  label->step_stripes = options.step_stripes != 0
                            ? options.step_stripes
                            : (kStepBlocks / geometry.chunk_blocks + range - 1) / range * range;
  const Status named = set_virtual_disks(*label, options.virtual_disks);
  if (!named.ok()) {
    co_return named;
  }
  std::vector<BlockDevice*> all(devices.begin(), devices.end());
  std::vector<DiskId> all_ids(ids.begin(), ids.end());
  all.insert(all.end(), options.spares.begin(), options.spares.end());
  all_ids.insert(all_ids.end(), options.spare_ids.begin(), options.spare_ids.end());
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    (i < geometry.disks ? label->members[i].id : label->spares[i - geometry.disks]) = all_ids[i];
    if (all[i]->block_count() < geometry.disk_blocks()) {
      co_return Error{Errc::kNoSpace, "a disk is too small for the redundancy group"};
    }
    for (std::uint32_t other = 0; other < i; ++other) {
      if (all_ids[other] == all_ids[i]) {
        co_return Error{Errc::kExists, "two disks of a redundancy group with one id"};
      }
    }
  }
  label->spare_count = static_cast<std::uint32_t>(options.spares.size());
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    label->own = i < geometry.disks ? i : kSpare;
    label->own_id = all_ids[i];
    const Status written = co_await write_label(*all[i], *label);
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return Ok{};
}

Status format_intents(PersistentMemory& memory, const GroupId& group, NodeId node,
                      std::uint32_t slots, std::uint32_t pages) {
  return IntentMemory::format(memory, group, node, {slots, pages});
}

Task<Result<std::unique_ptr<Group>>> Group::open(Scheduler& scheduler,
                                                 std::vector<BlockDevice*> devices,
                                                 PersistentMemory& memory, Peers& peers,
                                                 GroupOptions options) {
  DUET_CHECK(options.incarnation != 0);
  if (options.copies == 1) {
    co_return Error{Errc::kInvalid, "one copy of an intent survives nothing; two, or of all nodes"};
  }
  Result<IntentMemory> intents = IntentMemory::open(memory, options.group, options.self);
  if (!intents.ok()) {
    co_return intents.error();
  }
  // Until two looks agree: another node may be writing labels.
  std::vector<Result<GroupLabel>> labels;
  std::uint64_t newest = 0;
  for (std::uint64_t before = ~0ULL; before != newest;) {
    before = newest;
    newest = 0;
    labels.clear();
    for (BlockDevice* const device : devices) {
      Result<GroupLabel> label = co_await read_label(*device);
      if (label.ok() && label.value().group == options.group) {
        newest = std::max(newest, label.value().sequence);
      }
      labels.push_back(std::move(label));
    }
  }
  Result<Assembly> assembly = assemble(options.group, labels, options.force);
  if (!assembly.ok()) {
    co_return assembly.error();
  }
  const Geometry geometry = geometry_of(assembly.value().label);
  if ((assembly.value().label.nodes & only(options.self)) == 0) {
    co_return Error{Errc::kRefused, "the redundancy group does not know this node"};
  }
  if (intents.value().layout().pages < geometry.disks * geometry.chunk_blocks) {
    co_return Error{Errc::kInvalid, "the persistent memory does not hold one whole stripe"};
  }
  for (std::size_t i = 0; i < assembly.value().members.size(); ++i) {
    const std::optional<std::size_t> at = assembly.value().members[i];
    if (at.has_value() && devices[*at]->block_count() < geometry.disk_blocks()) {
      co_return Error{Errc::kCorrupt, "a disk is smaller than its label says"};
    }
  }
  for (std::optional<std::size_t>& at : assembly.value().spares) {
    if (at.has_value() && devices[*at]->block_count() < geometry.disk_blocks()) {
      at.reset();  // of no use
    }
  }
  auto core = std::make_unique<Core>(scheduler, std::move(devices), std::move(assembly.value()),
                                     intents.value(), peers, options);
  core->start();
  co_return std::make_unique<Group>(std::move(core));
}

Group::Group(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Group::~Group() = default;

Geometry Group::geometry() const { return core_->capacity(); }
GroupStatus Group::status() const { return core_->status(); }
GroupCounters Group::counters() const { return core_->counters(); }
const std::vector<Assembly::Refusal>& Group::refused() const { return core_->assembly().refused; }
Task<Status> Group::wait_active() { return core_->wait_active(); }
Task<Status> Group::read(std::uint64_t block, std::span<const MutableBytes> parts) {
  return core_->read(block, parts);
}
Task<Status> Group::write(std::uint64_t block, std::span<const MutableBytes> parts, WriteKind kind,
                          Answer answer) {
  return core_->write(block, parts, kind, answer);
}
Task<Status> Group::flush() { return core_->flush(); }
void Group::node_fenced(NodeId node, std::uint64_t incarnation) {
  core_->node_fenced(node, incarnation);
}
void Group::node_started(NodeId node, std::uint64_t incarnation) {
  core_->node_started(node, incarnation);
}
void Group::disk_failed(std::uint32_t disk) { core_->disk_failed(disk); }
Task<Status> Group::keep_out(std::uint32_t disk) { return core_->keep_out(disk); }
Task<Status> Group::take_back(std::uint32_t disk, bool by_itself) {
  return core_->take_back(disk, by_itself);
}
const BlockDevice* Group::device_called(const DiskId& id) const { return core_->device_called(id); }
void Group::add_device(BlockDevice& device) { core_->add_device(device); }
Task<Status> Group::add_spare(BlockDevice& device, const DiskId& id, bool force) {
  return core_->add_disk({.verb = static_cast<std::uint32_t>(WishVerb::kAddSpare), .id = id},
                         device, force);
}
Task<Status> Group::replace(std::uint32_t disk, BlockDevice& device, const DiskId& id, bool force) {
  return core_->add_disk(
      {.verb = static_cast<std::uint32_t>(WishVerb::kReplace), .disk = disk, .id = id}, device,
      force);
}
Task<Status> Group::remove_spare(const DiskId& id) { return core_->remove_spare(id); }
Task<Status> Group::expand(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                           bool force) {
  return core_->expand(devices, ids, force);
}
Task<Status> Group::add_virtual_disk(std::string name, std::uint64_t blocks) {
  return core_->add_virtual_disk(std::move(name), blocks);
}
void Group::set_needed(const Part& part, Needed needed) {
  core_->set_needed(part, std::move(needed));
}
Status Group::start_scrub(ScrubKind kind) { return core_->start_scrub(kind); }
Status Group::stop_scrub() { return core_->stop_scrub(); }
Task<Status> Group::read_other(std::uint64_t block, std::uint32_t attempt, MutableBytes bytes) {
  return core_->read_other(block, attempt, bytes);
}
Task<Status> Group::repair(std::uint64_t block, ConstBytes good) {
  return core_->repair(block, good);
}
Task<Status> Group::close() { return core_->close(); }

}  // namespace duet::raid
