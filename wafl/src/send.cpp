#include "wafl/send.h"

#include <algorithm>
#include <cstring>

#include "aggregate_state.h"
#include "inode_codec.h"
#include "tree_difference.h"
#include "tree_reader.h"
#include "wafl/directory_format.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

constexpr auto kDirectory = static_cast<std::uint8_t>(FileType::kDirectory);
constexpr auto kRegular = static_cast<std::uint8_t>(FileType::kRegular);
constexpr auto kSymlink = static_cast<std::uint8_t>(FileType::kSymlink);

void append(std::vector<std::byte>& out, ConstBytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// Inode `slot` of leaf `index`; all zero where there is none.  Error: kMiss.
Result<DiskInode> inode_at(Attempt& attempt, const TreeRoot& inode_file, std::uint64_t index,
                           std::uint64_t slot) {
  const Result<BlockPointer> leaf = find_leaf(attempt, inode_file, index);
  if (!leaf.ok()) {
    return leaf.error();
  }
  if (leaf.value().hole()) {
    return DiskInode{};
  }
  const Result<BufferRef> block = get_block(attempt, leaf.value());
  if (!block.ok()) {
    return block.error();
  }
  const auto inode = load<DiskInode>(block.value().bytes(), slot * sizeof(DiskInode));
  if (!plausible(inode)) {
    return Error{Errc::kCorrupt, "an inode makes no sense"};
  }
  return inode;
}

bool same_bytes(const DiskInode& a, const DiskInode& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

}  // namespace

Result<std::unique_ptr<SnapshotSender>> SnapshotSender::make(Aggregate& aggregate, VolumeId volume,
                                                             SnapshotId snapshot,
                                                             std::optional<SnapshotId> from) {
  const Volume* owner = aggregate.find_volume(volume);
  if (owner == nullptr || !owner->identity(snapshot) || (from && !owner->identity(*from))) {
    return Error{Errc::kNotFound, "send: no such volume or snapshot"};
  }
  DiskDataset wanted;
  DiskDataset older;
  for (const auto& candidate : owner->state_->snapshots) {
    const SnapshotId id{candidate->record.snapshot};
    if (id == snapshot) {
      wanted = candidate->record;
    }
    if (from && id == *from) {
      older = candidate->record;
    }
  }
  if (from && older.cp >= wanted.cp) {
    return Error{Errc::kInvalid, "send: what it goes from must be older"};
  }
  return std::unique_ptr<SnapshotSender>(new SnapshotSender(aggregate, volume, wanted, older));
}

SnapshotSender::SnapshotSender(Aggregate& aggregate, VolumeId volume, const DiskDataset& snapshot,
                               const DiskDataset& from)
    : aggregate_(aggregate), volume_(volume), snapshot_(snapshot), from_(from) {}

bool SnapshotSender::still_there() const {
  const Volume* owner = aggregate_.find_volume(volume_);
  return owner != nullptr && owner->find_snapshot(SnapshotId{snapshot_.snapshot}) &&
         (from_.cp == 0 || owner->find_snapshot(SnapshotId{from_.snapshot}));
}

Task<Status> SnapshotSender::next(std::vector<std::byte>& out, std::size_t bytes) {
  const std::size_t goal = out.size() + bytes;
  while (!done() && out.size() < goal) {
    Attempt attempt(aggregate_);  // one for each unit: what it has read stays with it
    for (;;) {
      if (!still_there()) {
        co_return Error{Errc::kNotFound, "send: a snapshot was deleted meanwhile"};
      }
      const std::size_t before = out.size();
      const Statistics counted = statistics_;
      const Status stepped = step(attempt, out);
      if (stepped.ok()) {
        break;
      }
      out.resize(before);
      statistics_ = counted;
      if (stepped.error().code != Errc::kMiss) {
        co_return stepped;
      }
      const Status loaded = co_await attempt.load();
      if (!loaded.ok() && still_there()) {
        co_return loaded;
      }
    }
  }
  co_return Ok{};
}

// Sends one unit and moves on, or misses and may be tried again.
Status SnapshotSender::step(Attempt& attempt, Out& out) {
  if (phase_ == Phase::kHeader) {
    header(out);
    next_phase();
    return Ok{};
  }
  if (phase_ == Phase::kEnd) {
    const FrameEnd end{statistics_.frames};
    frame(out, FrameType::kEnd, bytes_of(end), {});
    next_phase();
    return Ok{};
  }
  const Result<bool> found = find_inode(attempt);
  if (!found.ok()) {
    return found.error();
  }
  if (!found.value()) {
    next_phase();
    return Ok{};
  }
  switch (phase_) {
    case Phase::kRemovals:
      return removals(attempt, out);
    case Phase::kInodes:
      return inode(attempt, out);
    case Phase::kEntries:
      return entries(attempt, out);
    case Phase::kHeader:
    case Phase::kEnd:
    case Phase::kDone:
      break;
  }
  return Ok{};
}

void SnapshotSender::header(Out& out) {
  const Volume& owner = *aggregate_.find_volume(volume_);
  StreamHeader header;
  header.snapshot = *owner.identity(SnapshotId{snapshot_.snapshot});
  if (from_.cp != 0) {
    header.incremental = 1;
    header.base = *owner.identity(SnapshotId{from_.snapshot});
  }
  header.created_ns = snapshot_.created_ns;
  header.inodes_used = snapshot_.inodes_used;
  header.name_bytes = snapshot_.name_bytes;
  header.name = snapshot_.name;
  header.checksum = crc32c(bytes_of(header));
  append(out, bytes_of(header));
}

void SnapshotSender::frame(Out& out, FrameType type, ConstBytes body, ConstBytes more) {
  FrameHeader header;
  header.type = static_cast<std::uint32_t>(type);
  header.body_bytes = static_cast<std::uint32_t>(body.size() + more.size());
  header.number = static_cast<std::uint32_t>(++statistics_.frames);
  header.checksum = crc32c(more, crc32c(body, crc32c(bytes_of(header))));
  append(out, bytes_of(header));
  append(out, body);
  append(out, more);
}

void SnapshotSender::next_phase() {
  phase_ = static_cast<Phase>(static_cast<std::uint8_t>(phase_) + 1);
  leaf_ = slot_ = block_ = 0;
  found_ = begun_ = false;
}

void SnapshotSender::next_inode() {
  found_ = begun_ = false;
  block_ = 0;
  ++slot_;
}

bool SnapshotSender::same_inode() const {
  return new_.type != 0 && old_.type == new_.type && old_.generation == new_.generation;
}

Result<bool> SnapshotSender::find_inode(Attempt& attempt) {
  while (!found_) {
    const Result<std::optional<FoundLeaf>> leaf =
        next_born(attempt, snapshot_.inode_file, leaf_, from_.cp);
    if (!leaf.ok()) {
      return leaf.error();
    }
    if (!leaf.value().has_value()) {
      return false;
    }
    if (leaf.value()->index != leaf_) {
      leaf_ = leaf.value()->index;
      slot_ = 0;
    }
    for (; slot_ < kInodesPerBlock; ++slot_) {
      const Result<DiskInode> now = inode_at(attempt, snapshot_.inode_file, leaf_, slot_);
      const Result<DiskInode> then = inode_at(attempt, from_.inode_file, leaf_, slot_);
      if (!now.ok() || !then.ok()) {
        return now.ok() ? then.error() : now.error();
      }
      if (!same_bytes(now.value(), then.value())) {
        new_ = now.value();
        old_ = then.value();
        found_ = true;
        return true;
      }
    }
    ++leaf_;
    slot_ = 0;
  }
  return true;
}

// --- Names.

Result<bool> SnapshotSender::has_entry(Attempt& attempt, SnapshotId snapshot,
                                       const DirectoryRecord& record) {
  const InodeNumber number{leaf_ * kInodesPerBlock + slot_};
  Result<InodeRef> directory =
      aggregate_.find_volume(volume_)->find_inode(attempt, snapshot, number);
  if (!directory.ok()) {
    return directory.error();
  }
  const Result<Entry> entry = lookup(attempt, *directory.value(), record.name);
  if (!entry.ok()) {
    return entry.error().code == Errc::kNotFound ? Result<bool>(false)
                                                 : Result<bool>(entry.error());
  }
  if (entry.value().inode != InodeNumber{record.inode} ||
      entry.value().type != static_cast<FileType>(record.type)) {
    return false;
  }
  // The same number may be another file.
  const std::uint64_t leaf = record.inode / kInodesPerBlock;
  const std::uint64_t slot = record.inode % kInodesPerBlock;
  const Result<DiskInode> now = inode_at(attempt, snapshot_.inode_file, leaf, slot);
  const Result<DiskInode> then = inode_at(attempt, from_.inode_file, leaf, slot);
  if (!now.ok() || !then.ok()) {
    return now.ok() ? then.error() : now.error();
  }
  return now.value().generation == then.value().generation && now.value().type == then.value().type;
}

// The names in one block of a directory, but not those that `unless_in` has too.
Status SnapshotSender::names_of_block(Attempt& attempt, Out& out, const BlockPointer& pointer,
                                      FrameType type, std::optional<SnapshotId> unless_in) {
  const Result<BufferRef> block = get_block(attempt, pointer);
  if (!block.ok()) {
    return block.error();
  }
  const ConstBytes bytes = block.value().bytes();
  if (Status checked = check_directory_block(bytes); !checked.ok()) {
    return checked;
  }
  const auto header = load<DirectoryBlockHeader>(bytes, 0);
  if (header.kind != static_cast<std::uint8_t>(DirectoryBlockKind::kLeaf)) {
    return Ok{};
  }
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const Result<DirectoryRecord> record = directory_record(bytes, i);
    if (!record.ok()) {
      return record.error();
    }
    if (unless_in) {
      const Result<bool> there = has_entry(attempt, *unless_in, record.value());
      if (!there.ok() && there.error().code != Errc::kMiss) {
        return there.error();
      }
      if (!there.ok() || there.value()) {
        continue;  // what is missing for the others is named at once
      }
    }
    FrameName name;
    name.directory = leaf_ * kInodesPerBlock + slot_;
    name.inode = record.value().inode;
    name.type = record.value().type;
    name.name_bytes = static_cast<std::uint8_t>(record.value().name.size());
    frame(out, type, bytes_of(name), std::as_bytes(std::span(record.value().name)));
    ++statistics_.names;
  }
  return attempt.missed() ? Status(Error{Errc::kMiss, "send"}) : Status(Ok{});
}

Status SnapshotSender::removals(Attempt& attempt, Out& out) {
  if (old_.type != kDirectory) {
    next_inode();
    return Ok{};
  }
  const TreeRoot now = same_inode() ? new_.tree : TreeRoot{};
  const Result<std::optional<FoundLeaf>> leaf =
      next_difference(attempt, old_.tree, now, block_, Differs::kChanged);
  if (!leaf.ok()) {
    return leaf.error();
  }
  if (!leaf.value().has_value()) {
    next_inode();
    return Ok{};
  }
  const auto unless = same_inode() ? std::optional(SnapshotId{snapshot_.snapshot}) : std::nullopt;
  Status sent = names_of_block(attempt, out, leaf.value()->pointer, FrameType::kRemoval, unless);
  if (sent.ok()) {
    block_ = leaf.value()->index + 1;
  }
  return sent;
}

Status SnapshotSender::entries(Attempt& attempt, Out& out) {
  if (new_.type != kDirectory) {
    next_inode();
    return Ok{};
  }
  const Result<std::optional<FoundLeaf>> leaf =
      next_born(attempt, new_.tree, block_, same_inode() ? from_.cp : 0);
  if (!leaf.ok()) {
    return leaf.error();
  }
  if (!leaf.value().has_value()) {
    next_inode();
    return Ok{};
  }
  const auto unless = same_inode() ? std::optional(SnapshotId{from_.snapshot}) : std::nullopt;
  Status sent = names_of_block(attempt, out, leaf.value()->pointer, FrameType::kEntry, unless);
  if (sent.ok()) {
    block_ = leaf.value()->index + 1;
  }
  return sent;
}

// --- Inodes.

Status SnapshotSender::inode(Attempt& attempt, Out& out) {
  return begun_ ? blocks(attempt, out) : begin_inode(attempt, out);
}

Status SnapshotSender::begin_inode(Attempt& attempt, Out& out) {
  const std::uint64_t number = leaf_ * kInodesPerBlock + slot_;
  if (new_.type == 0) {
    if (old_.type != 0) {
      const FrameFree gone{number};
      frame(out, FrameType::kFree, bytes_of(gone), {});
    }
    next_inode();
    return Ok{};
  }
  FrameInode made;
  made.inode = number;
  made.generation = new_.generation;
  made.type = new_.type;
  made.mode = new_.mode;
  made.uid = new_.uid;
  made.gid = new_.gid;
  made.atime_ns = new_.atime_ns;
  made.mtime_ns = new_.mtime_ns;
  made.ctime_ns = new_.ctime_ns;
  made.device_major = new_.device_major;
  made.device_minor = new_.device_minor;
  BufferRef target;
  if (new_.type == kSymlink) {
    const Result<BlockPointer> leaf = find_leaf(attempt, new_.tree, 0);
    const Result<BufferRef> block =
        leaf.ok() ? get_block(attempt, leaf.value()) : Result<BufferRef>(leaf.error());
    if (!block.ok()) {
      return block.error();
    }
    target = block.value();
    made.size_bytes = std::min<std::uint64_t>(new_.size_bytes, kSymlinkBytesMax);
    made.target_bytes = static_cast<std::uint32_t>(made.size_bytes);
  } else if (new_.type == kRegular) {
    made.size_bytes = new_.size_bytes;
    made.used_blocks = new_.used_blocks;
    if (same_inode()) {
      // What was cut off and written again since is born later, so all from here on is sent.
      const Result<std::optional<FoundLeaf>> gone =
          next_difference(attempt, old_.tree, new_.tree, 0, Differs::kGone);
      if (!gone.ok()) {
        return gone.error();
      }
      made.cut_blocks = gone.value().has_value() ? gone.value()->index : kStreamNoCut;
    }
  }
  frame(out, FrameType::kInode, bytes_of(made),
        target ? target.bytes().first(made.target_bytes) : ConstBytes());
  ++statistics_.inodes;
  begun_ = new_.type == kRegular;
  if (!begun_) {
    next_inode();
  }
  return Ok{};
}

Status SnapshotSender::blocks(Attempt& attempt, Out& out) {
  std::vector<FoundLeaf> leaves;
  std::uint64_t at = block_;
  while (leaves.size() < kStreamBlocksMax) {
    const Result<std::optional<FoundLeaf>> leaf =
        next_born(attempt, new_.tree, at, same_inode() ? from_.cp : 0);
    if (!leaf.ok()) {
      return leaf.error();
    }
    if (!leaf.value().has_value()) {
      break;
    }
    leaves.push_back(*leaf.value());
    at = leaves.back().index + 1;
  }
  if (leaves.empty()) {
    next_inode();
    return Ok{};
  }
  for (const FoundLeaf& leaf : leaves) {
    (void)get_block(attempt, leaf.pointer);
  }
  if (attempt.missed()) {
    return Error{Errc::kMiss, "send"};
  }
  for (std::size_t first = 0, end = 0; first < leaves.size(); first = end) {
    Out run;
    for (end = first;
         end < leaves.size() && leaves[end].index == leaves[first].index + (end - first); ++end) {
      const Result<BufferRef> block = get_block(attempt, leaves[end].pointer);
      if (!block.ok()) {
        return block.error();
      }
      append(run, block.value().bytes());
      ++statistics_.blocks;
    }
    const FrameBlocks where{leaf_ * kInodesPerBlock + slot_, leaves[first].index};
    frame(out, FrameType::kBlocks, bytes_of(where), run);
  }
  block_ = at;
  return Ok{};
}

}  // namespace duet::wafl
