// Attributes, and the size with what it cuts off.

#include <cstring>

#include "operations/support.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

// A new size of a file, found before it is set.
struct Resize {
  std::uint64_t size_bytes = 0;
  std::uint64_t blocks = 0;      // that the new size covers
  std::uint64_t cut_blocks = 0;  // that exist behind them
  bool cuts = false;
  BufferRef tail;  // the last block, when bytes in it must become zero
};

Status check_resize(const Inode& inode, std::uint64_t size_bytes) {
  if (inode.attributes().type != FileType::kRegular) {
    return is_directory(inode) ? Error{Errc::kIsDirectory, "size of a directory"}
                               : Error{Errc::kBadType, "size of a special file"};
  }
  if (size_bytes > kFileBytesMax) {
    return Error{Errc::kFileTooBig, "beyond the largest file"};
  }
  return Ok{};
}

// Error: kMiss, kCorrupt.
Result<Resize> prepare_resize(Attempt& attempt, Inode& inode, std::uint64_t size_bytes) {
  const Attributes& attributes = inode.attributes();
  Resize resize;
  resize.size_bytes = size_bytes;
  resize.blocks = blocks_of(size_bytes);
  if (size_bytes >= attributes.size_bytes) {
    return resize;  // what is added is a hole
  }
  const std::uint64_t old_blocks = blocks_of(attributes.size_bytes);
  const bool dense = attributes.used_bytes == old_blocks * kBlockBytes;
  bool missed = false;
  resize.cuts = old_blocks > resize.blocks && attributes.used_bytes > 0;
  if (resize.cuts && (dense || resize.blocks == 0)) {
    resize.cut_blocks = attributes.used_bytes / kBlockBytes - (dense ? resize.blocks : 0);
  } else if (resize.cuts) {
    const Result<std::uint64_t> count = inode.count_from(attempt, resize.blocks);
    if (!count.ok() && !is_miss(count)) {
      return count.error();
    }
    missed = !count.ok();
    resize.cut_blocks = count.ok() ? count.value() : 0;
  }
  if (size_bytes % kBlockBytes != 0 && attributes.used_bytes > 0) {
    Result<BufferRef> tail = inode.block(attempt, resize.blocks - 1);
    if (!tail.ok()) {
      return tail.error();
    }
    resize.tail = std::move(tail.value());
  }
  return missed ? Result<Resize>(Error{Errc::kMiss, "truncate"}) : Result<Resize>(resize);
}

void apply_resize(Inode& inode, const Resize& resize) {
  if (resize.cuts) {
    inode.cut(resize.blocks);
  }
  if (resize.tail) {
    const MutableBytes block = inode.modify_block(resize.blocks - 1, resize.tail);
    const std::size_t kept = static_cast<std::size_t>(resize.size_bytes % kBlockBytes);
    std::memset(block.data() + kept, 0, block.size() - kept);
  }
  Attributes& attributes = inode.change_attributes();
  attributes.size_bytes = resize.size_bytes;
  attributes.used_bytes -= resize.cut_blocks * kBlockBytes;
}

}  // namespace

Status set_attributes(Attempt& attempt, Inode& inode, const AttributeChanges& changes,
                      Timestamp now) {
  if (changes.size_bytes) {
    const Status checked = check_resize(inode, *changes.size_bytes);
    if (!checked.ok()) {
      return checked;
    }
  }
  if (!inode.writable()) {
    return Error{Errc::kReadOnly, "a snapshot"};
  }
  Resize resize;
  if (changes.size_bytes) {
    Result<Resize> prepared = prepare_resize(attempt, inode, *changes.size_bytes);
    if (!prepared.ok()) {
      return prepared.error();
    }
    resize = std::move(prepared.value());
  }
  // Takes at most the one block that a cut file ends in.
  const Status room = inode.volume().reserve(attempt, resize.tail ? 1 : 0, Volume::Room::kToFree);
  if (!room.ok()) {
    return room;
  }

  if (changes.size_bytes) {
    apply_resize(inode, resize);
  }
  Attributes& attributes = inode.change_attributes();
  attributes.mode = changes.mode ? *changes.mode & 07777U : attributes.mode;
  attributes.uid = changes.uid.value_or(attributes.uid);
  attributes.gid = changes.gid.value_or(attributes.gid);
  attributes.atime = changes.atime.value_or(attributes.atime);
  attributes.mtime = changes.mtime.value_or(changes.size_bytes ? now : attributes.mtime);
  attributes.ctime = now;
  return Ok{};
}

}  // namespace duet::wafl
