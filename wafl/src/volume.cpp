#include "wafl/volume.h"

#include <algorithm>
#include <bit>

#include "aggregate_state.h"
#include "base/check.h"
#include "inode_codec.h"
#include "tree_reader.h"
#include "volume_state.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kBitsPerBlock = kBlockBytes * 8;
constexpr std::uint64_t kInodesMax = std::uint64_t{1} << 40U;

bool bit(ConstBytes map, std::uint64_t i) {
  return (map[i / 8] & std::byte(1U << (i % 8))) != std::byte{0};
}

// The first clear bit at or behind `from`; kBitsPerBlock: none.
std::uint64_t first_clear(ConstBytes map, std::uint64_t from) {
  for (std::uint64_t word = from / 64; word < kBitsPerBlock / 64; ++word) {
    auto bits = ~load<std::uint64_t>(map, word * 8);
    if (word == from / 64) {
      bits &= ~std::uint64_t{0} << (from % 64);
    }
    if (bits != 0) {
      return word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
    }
  }
  return kBitsPerBlock;
}

SnapshotInfo info_of(const VolumeState& state, std::size_t position) {
  const DiskDataset& record = state.snapshots[position]->record;
  // What this snapshot alone keeps cannot be told from one list; what died since it was taken
  // stands in the next dataset's.
  const DiskDataset& next = position + 1 < state.snapshots.size()
                                ? state.snapshots[position + 1]->record
                                : state.live.record;
  return {SnapshotId{record.snapshot}, state.snapshots[position]->name(), CpNumber{record.cp},
          Timestamp{record.created_ns}, next.dead_blocks};
}

}  // namespace

Volume::Volume(Aggregate& aggregate, std::unique_ptr<VolumeState> state)
    : aggregate_(aggregate), state_(std::move(state)) {
  state_->inode_map =
      std::make_unique<Inode>(*this, FileId{id(), kLive, InodeNumber{1}, Generation{1}});
  state_->inode_map->tree_ = state_->live.record.inode_map;
}

Volume::~Volume() = default;

VolumeId Volume::id() const { return VolumeId{state_->live.record.volume}; }
std::string Volume::name() const { return state_->live.name(); }
Timestamp Volume::created() const { return Timestamp{state_->live.record.created_ns}; }
std::uint64_t Volume::fsid() const { return state_->live.record.fsid; }
std::uint64_t Volume::limit_bytes() const { return state_->live.record.limit_blocks * kBlockBytes; }
std::uint64_t Volume::used_bytes() const {
  return (state_->live.record.used_blocks + state_->pending_blocks + state_->frozen_blocks) *
         kBlockBytes;
}
std::uint64_t Volume::inodes_used() const { return state_->live.record.inodes_used; }

std::vector<SnapshotInfo> Volume::snapshots() const {
  std::vector<SnapshotInfo> list;
  for (std::size_t i = 0; i < state_->snapshots.size(); ++i) {
    list.push_back(info_of(*state_, i));
  }
  return list;
}

std::optional<SnapshotInfo> Volume::find_snapshot(std::string_view name) const {
  for (std::size_t i = 0; i < state_->snapshots.size(); ++i) {
    if (state_->snapshots[i]->name() == name) {
      return info_of(*state_, i);
    }
  }
  return std::nullopt;
}

std::optional<SnapshotInfo> Volume::find_snapshot(SnapshotId id) const {
  for (std::size_t i = 0; i < state_->snapshots.size(); ++i) {
    if (SnapshotId{state_->snapshots[i]->record.snapshot} == id) {
      return info_of(*state_, i);
    }
  }
  return std::nullopt;
}

std::optional<VolumeOrigin> Volume::origin() const {
  const DiskDataset& record = state_->live.record;
  if (record.origin_volume == 0) {
    return std::nullopt;
  }
  return VolumeOrigin{VolumeId{record.origin_volume}, SnapshotId{record.origin_snapshot},
                      CpNumber{record.origin_cp}};
}

std::vector<const Volume*> Volume::clones_of(SnapshotId snapshot) const {
  std::vector<const Volume*> clones;
  for (const Volume* volume : aggregate_.volumes()) {
    const std::optional<VolumeOrigin> from = volume->origin();
    if (from && from->volume == id() && from->snapshot == snapshot) {
      clones.push_back(volume);
    }
  }
  return clones;
}

// --- Inodes.

Result<InodeRef> Volume::load_inode(Attempt& attempt, SnapshotId snapshot, InodeNumber number) {
  AggregateState& state = aggregate_.state();
  const auto raw = static_cast<std::uint64_t>(number);
  const InodeKey key{state_->live.record.volume, static_cast<std::uint32_t>(snapshot), raw};
  if (Inode* cached = state.find_cached(key)) {
    return InodeRef(cached);
  }
  if (raw < static_cast<std::uint64_t>(kRootInode) || raw >= kInodesMax) {
    return Error{Errc::kStaleHandle, "no such inode number"};
  }
  const DiskDataset* dataset = &state_->live.record;
  if (snapshot != kLive) {
    auto it = std::ranges::find_if(state_->snapshots, [snapshot](const auto& s) {
      return SnapshotId{s->record.snapshot} == snapshot;
    });
    if (it == state_->snapshots.end() || it->get() == state_->snapshot_of_cp) {
      return Error{Errc::kStaleHandle, "the snapshot is gone"};
    }
    dataset = &(*it)->record;
  }
  Result<BlockPointer> leaf = find_leaf(attempt, dataset->inode_file, raw / kInodesPerBlock);
  if (!leaf.ok()) {
    return leaf.error();
  }
  DiskInode disk;
  if (!leaf.value().hole()) {
    Result<BufferRef> block = get_block(attempt, leaf.value());
    if (!block.ok()) {
      return block.error();
    }
    disk = load<DiskInode>(block.value().bytes(), raw % kInodesPerBlock * sizeof(DiskInode));
  }
  if (!plausible(disk)) {
    return Error{Errc::kCorrupt, "an inode makes no sense"};
  }
  state.trim_inodes();
  auto inode =
      std::make_unique<Inode>(*this, FileId{id(), snapshot, number, Generation{disk.generation}});
  inode->attributes_ = decode_attributes(disk);
  inode->user_words_[0] = disk.user_words[0];
  inode->user_words_[1] = disk.user_words[1];
  inode->tree_ = disk.tree;
  Inode* raw_pointer = inode.get();
  state.inodes.emplace(key, std::move(inode));
  return InodeRef(raw_pointer);
}

Result<InodeRef> Volume::find_inode(Attempt& attempt, SnapshotId snapshot, InodeNumber number) {
  Result<InodeRef> inode = load_inode(attempt, snapshot, number);
  if (inode.ok() && inode.value()->attributes_.type == FileType::kFree) {
    return Error{Errc::kStaleHandle, "the inode is free"};
  }
  return inode;
}

Result<InodeRef> Volume::find_inode(Attempt& attempt, const FileId& id) {
  Result<InodeRef> inode = find_inode(attempt, id.snapshot, id.inode);
  if (inode.ok() && inode.value()->id_.generation != id.generation) {
    return Error{Errc::kStaleHandle, "the inode has another generation"};
  }
  return inode;
}

Result<InodeRef> Volume::prepare_new_inode(Attempt& attempt, std::optional<InodeNumber> exact) {
  if (exact) {
    const auto raw = static_cast<std::uint64_t>(*exact);
    Result<BufferRef> map = state_->inode_map->block(attempt, raw / kBitsPerBlock);
    if (!map.ok()) {
      return map.error();
    }
    if (raw < 2 || (map.value() && bit(map.value().bytes(), raw % kBitsPerBlock))) {
      return Error{Errc::kCorrupt, "the inode number of a record is in use"};
    }
    return load_inode(attempt, kLive, *exact);
  }
  for (std::uint64_t at = state_->search_from; at < kInodesMax;) {
    Result<BufferRef> map = state_->inode_map->block(attempt, at / kBitsPerBlock);
    if (!map.ok()) {
      return map.error();
    }
    const std::uint64_t base = at / kBitsPerBlock * kBitsPerBlock;
    const std::uint64_t found =
        map.value() ? first_clear(map.value().bytes(), at % kBitsPerBlock) : at % kBitsPerBlock;
    at = base + found;
    state_->search_from = at;
    if (found < kBitsPerBlock) {
      return load_inode(attempt, kLive, InodeNumber{at});
    }
  }
  return Error{Errc::kNoSpace, "no inode number is free"};
}

void Volume::set_in_use(InodeNumber number, bool in_use) {
  const auto raw = static_cast<std::uint64_t>(number);
  Attempt attempt(aggregate_);
  Result<BufferRef> present = state_->inode_map->block(attempt, raw / kBitsPerBlock);
  DUET_CHECK(present.ok());  // prepared in this turn
  const MutableBytes map = state_->inode_map->modify_block(raw / kBitsPerBlock, present.value());
  const auto mask = std::byte(1U << (raw % 8));
  std::byte& byte = map[raw % kBitsPerBlock / 8];
  DUET_CHECK(((byte & mask) != std::byte{0}) != in_use);
  byte ^= mask;
}

void Volume::take_inode(Inode& inode, FileType type) {
  DUET_CHECK(inode.attributes_.type == FileType::kFree);
  inode.current();
  set_in_use(inode.id_.inode, true);
  DiskDataset& record = state_->live.record;
  const std::uint32_t generation =
      std::max(static_cast<std::uint32_t>(inode.id_.generation), record.generation_floor) + 1;
  record.generation_highest = std::max(record.generation_highest, generation);
  inode.id_.generation = Generation{generation};
  inode.attributes_ = Attributes{};
  inode.attributes_.type = type;
  inode.attributes_.links = 1;
  inode.user_words_[0] = inode.user_words_[1] = 0;
  ++record.inodes_used;
  record.inode_slots =
      std::max(record.inode_slots, static_cast<std::uint64_t>(inode.id_.inode) + 1);
}

void Volume::take_received(Inode& inode, FileType type, Generation generation) {
  take_inode(inode, type);
  inode.id_.generation = generation;
  DiskDataset& record = state_->live.record;
  record.generation_highest =
      std::max(record.generation_highest, static_cast<std::uint32_t>(generation));
  inode.attributes_.links = type == FileType::kDirectory ? 2 : 0;
}

Status Volume::prepare_free_inode(Attempt& attempt, Inode& inode) {
  const auto raw = static_cast<std::uint64_t>(inode.id_.inode);
  Result<BufferRef> map = state_->inode_map->block(attempt, raw / kBitsPerBlock);
  if (!map.ok()) {
    return map.error();
  }
  return Ok{};
}

void Volume::free_inode(Inode& inode) {
  set_in_use(inode.id_.inode, false);
  inode.cut(0);
  inode.attributes_ = Attributes{};
  inode.user_words_[0] = inode.user_words_[1] = 0;
  --state_->live.record.inodes_used;
  state_->search_from = std::min(state_->search_from, static_cast<std::uint64_t>(inode.id_.inode));
}

void Volume::expect_blocks(std::uint64_t blocks) {
  state_->pending_blocks += blocks;
  aggregate_.state().pending_blocks += blocks;
}

Status Volume::reserve(const Attempt& attempt, std::uint64_t blocks, Room room) {
  const AggregateState& state = aggregate_.state();
  if (state.failed) {
    return Error{Errc::kClosed, "a consistency point failed; the aggregate takes no changes"};
  }
  if (attempt.replaying) {
    return Ok{};
  }
  // Every new leaf may need a path of its own, an inode its block and path.
  const std::uint64_t need = blocks + 3 + 4;
  const std::uint64_t pending = state.pending_blocks + state.frozen_pending_blocks;
  const auto gains = [&] { return pending > 0 || state.zombies_left(); };
  if (state.taken_blocks(room) + need > state.root.free_blocks) {
    return gains() ? Error{Errc::kTryAgain, "a CP may make room"}
                   : Error{Errc::kNoSpace, "the aggregate is full"};
  }
  const DiskDataset& record = state_->live.record;
  if (room == Room::kNormal && record.limit_blocks != 0) {
    const std::uint64_t ours = state_->pending_blocks + state_->frozen_blocks;
    if (record.used_blocks + ours + need > record.limit_blocks) {
      return ours > 0 || gains() ? Error{Errc::kTryAgain, "a CP may make room"}
                                 : Error{Errc::kOverLimit, "the volume's size limit is reached"};
    }
  }
  return Ok{};
}

}  // namespace duet::wafl
