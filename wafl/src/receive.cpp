#include "wafl/receive.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "operations/support.h"
#include "wafl/directory_format.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kRoot = static_cast<std::uint64_t>(kRootInode);
// No chain of directories is longer; against damage, as none can be a circle.
constexpr int kDepthMax = 1'000'000;

Error refused(std::string_view why) { return {Errc::kInvalid, why}; }

bool possible_type(std::uint8_t type) {
  return type >= raw(FileType::kRegular) && type <= raw(FileType::kSocket);
}

bool possible(const FrameInode& frame) {
  const auto type = static_cast<FileType>(frame.type);
  const bool file = type == FileType::kRegular;
  const bool link = type == FileType::kSymlink;
  const bool device = type == FileType::kBlockDevice || type == FileType::kCharacterDevice;
  return possible_type(frame.type) && frame.reserved0 == 0 && frame.reserved1 == 0 &&
         frame.inode >= kRoot && frame.generation != 0 && frame.mode <= 07777 &&
         frame.size_bytes <= kFileBytesMax && (file || link || frame.size_bytes == 0) &&
         (file || (frame.used_blocks == 0 && frame.cut_blocks == kStreamNoCut)) &&
         frame.used_blocks <= blocks_of(frame.size_bytes) &&
         (device || (frame.device_major == 0 && frame.device_minor == 0)) &&
         frame.target_bytes == (link ? frame.size_bytes : 0) &&
         (!link || (frame.size_bytes > 0 && frame.size_bytes <= kSymlinkBytesMax)) &&
         (frame.inode != kRoot || type == FileType::kDirectory);
}

// From 0; frames come in this order.
int phase_of(FrameType type) {
  switch (type) {
    case FrameType::kRemoval:
      return 0;
    case FrameType::kFree:
    case FrameType::kInode:
    case FrameType::kBlocks:
      return 1;
    case FrameType::kEntry:
      return 2;
    case FrameType::kEnd:
      break;
  }
  return 3;
}

}  // namespace

Result<StreamHeader> read_stream_header(ConstBytes bytes) {
  if (bytes.size() < sizeof(StreamHeader)) {
    return refused("a stream that ends in its header");
  }
  const auto header = load<StreamHeader>(bytes, 0);
  StreamHeader unsealed = header;
  unsealed.checksum = 0;
  if (header.magic != kStreamMagic) {
    return refused("this is no stream of a snapshot");
  }
  if (header.version != kStreamVersion) {
    return Error{Errc::kNotSupported, "a stream of a version that this build does not know"};
  }
  if (crc32c(bytes_of(unsealed)) != header.checksum) {
    return refused("a stream whose header is damaged");
  }
  const bool based = header.base != SnapshotIdentity{};
  if (header.incremental > 1 || based != (header.incremental == 1) ||
      header.snapshot == SnapshotIdentity{} || header.snapshot == header.base ||
      header.name_bytes > kNameBytesMax || header.reserved0 != 0 || header.reserved1 != 0 ||
      !check_name(snapshot_name(header)).ok()) {
    return refused("a stream whose header makes no sense");
  }
  return header;
}

std::string snapshot_name(const StreamHeader& header) {
  return {header.name.data(), std::min<std::size_t>(header.name_bytes, header.name.size())};
}

Result<std::size_t> frame_bytes(ConstBytes bytes) {
  if (bytes.size() < sizeof(FrameHeader)) {
    return std::size_t{0};
  }
  const auto header = load<FrameHeader>(bytes, 0);
  if (header.body_bytes > kFrameBodyMax) {
    return refused("a frame that is longer than any");
  }
  return sizeof(FrameHeader) + header.body_bytes;
}

Status SnapshotReceiver::take(Attempt& attempt, ConstBytes frame) {
  DUET_CHECK(frame.size() >= sizeof(FrameHeader));
  const auto header = load<FrameHeader>(frame, 0);
  FrameHeader unsealed = header;
  unsealed.checksum = 0;
  const ConstBytes body = frame.subspan(sizeof(FrameHeader));
  if (body.size() != header.body_bytes ||
      crc32c(body, crc32c(bytes_of(unsealed))) != header.checksum) {
    return refused("a frame that is damaged");
  }
  if (complete_ || header.number != frames_ + 1) {
    return refused("a frame that is not the next one");
  }
  if (header.type < static_cast<std::uint32_t>(FrameType::kRemoval) ||
      header.type > static_cast<std::uint32_t>(FrameType::kEnd)) {
    return refused("a frame of an unknown type");
  }
  const auto type = static_cast<FrameType>(header.type);
  if (phase_of(type) < phase_) {
    return refused("a frame that comes too late");
  }
  Status taken = dispatch(attempt, type, body);
  if (taken.ok()) {
    ++frames_;
    phase_ = phase_of(type);
  }
  return taken;
}

Status SnapshotReceiver::dispatch(Attempt& attempt, FrameType type, ConstBytes body) {
  const Error short_frame = refused("a frame that is too short or too long");
  if (type != FrameType::kBlocks) {
    if (Status ended = end_file(); !ended.ok()) {
      return ended;
    }
  }
  switch (type) {
    case FrameType::kRemoval:
    case FrameType::kEntry: {
      if (body.size() < sizeof(FrameName)) {
        return short_frame;
      }
      const auto frame = load<FrameName>(body, 0);
      const ConstBytes rest = body.subspan(sizeof(FrameName));
      const std::string_view name(reinterpret_cast<const char*>(rest.data()), rest.size());
      if (rest.size() != frame.name_bytes || !check_name(name).ok() || frame.reserved0 != 0 ||
          frame.reserved1 != 0 || !possible_type(frame.type) || frame.inode <= kRoot) {
        return refused("a name that is none");
      }
      return type == FrameType::kEntry ? take_entry(attempt, frame, name)
                                       : take_removal(attempt, frame, name);
    }
    case FrameType::kFree:
      return body.size() == sizeof(FrameFree) ? take_free(attempt, load<FrameFree>(body, 0))
                                              : Status(short_frame);
    case FrameType::kInode: {
      if (body.size() < sizeof(FrameInode)) {
        return short_frame;
      }
      const auto frame = load<FrameInode>(body, 0);
      const ConstBytes target = body.subspan(sizeof(FrameInode));
      if (!possible(frame) || target.size() != frame.target_bytes ||
          std::ranges::find(target, std::byte{0}) != target.end()) {
        return refused("an inode that cannot be");
      }
      return take_inode(attempt, frame, target);
    }
    case FrameType::kBlocks: {
      if (body.size() <= sizeof(FrameBlocks)) {
        return short_frame;
      }
      const ConstBytes data = body.subspan(sizeof(FrameBlocks));
      return data.size() % kBlockBytes == 0 ? take_blocks(attempt, load<FrameBlocks>(body, 0), data)
                                            : Status(short_frame);
    }
    case FrameType::kEnd:
      break;
  }
  return body.size() == sizeof(FrameEnd) ? take_end(load<FrameEnd>(body, 0)) : Status(short_frame);
}

Result<InodeRef> SnapshotReceiver::find(Attempt& attempt, std::uint64_t number) {
  return volume_.find_inode(attempt, kLive, InodeNumber{number});
}

// --- Names.

Status SnapshotReceiver::take_removal(Attempt& attempt, const FrameName& frame,
                                      std::string_view name) {
  Result<InodeRef> directory = find(attempt, frame.directory);
  Result<InodeRef> inode = find(attempt, frame.inode);
  if (is_miss(directory) || is_miss(inode)) {
    return Error{Errc::kMiss, "receive"};
  }
  if (!directory.ok() || !inode.ok() || !is_directory(*directory.value())) {
    return refused("a removed name in no directory, or of no inode");
  }
  Names names(attempt, *directory.value());
  const Result<DirectoryTree::Position> position = names->find(name);
  if (is_miss(position)) {
    return position.error();
  }
  if (!position.ok() || !position.value().found || position.value().inode != frame.inode ||
      position.value().type != frame.type) {
    return refused("a removed name that was not there");
  }
  const Result<DirectoryTree::Change> change = names->prepare_remove(position.value());
  if (!change.ok()) {
    return change.error();
  }
  if (Status room = volume_.reserve(attempt, change.value().dirties, Volume::Room::kToFree);
      !room.ok()) {
    return room;
  }
  names->remove(change.value(), name);
  Attributes& attributes = inode.value()->change_attributes();
  if (is_directory(*inode.value())) {
    inode.value()->set_user_word(kDirectoryParentWord, 0);
    --directory.value()->change_attributes().links;
    ++nameless_;
  } else if (--attributes.links == 0) {
    ++nameless_;
  }
  return Ok{};
}

// Walks up from `directory`: the names that there are never lead in a circle, as this keeps it so.
Status SnapshotReceiver::check_not_below(Attempt& attempt, std::uint64_t directory,
                                         std::uint64_t moved) {
  std::uint64_t at = directory;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    if (at == moved) {
      return refused("a directory below itself");
    }
    if (at == kRoot || at == 0) {
      return Ok{};
    }
    Result<InodeRef> inode = find(attempt, at);
    if (!inode.ok()) {
      return inode.error();
    }
    at = inode.value()->user_word(kDirectoryParentWord);
  }
  return Error{Errc::kCorrupt, "directories that lead nowhere"};
}

Status SnapshotReceiver::take_entry(Attempt& attempt, const FrameName& frame,
                                    std::string_view name) {
  Result<InodeRef> found_directory = find(attempt, frame.directory);
  Result<InodeRef> found_inode = find(attempt, frame.inode);
  if (is_miss(found_directory) || is_miss(found_inode)) {
    return Error{Errc::kMiss, "receive"};
  }
  if (!found_directory.ok() || !found_inode.ok() || !is_directory(*found_directory.value()) ||
      raw(found_inode.value()->attributes().type) != frame.type) {
    return refused("a name in no directory, or of no such inode");
  }
  Inode& directory = *found_directory.value();
  Inode& inode = *found_inode.value();
  const bool moves_directory = is_directory(inode);
  if (moves_directory) {
    if (inode.user_word(kDirectoryParentWord) != 0) {
      return refused("a second name of a directory");
    }
    if (Status above = check_not_below(attempt, frame.directory, frame.inode); !above.ok()) {
      return above;
    }
  }
  if ((moves_directory ? directory : inode).attributes().links >= kLinksMax) {
    return refused("too many links");
  }
  Names names(attempt, directory);
  const Result<DirectoryTree::Position> position = names->find(name);
  if (!position.ok()) {
    return position.error();
  }
  if (position.value().found) {
    return refused("a name that is there twice");
  }
  const Result<DirectoryTree::Change> change = names->prepare_insert(position.value(), name);
  if (!change.ok()) {
    return change.error();
  }
  if (Status room = volume_.reserve(attempt, change.value().dirties); !room.ok()) {
    return room;
  }
  names->insert(change.value(), name, frame.inode, frame.type);
  Attributes& attributes = inode.change_attributes();
  if (moves_directory) {
    inode.set_user_word(kDirectoryParentWord, frame.directory);
    ++directory.change_attributes().links;
    --nameless_;
  } else if (++attributes.links == 1) {
    --nameless_;
  }
  return Ok{};
}

// --- Inodes.

Status SnapshotReceiver::check_nameless(Attempt& attempt, Inode& inode) {
  if (!is_directory(inode)) {
    return inode.attributes().links == 0 ? Status(Ok{})
                                         : Status(refused("an inode goes that has names"));
  }
  if (inode.user_word(kDirectoryParentWord) != 0) {
    return refused("a directory goes that has a name");
  }
  Status empty = check_empty(attempt, inode);
  return !empty.ok() && empty.error().code == Errc::kNotEmpty
             ? Status(refused("a directory goes that has names in it"))
             : empty;
}

Status SnapshotReceiver::take_free(Attempt& attempt, const FrameFree& frame) {
  Result<InodeRef> inode = find(attempt, frame.inode);
  if (!inode.ok()) {
    return is_miss(inode) ? inode.error() : refused("an inode goes that is not there");
  }
  if (frame.inode == kRoot) {
    return refused("the root directory goes");
  }
  const Status nameless = check_nameless(attempt, *inode.value());
  const Status prepared = volume_.prepare_free_inode(attempt, *inode.value());
  if (!nameless.ok() || !prepared.ok()) {
    return nameless.ok() ? prepared : nameless;
  }
  if (Status room = volume_.reserve(attempt, 4, Volume::Room::kToFree); !room.ok()) {
    return room;
  }
  volume_.free_inode(*inode.value());
  --nameless_;
  return Ok{};
}

Status SnapshotReceiver::take_inode(Attempt& attempt, const FrameInode& frame, ConstBytes target) {
  Result<InodeRef> found = find(attempt, frame.inode);
  if (!found.ok() && found.error().code != Errc::kStaleHandle) {
    return found.error();
  }
  const bool known =
      found.ok() &&
      (frame.inode == kRoot || (found.value()->id().generation == Generation{frame.generation} &&
                                raw(found.value()->attributes().type) == frame.type));
  Status taken = known ? take_known_inode(attempt, *found.value(), frame, target)
                       : take_new_inode(attempt, frame, target);
  if (taken.ok() && frame.type == raw(FileType::kRegular)) {
    file_ = frame.inode;
    file_size_bytes_ = frame.size_bytes;
    file_blocks_wanted_ = frame.used_blocks;
    file_blocks_ = known ? found.value()->attributes().used_bytes / kBlockBytes : 0;
  }
  return taken;
}

// Perhaps over another one of that number, which is gone.
Status SnapshotReceiver::take_new_inode(Attempt& attempt, const FrameInode& frame,
                                        ConstBytes target) {
  if (frame.cut_blocks != kStreamNoCut) {
    return refused("a new file that loses blocks");
  }
  Result<InodeRef> inode = find(attempt, frame.inode);
  const bool replaces = inode.ok();
  if (replaces) {
    const Status nameless = check_nameless(attempt, *inode.value());
    const Status prepared = volume_.prepare_free_inode(attempt, *inode.value());
    if (!nameless.ok() || !prepared.ok()) {
      return nameless.ok() ? prepared : nameless;
    }
  } else {
    inode = volume_.prepare_new_inode(attempt, InodeNumber{frame.inode});
    if (!inode.ok()) {
      return is_miss(inode) || inode.error().code == Errc::kIo
                 ? inode.error()
                 : refused("an inode number that cannot be");
    }
  }
  if (Status room = volume_.reserve(attempt, 5); !room.ok()) {
    return room;
  }
  if (replaces) {
    volume_.free_inode(*inode.value());
    --nameless_;
  }
  volume_.take_received(*inode.value(), static_cast<FileType>(frame.type),
                        Generation{frame.generation});
  ++nameless_;
  set_attributes(*inode.value(), frame, target);
  return Ok{};
}

Status SnapshotReceiver::take_known_inode(Attempt& attempt, Inode& inode, const FrameInode& frame,
                                          ConstBytes target) {
  std::uint64_t cut = kStreamNoCut;
  std::uint64_t gone = 0;
  BufferRef tail;
  const std::uint64_t last = frame.size_bytes / kBlockBytes;
  const std::size_t inside = frame.size_bytes % kBlockBytes;
  if (frame.type == raw(FileType::kRegular)) {
    cut = std::min(frame.cut_blocks, blocks_of(frame.size_bytes));
    const Result<std::uint64_t> behind = inode.count_from(attempt, cut);
    if (!behind.ok()) {
      return behind.error();
    }
    gone = behind.value();
    // Behind the new end there must be zeros.
    if (inside != 0 && frame.size_bytes < inode.attributes().size_bytes && last < cut) {
      Result<BufferRef> present = inode.block(attempt, last);
      if (!present.ok()) {
        return present.error();
      }
      tail = std::move(present.value());
    }
  }
  if (Status room = volume_.reserve(attempt, 5); !room.ok()) {
    return room;
  }
  if (gone > 0) {
    inode.cut(cut);
    inode.change_attributes().used_bytes -= gone * kBlockBytes;
  }
  if (tail) {
    const MutableBytes block = inode.modify_block(last, tail);
    std::memset(block.data() + inside, 0, kBlockBytes - inside);
  }
  set_attributes(inode, frame, target);
  return Ok{};
}

void SnapshotReceiver::set_attributes(Inode& inode, const FrameInode& frame, ConstBytes target) {
  Attributes& attributes = inode.change_attributes();
  attributes.mode = frame.mode;
  attributes.uid = frame.uid;
  attributes.gid = frame.gid;
  attributes.device = {frame.device_major, frame.device_minor};
  attributes.atime = Timestamp{frame.atime_ns};
  attributes.mtime = Timestamp{frame.mtime_ns};
  attributes.ctime = Timestamp{frame.ctime_ns};
  if (!is_directory(inode)) {  // a directory's size is that of its blocks here
    attributes.size_bytes = frame.size_bytes;
  }
  if (!target.empty()) {
    const MutableBytes block = inode.replace_block(0).mutable_bytes();
    std::memcpy(block.data(), target.data(), target.size());
    std::memset(block.data() + target.size(), 0, kBlockBytes - target.size());
    attributes.used_bytes = kBlockBytes;
  }
}

// --- Blocks.

Status SnapshotReceiver::take_blocks(Attempt& attempt, const FrameBlocks& frame, ConstBytes data) {
  const std::uint64_t count = data.size() / kBlockBytes;
  const std::uint64_t end = blocks_of(file_size_bytes_);
  if (file_ == 0 || frame.inode != file_ || frame.first >= end || count > end - frame.first) {
    return refused("blocks of no file, or behind its end");
  }
  const std::size_t inside = file_size_bytes_ % kBlockBytes;
  if (inside != 0 && frame.first + count == end && !all_zero(data.last(kBlockBytes - inside))) {
    return refused("a file with bytes behind its end");
  }
  Result<InodeRef> inode = find(attempt, file_);
  if (!inode.ok()) {
    return inode.error();
  }
  std::uint64_t fresh = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const Result<bool> there = inode.value()->exists(attempt, frame.first + i);
    if (!there.ok() && !is_miss(there)) {
      return there.error();
    }
    fresh += there.ok() && there.value() ? 0 : 1;
  }
  if (attempt.missed()) {
    return Error{Errc::kMiss, "receive"};
  }
  if (Status room = volume_.reserve(attempt, count); !room.ok()) {
    return room;
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const BufferRef block = inode.value()->replace_block(frame.first + i);
    std::memcpy(block.mutable_bytes().data(), data.subspan(i * kBlockBytes).data(), kBlockBytes);
  }
  inode.value()->change_attributes().used_bytes += fresh * kBlockBytes;
  file_blocks_ += fresh;
  return Ok{};
}

Status SnapshotReceiver::end_file() {
  if (file_ != 0 && file_blocks_ != file_blocks_wanted_) {
    return refused("a file with more or fewer blocks than it should have");
  }
  file_ = 0;
  return Ok{};
}

Status SnapshotReceiver::take_end(const FrameEnd& frame) {
  if (frame.frames != frames_) {
    return refused("a stream with more or fewer frames than it should have");
  }
  if (nameless_ != 0 || volume_.inodes_used() != header_.inodes_used) {
    return refused("a stream that leaves inodes without names, or not as many as it should");
  }
  complete_ = true;
  return Ok{};
}

}  // namespace duet::wafl
