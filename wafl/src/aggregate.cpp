#include "wafl/aggregate.h"

#include <algorithm>
#include <cstring>

#include "aggregate_state.h"
#include "base/check.h"
#include "cp_writer.h"
#include "needs.h"
#include "wafl/operations.h"

namespace duet::wafl {

Aggregate::Aggregate(std::unique_ptr<AggregateState> state) : state_(std::move(state)) {
  state_->aggregate = this;
}

Aggregate::~Aggregate() = default;

const DiskRoot& Aggregate::root() const { return state_->root; }

LogPosition Aggregate::log_position() const {
  const DiskRoot& root = state_->root;
  return {root.epoch, root.log_id, root.last_sequence, (root.flags & kRootLogEmpty) != 0,
          root.mirror_generation};
}

AggregateUsage Aggregate::usage() const {
  const DiskRoot& root = state_->root;
  const std::uint64_t taken = state_->taken_blocks();
  AggregateUsage usage;
  usage.total_bytes = root.block_count * kBlockBytes;
  usage.free_bytes = (root.free_blocks > taken ? root.free_blocks - taken : 0) * kBlockBytes;
  usage.dirty_bytes = dirty_bytes();
  usage.cached_bytes = state_->cache.size() * kBlockBytes;
  return usage;
}

// An inode that only its attributes make dirty counts for about what it takes.
std::uint64_t Aggregate::dirty_bytes() const {
  constexpr std::uint64_t kInodeBytes = 512;
  return (state_->dirty_blocks + state_->frozen_blocks) * kBlockBytes +
         (state_->dirty.size() + state_->frozen.size()) * kInodeBytes;
}

std::uint64_t Aggregate::reserve_blocks() const { return state_->reserve_blocks(); }

void Aggregate::set_standing_blocks(std::uint64_t blocks) {
  // Its indirect blocks, owner map leaves and a few more for the way to them.
  state_->standing_blocks = blocks + blocks / 64 + 16;
}

void Aggregate::set_membership_generation(std::uint64_t generation) {
  state_->new_membership = generation;
}

const CpStatistics& Aggregate::cp_statistics() const { return state_->statistics; }
const HealStatistics& Aggregate::heal_statistics() const { return state_->heals; }

void Aggregate::tell_needs() {
  state_->needs.reset();  // what it ends with is silence
  state_->needs = std::make_unique<Needs>(*state_);
}
Task<void> Aggregate::tell_no_needs() {
  if (state_->needs != nullptr) {
    co_await state_->needs->end();
  }
}

Scheduler& Aggregate::scheduler() const { return state_->scheduler; }

Volume* Aggregate::find_volume(VolumeId id) const {
  const auto it = state_->volumes.find(static_cast<std::uint32_t>(id));
  return it == state_->volumes.end() ? nullptr : it->second.get();
}

Volume* Aggregate::find_volume(std::string_view name) const {
  for (const auto& [id, volume] : state_->volumes) {
    if (VolumeId{id} != kSystemVolume && volume->name() == name) {
      return volume.get();
    }
  }
  return nullptr;
}

std::vector<Volume*> Aggregate::volumes() const {
  std::vector<Volume*> list;
  for (const auto& [id, volume] : state_->volumes) {
    if (VolumeId{id} != kSystemVolume) {
      list.push_back(volume.get());
    }
  }
  return list;
}

bool Aggregate::cp_running() const { return state_->cp_running; }

bool Aggregate::dirty() const {
  return !state_->dirty.empty() || state_->admin_changed || state_->zombies_left();
}

Task<Status> Aggregate::consistency_point(LogPosition position) {
  AggregateState& state = *state_;
  DUET_CHECK(!state.cp_running);
  if (state.failed) {
    co_return Error{Errc::kClosed, "an earlier consistency point failed"};
  }
  const Instant started = state.scheduler.now();
  state.cp_running = true;
  CpWriter writer(state, position);
  writer.freeze();
  state.statistics.freeze = state.scheduler.now() - started;
  const Status written = co_await writer.write();
  state.cp_running = false;
  if (!written.ok()) {
    state.failed = true;
    co_return written;
  }
  writer.commit();
  co_return Ok{};
}

// --- Administration.

namespace {

// Of a volume or a snapshot: VOLUME@SNAPSHOT is unambiguous, each fits into a line, and none hides
// behind the directory of snapshots.
Status check_given_name(std::string_view name) {
  const auto unfit = [](char c) {
    return c == '@' || static_cast<unsigned char>(c) < ' ' || c == '\x7f';
  };
  if (name == ".snapshot" || std::ranges::any_of(name, unfit)) {
    return Error{Errc::kInvalid,
                 "a volume or snapshot has no @ and no control character in its name, and is not "
                 "called .snapshot"};
  }
  return check_name(name);
}

void set_name(DiskDataset& record, std::string_view name) {
  record.name.fill(0);
  std::ranges::copy(name, record.name.begin());
  record.name_bytes = static_cast<std::uint32_t>(name.size());
}

// Distinct for each volume of each aggregate; bit 63 stays clear for those who print it signed.
std::uint64_t fsid_of(const DiskRoot& root, std::uint32_t volume) {
  const std::uint64_t mixed =
      (root.aggregate[0] ^ (root.aggregate[1] * 0x9E37'79B9'7F4A'7C15U)) + volume * 0x1'0000'0001U;
  return (mixed << 8U | (volume & 0xFFU)) & 0x7FFF'FFFF'FFFF'FFFFU;
}

}  // namespace

void Aggregate::renew_identity(Entropy& entropy) {
  state_->root.handle_key = {entropy.next(), entropy.next()};
  for (const auto& [id, volume] : state_->volumes) {
    VolumeState& state = *volume->state_;
    state.live.record.fsid = entropy.next() & 0x7FFF'FFFF'FFFF'FFFFU;
    state.changed = true;
  }
  state_->admin_changed = true;
}

std::uint64_t AggregateState::take_slot() {
  if (free_slots.empty()) {
    return slots++;
  }
  const std::uint64_t slot = free_slots.back();
  free_slots.pop_back();
  return slot;
}

Volume& AggregateState::add_volume(std::unique_ptr<VolumeState> volume) {
  const std::uint32_t id = volume->live.record.volume;
  auto owned = std::make_unique<Volume>(*aggregate, std::move(volume));
  return *volumes.emplace(id, std::move(owned)).first->second;
}

void AggregateState::make_volume(std::uint32_t id, std::string_view name,
                                 std::uint64_t limit_blocks, Timestamp now) {
  auto fresh = std::make_unique<VolumeState>();
  DiskDataset& record = fresh->live.record;
  record.state = kDatasetLive;
  record.volume = id;
  record.created_ns = static_cast<std::int64_t>(now);
  record.limit_blocks = limit_blocks;
  record.next_snapshot = 1;
  record.fsid = fsid_of(root, id);
  set_name(record, name);
  fresh->live.slot = take_slot();
  fresh->changed = true;
  Volume& volume = add_volume(std::move(fresh));
  // The root directory: the first inode of an empty inode map, so nothing can be missing.
  Attempt attempt(*aggregate);
  Result<InodeRef> inode = volume.prepare_new_inode(attempt, kRootInode);
  DUET_CHECK(inode.ok());
  volume.take_inode(*inode.value(), FileType::kDirectory);
  Attributes& attributes = inode.value()->change_attributes();
  attributes.mode = 0755;
  attributes.links = 2;
  attributes.atime = attributes.mtime = attributes.ctime = now;
  inode.value()->set_user_word(0, static_cast<std::uint64_t>(kRootInode));
  admin_changed = true;
}

Status Aggregate::create_volume(std::string_view name, std::uint64_t limit_bytes, Timestamp now) {
  if (Status checked = check_given_name(name); !checked.ok()) {
    return checked;
  }
  if (find_volume(name) != nullptr) {
    return Error{Errc::kExists, "create_volume: there is a volume of that name"};
  }
  state_->make_volume(state_->next_volume++, name, limit_bytes / kBlockBytes, now);
  return Ok{};
}

Status Aggregate::clone_volume(std::string_view origin, std::string_view snapshot,
                               std::string_view name, std::uint64_t limit_bytes, Timestamp now) {
  if (Status checked = check_given_name(name); !checked.ok()) {
    return checked;
  }
  if (find_volume(name) != nullptr) {
    return Error{Errc::kExists, "clone_volume: there is a volume of that name"};
  }
  const Volume* from = find_volume(origin);
  if (from == nullptr) {
    return Error{Errc::kNotFound, "clone_volume: no such volume"};
  }
  const VolumeState& state = *from->state_;
  const auto it = std::ranges::find_if(state.snapshots,
                                       [snapshot](const auto& s) { return s->name() == snapshot; });
  if (it == state.snapshots.end()) {
    return Error{Errc::kNotFound, "clone_volume: no such snapshot"};
  }
  if (it->get() == state.snapshot_of_cp) {
    return Error{Errc::kTryAgain, "clone_volume: the snapshot is made in this CP"};
  }
  const DiskDataset& shared = (*it)->record;
  auto clone = std::make_unique<VolumeState>();
  DiskDataset& record = clone->live.record;
  record.state = kDatasetLive;
  record.volume = state_->next_volume++;
  record.created_ns = static_cast<std::int64_t>(now);
  record.limit_blocks = limit_bytes / kBlockBytes;
  record.next_snapshot = 1;
  record.fsid = fsid_of(state_->root, record.volume);
  record.inode_file = shared.inode_file;
  record.inode_map = shared.inode_map;
  record.inodes_used = shared.inodes_used;
  record.inode_slots = shared.inode_slots;
  // The snapshot's generations were all given by its volume.
  record.generation_highest = state.live.record.generation_highest;
  record.generation_floor = state.live.record.generation_floor;
  record.origin_volume = shared.volume;
  record.origin_snapshot = shared.snapshot;
  record.origin_cp = shared.cp;
  set_name(record, name);
  clone->live.slot = state_->take_slot();
  clone->changed = true;
  state_->add_volume(std::move(clone));
  state_->admin_changed = true;
  return Ok{};
}

Status Aggregate::destroy_volume(std::string_view name) {
  Volume* volume = find_volume(name);
  if (volume == nullptr) {
    return Error{Errc::kNotFound, "destroy_volume: no such volume"};
  }
  VolumeState& state = *volume->state_;
  if (!state.snapshots.empty()) {
    return Error{Errc::kRefused, "destroy_volume: the volume has snapshots; delete them first"};
  }
  if (state.abandoned) {
    return Error{Errc::kTryAgain, "destroy_volume: it is being restored in this CP"};
  }
  state_->drop_inodes(volume->id(), kLive);
  state_->drop_dirty(*state.inode_map);
  DiskDataset& record = state.live.record;
  record.state = kDatasetDying;
  if (!record.inode_file.pointer.hole()) {
    state.live.zombies.push_back(
        {record.inode_file.pointer, record.inode_file.height, 1, record.origin_cp});
  }
  if (!record.inode_map.pointer.hole()) {
    state.live.zombies.push_back(
        {record.inode_map.pointer, record.inode_map.height, 0, record.origin_cp});
  }
  state.abandoned = record;
  state.restored_cp = 0;
  // The zombies know what the origin of a clone keeps.
  record.origin_volume = record.origin_snapshot = record.origin_cp = 0;
  record.receiving = 0;
  record.inode_file = record.inode_map = record.dead_list = TreeRoot{};
  record.dead_entries = record.dead_blocks = 0;
  state.changed = true;
  state_->admin_changed = true;
  auto it = state_->volumes.find(record.volume);
  state_->dying.push_back(std::move(it->second));
  state_->volumes.erase(it);
  return Ok{};
}

Status Aggregate::rename_volume(std::string_view from, std::string_view to) {
  if (Status checked = check_given_name(to); !checked.ok()) {
    return checked;
  }
  Volume* volume = find_volume(from);
  if (volume == nullptr) {
    return Error{Errc::kNotFound, "rename_volume: no such volume"};
  }
  if (find_volume(to) != nullptr) {
    return Error{Errc::kExists, "rename_volume: there is a volume of that name"};
  }
  set_name(volume->state_->live.record, to);
  volume->state_->changed = true;
  state_->admin_changed = true;
  return Ok{};
}

void Volume::note_change() {
  state_->changed = true;
  aggregate_.state().admin_changed = true;
}

void Volume::set_limit_bytes(std::uint64_t limit_bytes) {
  state_->live.record.limit_blocks = limit_bytes / kBlockBytes;
  note_change();
}

Status Volume::create_snapshot(std::string_view name, Timestamp now) {
  if (Status checked = check_given_name(name); !checked.ok()) {
    return checked;
  }
  if (find_snapshot(name)) {
    return Error{Errc::kExists, "create_snapshot: there is a snapshot of that name"};
  }
  if (state_->snapshot_of_cp != nullptr) {
    return Error{Errc::kTryAgain, "create_snapshot: one snapshot of a volume per CP"};
  }
  // From here on every block that changes needs another: the snapshot holds the old one.
  constexpr std::uint64_t kSnapshotBlocks = 64;
  const AggregateState& state = aggregate_.state();
  if (state.taken_blocks() + kSnapshotBlocks > state.root.free_blocks) {
    return Error{Errc::kNoSpace, "create_snapshot: too little space is free"};
  }
  auto made = std::make_unique<Dataset>();
  made->record.state = kDatasetSnapshot;
  made->record.volume = state_->live.record.volume;
  made->record.snapshot = state_->live.record.next_snapshot++;
  made->record.created_ns = static_cast<std::int64_t>(now);
  made->record.fsid = state_->live.record.fsid;
  set_name(made->record, name);
  made->slot = aggregate_.state().take_slot();
  state_->snapshot_of_cp = made.get();
  state_->snapshots.push_back(std::move(made));
  note_change();
  return Ok{};
}

Status Volume::delete_snapshot(std::string_view name) {
  const auto it =
      std::ranges::find_if(state_->snapshots, [name](const auto& s) { return s->name() == name; });
  if (it == state_->snapshots.end()) {
    return Error{Errc::kNotFound, "delete_snapshot: no such snapshot"};
  }
  if (it->get() == state_->snapshot_of_cp || state_->abandoned) {
    return Error{Errc::kTryAgain, "delete_snapshot: made, or another restored, in this CP"};
  }
  if (!clones_of(SnapshotId{(*it)->record.snapshot}).empty()) {
    return Error{Errc::kRefused, "delete_snapshot: volumes are clones of it; destroy them first"};
  }
  aggregate_.state().drop_inodes(id(), SnapshotId{(*it)->record.snapshot});
  state_->deleted.push_back(std::move(*it));
  state_->snapshots.erase(it);
  std::ranges::sort(state_->deleted, {}, [](const auto& s) { return s->record.cp; });
  note_change();
  return Ok{};
}

Status Volume::rename_snapshot(std::string_view from, std::string_view to) {
  if (Status checked = check_given_name(to); !checked.ok()) {
    return checked;
  }
  if (find_snapshot(to)) {
    return Error{Errc::kExists, "rename_snapshot: there is a snapshot of that name"};
  }
  for (const auto& snapshot : state_->snapshots) {
    if (snapshot->name() == from && snapshot.get() != state_->snapshot_of_cp) {
      set_name(snapshot->record, to);
      snapshot->zombies_changed = true;  // its record is written again
      note_change();
      return Ok{};
    }
  }
  return Error{Errc::kNotFound, "rename_snapshot: no such snapshot"};
}

Status Volume::restore_snapshot(std::string_view name) {
  const auto it =
      std::ranges::find_if(state_->snapshots, [name](const auto& s) { return s->name() == name; });
  if (it == state_->snapshots.end()) {
    return Error{Errc::kNotFound, "restore_snapshot: no such snapshot"};
  }
  if (state_->snapshot_of_cp != nullptr || state_->abandoned) {
    return Error{Errc::kTryAgain, "restore_snapshot: a snapshot was made or restored in this CP"};
  }
  if (it->get() != state_->snapshots.back().get()) {
    return Error{Errc::kRefused, "restore_snapshot: newer snapshots exist; delete them first"};
  }
  aggregate_.state().drop_inodes(id(), kLive);
  aggregate_.state().drop_dirty(*state_->inode_map);
  const DiskDataset& kept = (*it)->record;
  DiskDataset& live = state_->live.record;
  // What was born since is freed; what the snapshot holds is alive again, the dead list void.
  std::vector<ZombieEntry>& zombies = state_->live.zombies;
  for (ZombieEntry& zombie : zombies) {
    zombie.keep_birth = std::max<std::uint64_t>(zombie.keep_birth, kept.cp);
  }
  if (!live.inode_file.pointer.hole()) {
    zombies.push_back({live.inode_file.pointer, live.inode_file.height, 1, kept.cp});
  }
  if (!live.inode_map.pointer.hole()) {
    zombies.push_back({live.inode_map.pointer, live.inode_map.height, 0, kept.cp});
  }
  state_->abandoned = live;
  state_->restored_cp = kept.cp;
  live.dead_list = TreeRoot{};
  live.dead_entries = live.dead_blocks = 0;
  live.inode_file = kept.inode_file;
  live.inode_map = kept.inode_map;
  live.generation_floor = live.generation_highest;
  live.inodes_used = kept.inodes_used;
  live.inode_slots = kept.inode_slots;
  state_->inode_map->tree_ = kept.inode_map;
  state_->search_from = static_cast<std::uint64_t>(kRootInode);
  note_change();
  return Ok{};
}

// --- Receiving.

bool Volume::receiving() const { return state_->live.record.receiving != 0; }

std::optional<SnapshotIdentity> Volume::identity(SnapshotId wanted) const {
  for (const auto& snapshot : state_->snapshots) {
    const DiskDataset& record = snapshot->record;
    if (SnapshotId{record.snapshot} != wanted || snapshot.get() == state_->snapshot_of_cp) {
      continue;
    }
    if (record.received != SnapshotIdentity{}) {
      return record.received;
    }
    return SnapshotIdentity{aggregate_.root().aggregate, record.volume, record.snapshot, record.cp,
                            0};
  }
  return std::nullopt;
}

bool Volume::unchanged() const {
  if (state_->snapshots.empty() || state_->snapshot_of_cp != nullptr ||
      state_->pending_blocks + state_->frozen_blocks != 0) {
    return false;
  }
  const DiskDataset& live = state_->live.record;
  const DiskDataset& newest = state_->snapshots.back()->record;
  return live.inode_file == newest.inode_file && live.inode_map == newest.inode_map;
}

void Volume::begin_receive() {
  state_->live.record.receiving = 1;
  note_change();
}

Status Volume::end_receive(std::string_view name, const SnapshotIdentity& identity,
                           Timestamp created) {
  Status made = create_snapshot(name, created);
  if (made.ok()) {
    state_->snapshots.back()->record.received = identity;
    state_->live.record.receiving = 0;
  }
  return made;
}

Status Volume::cancel_receive() {
  if (state_->snapshots.empty()) {
    return Error{Errc::kNotFound, "cancel_receive: there is no snapshot"};
  }
  Status restored = restore_snapshot(state_->snapshots.back()->name());
  if (restored.ok()) {
    state_->live.record.receiving = 0;
  }
  return restored;
}

}  // namespace duet::wafl
