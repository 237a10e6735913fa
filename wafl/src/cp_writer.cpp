#include "cp_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "dead_list.h"
#include "heal.h"
#include "inode_codec.h"
#include "map_writer.h"
#include "tree_reader.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kNoCut = ~std::uint64_t{0};
constexpr std::uint64_t kDatasetsPerBlock = kBlockBytes / sizeof(DiskDataset);
// Bounds how much longer than its changes a CP takes because old trees wait to be freed.
constexpr std::uint64_t kReapedPerCp = 262'144;  // 1 GiB

bool is_inode_map(const Inode& inode) { return inode.id().inode == InodeNumber{1}; }

}  // namespace

CpWriter::CpWriter(AggregateState& state, const LogPosition& position)
    : state_(state), root_(state.root), context_(state, state.root.cp + 1) {
  state_.running_allocator = &context_.allocator;
  root_.cp = context_.cp;
  root_.flags = position.log_empty ? std::uint32_t{kRootLogEmpty} : 0;
  root_.epoch = position.epoch;
  root_.log_id = position.log_id;
  root_.last_sequence = position.last_sequence;
  root_.mirror_generation = position.mirror_generation;
  root_.membership_generation =
      std::exchange(state_.new_membership, std::nullopt).value_or(root_.membership_generation);
  root_.written_ns = state.clock.since_epoch().count();
}

// --- Freeze.

void CpWriter::freeze() {
  started_ = state_.scheduler.now();
  for (Inode* inode : state_.dirty) {
    DUET_CHECK(!inode->frozen_);
    inode->frozen_ = std::move(inode->current_);
    inode->frozen_->frozen =
        encode_inode(inode->attributes_, inode->id_.generation, inode->user_words_, inode->tree_);
  }
  state_.frozen = std::move(state_.dirty);
  state_.dirty.clear();
  state_.frozen_blocks = std::exchange(state_.dirty_blocks, 0);
  state_.frozen_pending_blocks = std::exchange(state_.pending_blocks, 0);
  state_.admin_changed = false;
  root_.next_volume = state_.next_volume;
  root_.block_count = state_.disks.block_count();
  area_free_ = state_.area_free;
  growth_ = std::exchange(state_.growth, std::nullopt);
  if (growth_) {
    grow(*growth_);
  }
  root_.readonly_compatible = 0;
  for (const auto& [id, volume] : state_.volumes) {
    freeze_features(*volume->state_);
    freeze_volume(*volume);
  }
  for (const auto& volume : state_.dying) {
    freeze_volume(*volume);
  }
}

void CpWriter::freeze_features(const VolumeState& volume) {
  const DiskDataset& live = volume.live.record;
  root_.readonly_compatible |= live.origin_volume != 0 ? std::uint64_t{kFeatureClones} : 0;
  root_.readonly_compatible |= live.receiving != 0 ? std::uint64_t{kFeatureReceiving} : 0;
  const bool received = volume.snapshot_of_cp != nullptr &&
                        volume.snapshot_of_cp->record.received != SnapshotIdentity{};
  root_.compatible |= received ? std::uint64_t{kHintReceived} : 0;
}

void CpWriter::freeze_volume(Volume& owner) {
  VolumeState& volume = *owner.state_;
  volume.frozen_blocks = std::exchange(volume.pending_blocks, 0);
  const bool zombies =
      !volume.live.zombies.empty() ||
      std::ranges::any_of(volume.snapshots, [](const auto& s) { return !s->zombies.empty(); });
  volume.in_cp = std::exchange(volume.changed, false) || volume.frozen_blocks > 0 || zombies;
  if (!volume.in_cp) {
    return;
  }
  volume.frozen = volume.live.record;
  volume.frozen_zombies = volume.live.zombies;
  if (volume.snapshot_of_cp != nullptr) {
    volume.snapshot_of_cp->record.cp = context_.cp;
  }
}

// The maps begin with every new block free; then what must not be used is taken out.
void CpWriter::grow(const Growth& growth) {
  for (std::uint64_t area = growth.first_area; area < area_free_.size(); ++area) {
    area_free_[area] = kAreaBlocks;
    root_.free_blocks += kAreaBlocks;
  }
  for (const std::uint64_t block : growth.occupied) {
    context_.allocator.exclude(block);
  }
  context_.freed = growth.released;
}

// --- Write.

Task<Status> CpWriter::write() {
  co_await await_heals(state_);
  Status status = co_await write_volumes();
  if (status.ok()) {
    status = co_await write_datasets();
  }
  if (status.ok()) {
    status = co_await write_maps();
  }
  // Whatever happened: nothing of this CP may be under way when it ends.
  const Status written = co_await context_.writes.finish();
  if (!status.ok()) {
    co_return status;
  }
  if (!written.ok()) {
    co_return written;
  }
  const Status roots = co_await write_roots();
  co_return roots;
}

Task<Status> CpWriter::write_volumes() {
  std::map<VolumeState*, InodeList> by_volume;
  for (Inode* inode : state_.frozen) {
    by_volume[inode->volume().state_.get()].push_back(inode);
  }
  std::vector<Volume*> volumes;
  for (const auto& [id, volume] : state_.volumes) {
    volumes.push_back(volume.get());
  }
  for (const auto& volume : state_.dying) {
    volumes.push_back(volume.get());
  }
  for (Volume* volume : volumes) {
    if (!volume->state_->in_cp) {
      continue;
    }
    InodeList inodes = std::move(by_volume[volume->state_.get()]);
    const Status written = co_await write_volume(*volume, std::move(inodes));
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return Ok{};
}

Task<Status> CpWriter::write_volume(Volume& owner, InodeList inodes) {
  VolumeState& volume = *owner.state_;
  DiskDataset& record = volume.frozen;
  std::ranges::sort(inodes, {}, [](const Inode* inode) { return inode->id().inode; });
  Status status = co_await merge_deleted_snapshots(volume);
  if (!status.ok()) {
    co_return status;
  }
  std::vector<BlockPointer> dead;
  ByBirth reclaimer(context_, record.origin_cp, volume.cp_before(volume.live), record.used_blocks,
                    dead, volume.frozen_zombies);
  status = co_await reap(volume, reclaimer);
  if (!status.ok()) {
    co_return status;
  }
  status = co_await write_inodes(volume, inodes, reclaimer);
  if (!status.ok()) {
    co_return status;
  }
  status = co_await write_inode_file(volume, inodes, reclaimer);
  if (!status.ok()) {
    co_return status;
  }
  status = co_await write_lists(volume, dead);
  if (!status.ok()) {
    co_return status;
  }
  record_volume(volume);
  co_return Ok{};
}

Task<Status> CpWriter::write_inodes(VolumeState& volume, const InodeList& inodes,
                                    Reclaimer& reclaimer) {
  for (Inode* inode : inodes) {
    const Status written = co_await write_inode(volume, *inode, reclaimer);
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return Ok{};
}

Task<Status> CpWriter::write_inode(VolumeState& volume, Inode& inode, Reclaimer& reclaimer) {
  Layer& layer = *inode.frozen_;
  if (layer.blocks.empty() && layer.cut_blocks == kNoCut) {
    co_return Ok{};
  }
  std::vector<DirtyLeaf> leaves;
  leaves.reserve(layer.blocks.size());
  layer.blocks.for_each([&leaves](std::uint64_t index, const BufferRef& buffer) {
    leaves.push_back({index, buffer});
  });
  std::ranges::sort(leaves, {}, &DirtyLeaf::index);
  TreeOwner owner{TreeKind::kFile, volume.frozen.volume,
                  static_cast<std::uint64_t>(inode.id().inode)};
  if (is_inode_map(inode)) {
    owner = {TreeKind::kInodeMap, volume.frozen.volume, 0};
  }
  TreeWriter writer(context_, owner, reclaimer, &volume.frozen.used_blocks);
  if (!is_inode_map(inode)) {
    writer.set_end((layer.frozen.size_bytes + kBlockBytes - 1) / kBlockBytes);
  }
  const Result<TreeRoot> tree = co_await writer.update(inode.tree_, layer.cut_blocks, leaves);
  if (!tree.ok()) {
    co_return tree.error();
  }
  layer.frozen.tree = tree.value();
  if (is_inode_map(inode)) {
    volume.frozen.inode_map = tree.value();
  }
  co_return Ok{};
}

Task<Status> CpWriter::write_inode_file(VolumeState& volume, const InodeList& inodes,
                                        Reclaimer& reclaimer) {
  // The blocks of the inode file that change, read at once.
  Attempt attempt(*state_.aggregate);
  std::vector<DirtyLeaf> leaves;
  for (;;) {
    leaves.clear();
    for (const Inode* inode : inodes) {
      if (is_inode_map(*inode)) {
        continue;
      }
      const std::uint64_t index = static_cast<std::uint64_t>(inode->id().inode) / kInodesPerBlock;
      if (!leaves.empty() && leaves.back().index == index) {
        continue;
      }
      const Result<BlockPointer> leaf = find_leaf(attempt, volume.frozen.inode_file, index);
      BufferRef present;
      if (leaf.ok() && !leaf.value().hole()) {
        Result<BufferRef> block = get_block(attempt, leaf.value());
        present = block.ok() ? std::move(block.value()) : BufferRef();
      }
      leaves.push_back({index, std::move(present)});
    }
    if (!attempt.missed()) {
      break;
    }
    const Status loaded = co_await attempt.load_patiently();
    if (!loaded.ok()) {
      co_return loaded;
    }
  }
  for (DirtyLeaf& leaf : leaves) {
    const BufferRef present = std::move(leaf.buffer);
    leaf.buffer = state_.pool.allocate_zeroed();
    if (present) {
      std::memcpy(leaf.buffer.mutable_bytes().data(), present.bytes().data(), kBlockBytes);
    }
  }
  std::size_t position = 0;
  for (const Inode* inode : inodes) {
    if (is_inode_map(*inode)) {
      continue;
    }
    const auto number = static_cast<std::uint64_t>(inode->id().inode);
    while (leaves[position].index < number / kInodesPerBlock) {
      ++position;
    }
    store(leaves[position].buffer.mutable_bytes(), number % kInodesPerBlock * sizeof(DiskInode),
          inode->frozen_->frozen);
  }
  TreeWriter writer(context_, {TreeKind::kInodeFile, volume.frozen.volume, 0}, reclaimer,
                    &volume.frozen.used_blocks);
  const Result<TreeRoot> tree = co_await writer.update(volume.frozen.inode_file, kNoCut, leaves);
  if (!tree.ok()) {
    co_return tree.error();
  }
  volume.frozen.inode_file = tree.value();
  co_return Ok{};
}

// Oldest first, so that what a later one inherits is complete.
Task<Status> CpWriter::merge_deleted_snapshots(VolumeState& volume) {
  for (std::size_t i = 0; i < volume.deleted.size(); ++i) {
    Dataset& gone = *volume.deleted[i];
    std::uint32_t cp_before = 0;
    Dataset* next = i + 1 < volume.deleted.size() ? volume.deleted[i + 1].get() : nullptr;
    for (const auto& snapshot : volume.snapshots) {
      const std::uint32_t cp = snapshot->record.cp;
      if (snapshot.get() == volume.snapshot_of_cp) {
        continue;
      }
      if (cp < gone.record.cp) {
        cp_before = cp;
      } else if (next == nullptr || cp < next->record.cp) {
        next = snapshot.get();
        break;
      }
    }
    // After a restore, what the live tree before it had is the next one, to be given up below.
    DiskDataset& live = volume.abandoned ? *volume.abandoned : volume.frozen;
    DiskDataset& next_record = next != nullptr ? next->record : live;
    for (ZombieEntry& zombie : gone.zombies) {
      const bool newer = gone.record.cp > volume.restored_cp;  // than what is live again
      zombie.keep_birth =
          std::max<std::uint64_t>(zombie.keep_birth, newer ? volume.restored_cp : 0);
    }
    std::vector<ZombieEntry>& next_zombies =
        next != nullptr ? next->zombies : volume.frozen_zombies;
    const Status merged = co_await merge_deleted(context_, gone, cp_before, next_record,
                                                 next_zombies, volume.frozen.used_blocks);
    if (!merged.ok()) {
      co_return merged;
    }
    records_.emplace_back(gone.slot, DiskDataset{});
    if (next != nullptr) {
      next->zombies_changed = true;
    }
  }
  if (volume.abandoned) {
    const Status discarded =
        co_await discard_dead(context_, *volume.abandoned, volume.frozen.used_blocks);
    co_return discarded;
  }
  co_return Ok{};
}

Task<Status> CpWriter::reap(VolumeState& volume, Reclaimer& live_reclaimer) {
  co_await reap_zombies(context_, volume.frozen_zombies, live_reclaimer, kReapedPerCp);
  for (const auto& snapshot : volume.snapshots) {
    if (snapshot.get() == volume.snapshot_of_cp ||
        (snapshot->zombies.empty() && !snapshot->zombies_changed)) {
      continue;
    }
    std::vector<BlockPointer> dead;
    std::vector<ZombieEntry> deferred;  // reap_zombies() takes trees apart itself
    ByBirth reclaimer(context_, volume.frozen.origin_cp, volume.cp_before(*snapshot),
                      volume.frozen.used_blocks, dead, deferred);
    co_await reap_zombies(context_, snapshot->zombies, reclaimer, kReapedPerCp);
    Status status =
        co_await append_dead(context_, snapshot->record, volume.frozen.used_blocks, dead);
    if (!status.ok()) {
      co_return status;
    }
    status = co_await write_zombies(context_, snapshot->record, volume.frozen.used_blocks,
                                    snapshot->zombies);
    if (!status.ok()) {
      co_return status;
    }
    snapshot->zombies_changed = false;
    records_.emplace_back(snapshot->slot, snapshot->record);
  }
  co_return Ok{};
}

Task<Status> CpWriter::write_lists(VolumeState& volume, const std::vector<BlockPointer>& dead) {
  DiskDataset& record = volume.frozen;
  Status status = co_await append_dead(context_, record, record.used_blocks, dead);
  if (!status.ok()) {
    co_return status;
  }
  if (!volume.frozen_zombies.empty() || record.zombie_entries != 0) {
    status = co_await write_zombies(context_, record, record.used_blocks, volume.frozen_zombies);
  }
  co_return status;
}

// The records of the live tree and of the snapshot that this CP makes.
void CpWriter::record_volume(VolumeState& volume) {
  DiskDataset& live = volume.frozen;
  if (Dataset* made = volume.snapshot_of_cp) {
    DiskDataset& record = made->record;
    record.inode_file = live.inode_file;
    record.inode_map = live.inode_map;
    record.inodes_used = live.inodes_used;
    record.inode_slots = live.inode_slots;
    record.dead_list = std::exchange(live.dead_list, TreeRoot{});
    record.dead_entries = std::exchange(live.dead_entries, 0);
    record.dead_blocks = std::exchange(live.dead_blocks, 0);
    record.zombies = std::exchange(live.zombies, TreeRoot{});
    record.zombie_entries = std::exchange(live.zombie_entries, 0);
    made->zombies = std::exchange(volume.frozen_zombies, {});
    records_.emplace_back(made->slot, record);
  }
  const bool dead = live.state == kDatasetDying && volume.frozen_zombies.empty();
  records_.emplace_back(volume.live.slot, dead ? DiskDataset{} : live);
}

Task<Status> CpWriter::write_datasets() {
  std::map<std::uint64_t, BufferRef> blocks;
  for (const auto& [slot, record] : records_) {
    root_.dataset_slots = std::max(root_.dataset_slots, slot + 1);
    const std::uint64_t index = slot / kDatasetsPerBlock;
    BufferRef& block = blocks[index];
    if (!block) {
      block = state_.pool.allocate_zeroed();
      Attempt attempt(*state_.aggregate);
      Result<BlockPointer> leaf = find_leaf(attempt, root_.datasets, index);
      while (!leaf.ok()) {
        const Status loaded = co_await attempt.load_patiently();
        if (!loaded.ok()) {
          co_return loaded;
        }
        leaf = find_leaf(attempt, root_.datasets, index);
      }
      if (!leaf.value().hole()) {
        const Result<BufferRef> present = co_await context_.get(leaf.value());
        if (!present.ok()) {
          co_return present.error();
        }
        std::memcpy(block.mutable_bytes().data(), present.value().bytes().data(), kBlockBytes);
      }
    }
    store(block.mutable_bytes(), slot % kDatasetsPerBlock * sizeof(DiskDataset), record);
  }
  std::vector<DirtyLeaf> leaves;
  for (const auto& [index, buffer] : blocks) {
    leaves.push_back({index, buffer});
  }
  FreeAtOnce reclaimer(context_, nullptr);
  TreeWriter writer(context_, {TreeKind::kDatasets, 0, 0}, reclaimer, nullptr);
  const Result<TreeRoot> tree = co_await writer.update(root_.datasets, kNoCut, leaves);
  if (!tree.ok()) {
    co_return tree.error();
  }
  root_.datasets = tree.value();
  co_return Ok{};
}

Task<Status> CpWriter::write_maps() {
  MapWriter maps(context_, root_, area_free_);
  if (growth_) {
    for (const std::uint64_t block : growth_->occupied) {
      maps.occupy(block);
    }
    maps.write_all_areas();
  }
  const Status written = co_await maps.finish();
  if (written.ok()) {
    root_.free_blocks += static_cast<std::uint64_t>(maps.free_delta());
  }
  co_return written;
}

Task<Status> CpWriter::write_roots() {
  Status status = co_await state_.disks.flush_all(state_.scheduler);
  if (!status.ok()) {
    co_return status;
  }
  root_.checksum = 0;
  root_.checksum = crc32c(bytes_of(root_));
  const BufferRef block = state_.pool.allocate();
  store(block.mutable_bytes(), 0, root_);
  const std::vector<DiskSet::Disk>& disks = state_.disks.disks();
  const std::array<std::pair<BlockDevice*, std::uint64_t>, 2> places{
      {{disks.front().device, kRootBlockA},
       {disks.size() > 1 ? disks[1].device : disks.front().device, kRootBlockB}}};
  for (const auto& [device, at] : places) {
    const std::array<MutableBytes, 1> parts{block.mutable_bytes()};
    status = co_await device->write(at, parts);
    if (!status.ok()) {
      co_return status;
    }
    status = co_await device->flush();
    if (!status.ok()) {
      co_return status;
    }
  }
  co_return Ok{};
}

// --- Commit.

void CpWriter::commit() {
  for (Inode* inode : state_.frozen) {
    inode->tree_ = inode->frozen_->frozen.tree;
    inode->frozen_.reset();
  }
  state_.frozen.clear();
  state_.frozen_blocks = 0;
  state_.frozen_pending_blocks = 0;
  for (const auto& [id, volume] : state_.volumes) {
    commit_volume(*volume->state_);
  }
  for (const auto& volume : state_.dying) {
    commit_volume(*volume->state_);
  }
  std::erase_if(state_.dying, [this](const auto& volume) {
    const bool gone = volume->state_->live.zombies.empty();
    if (gone) {
      state_.free_slots.push_back(volume->state_->live.slot);
    }
    return gone;
  });
  state_.root = root_;
  state_.area_free = std::move(area_free_);
  state_.without_stripes.resize(state_.area_free.size());
  for (const std::uint64_t block : context_.freed) {
    state_.without_stripes[block / kAreaBlocks] = false;
  }
  CpStatistics& statistics = state_.statistics;
  ++statistics.count;
  statistics.blocks_written = context_.writes.blocks_added();
  statistics.whole_stripes_percent = context_.writes.blocks_in_stripes() * 100 /
                                     std::max<std::uint64_t>(statistics.blocks_written, 1);
  statistics.leaked_subtrees += context_.leaked_subtrees;
  statistics.lost_subtrees += context_.lost_subtrees;
  statistics.duration = state_.scheduler.now() - started_;
}

void CpWriter::commit_volume(VolumeState& volume) {
  volume.frozen_blocks = 0;
  if (!std::exchange(volume.in_cp, false)) {
    return;
  }
  DiskDataset& live = volume.live.record;
  live.used_blocks = volume.frozen.used_blocks;
  live.inode_file = volume.frozen.inode_file;
  live.inode_map = volume.frozen.inode_map;
  live.dead_list = volume.frozen.dead_list;
  live.dead_entries = volume.frozen.dead_entries;
  live.dead_blocks = volume.frozen.dead_blocks;
  live.zombies = volume.frozen.zombies;
  live.zombie_entries = volume.frozen.zombie_entries;
  volume.live.zombies = std::move(volume.frozen_zombies);
  volume.frozen_zombies.clear();
  for (const auto& gone : volume.deleted) {
    state_.free_slots.push_back(gone->slot);
  }
  volume.deleted.clear();
  volume.abandoned.reset();
  volume.restored_cp = 0;
  volume.snapshot_of_cp = nullptr;
}

}  // namespace duet::wafl
