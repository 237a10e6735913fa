// Contents, written.
//
// Invariant: bytes of a file's last block behind its size are zero, and no block lies
// behind it.  So what grows needs to look at nothing behind the old size.

#include <algorithm>
#include <cstring>
#include <span>

#include "base/memory.h"
#include "operations/support.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

// Writes from here on go past the processor's cache: they would push out more than they gain.
constexpr std::uint64_t kBulkBytes = 128U << 10U;

// Hands out data that lies in several pieces.
class Pieces {
 public:
  explicit Pieces(std::span<const ConstBytes> pieces) : left_(pieces) {}
  // Gives the checksum of what it copied, taken while the bytes are at hand.
  // REQUIRES: as much is left.
  std::uint32_t copy_to(MutableBytes out, bool bulk) {
    std::uint32_t checksum = 0;
    while (!out.empty()) {
      const ConstBytes all = left_.front().subspan(used_);
      const ConstBytes piece = all.first(std::min(all.size(), out.size()));
      checksum = crc32c(piece, checksum);
      if (bulk) {
        copy_past_cache(out, piece);
      } else if (!piece.empty()) {
        std::memcpy(out.data(), piece.data(), piece.size());
      }
      out = out.subspan(piece.size());
      used_ += piece.size();
      if (piece.size() == all.size()) {
        left_ = left_.subspan(1);
        used_ = 0;
      }
    }
    return checksum;
  }

 private:
  std::span<const ConstBytes> left_;
  std::size_t used_ = 0;  // of the first piece left
};

// The part of one block that is written.
struct Part {
  std::uint64_t index;
  std::size_t begin;
  std::size_t end;
};

class Write {
 public:
  Write(Inode& inode, std::uint64_t offset, std::uint64_t bytes)
      : inode_(inode),
        begin_(offset),
        end_(offset + bytes),
        old_size_(inode.attributes().size_bytes),
        old_blocks_(blocks_of(old_size_)),
        dense_(inode.attributes().used_bytes == old_blocks_ * kBlockBytes) {}

  [[nodiscard]] std::uint64_t first() const { return begin_ / kBlockBytes; }
  [[nodiscard]] std::uint64_t last() const { return (end_ - 1) / kBlockBytes; }
  [[nodiscard]] std::uint64_t new_blocks() const { return new_blocks_; }

  // Reads what stays beside the new bytes, and counts blocks that were not there.
  // Error: kMiss, kCorrupt, kIo.
  Status prepare(Attempt& attempt) {
    bool missed = false;
    for (std::uint64_t index = first(); index <= last(); ++index) {
      const Status prepared = prepare_block(attempt, index);
      if (!prepared.ok() && !is_miss(prepared)) {
        return prepared;
      }
      missed = missed || !prepared.ok();
    }
    return missed ? Status(Error{Errc::kMiss, "write"}) : Status(Ok{});
  }

  // Gives the checksum of all of `data`.
  std::uint32_t apply(Pieces data) {
    std::uint32_t all = 0;
    const bool bulk = end_ - begin_ >= kBulkBytes;
    for (std::uint64_t index = first(); index <= last(); ++index) {
      const Part part = part_of(index);
      if (keeps_old(part)) {
        const BufferRef& present = index == first() ? first_present_ : last_present_;
        const MutableBytes block = inode_.modify_block(index, present);
        const std::uint32_t checksum =
            data.copy_to(block.subspan(part.begin, part.end - part.begin), false);
        all = crc32c_join(all, checksum, part.end - part.begin);
        continue;
      }
      const BufferRef buffer = inode_.replace_block(index);
      const MutableBytes block = buffer.mutable_bytes();
      std::memset(block.data(), 0, part.begin);
      const std::uint32_t checksum =
          data.copy_to(block.subspan(part.begin, part.end - part.begin), bulk);
      std::memset(block.data() + part.end, 0, kBlockBytes - part.end);
      if (part.begin == 0 && part.end == kBlockBytes) {
        buffer.set_checksum(checksum);
      }
      all = crc32c_join(all, checksum, part.end - part.begin);
    }
    if (bulk) {
      store_fence();
    }
    return all;
  }

 private:
  [[nodiscard]] Part part_of(std::uint64_t index) const {
    return {index, index == first() ? static_cast<std::size_t>(begin_ % kBlockBytes) : 0,
            index == last() ? static_cast<std::size_t>((end_ - 1) % kBlockBytes + 1) : kBlockBytes};
  }
  // Whether bytes of the file lie in this block beside the new ones.
  [[nodiscard]] bool keeps_old(const Part& part) const {
    if (part.index >= old_blocks_) {
      return false;
    }
    const std::uint64_t start = part.index * kBlockBytes;
    const std::uint64_t old_end = std::min<std::uint64_t>(old_size_ - start, kBlockBytes);
    return part.begin > 0 || part.end < old_end;
  }
  Status prepare_block(Attempt& attempt, std::uint64_t index) {
    if (index >= old_blocks_) {
      ++new_blocks_;
      return Ok{};
    }
    if (keeps_old(part_of(index))) {
      Result<BufferRef> present = inode_.block(attempt, index);
      if (!present.ok()) {
        return present.error();
      }
      new_blocks_ += present.value() ? 0 : 1;
      (index == first() ? first_present_ : last_present_) = std::move(present.value());
      return Ok{};
    }
    if (!dense_) {
      const Result<bool> there = inode_.exists(attempt, index);
      if (!there.ok()) {
        return there.error();
      }
      new_blocks_ += there.value() ? 0 : 1;
    }
    return Ok{};
  }

  Inode& inode_;
  const std::uint64_t begin_;
  const std::uint64_t end_;
  const std::uint64_t old_size_;
  const std::uint64_t old_blocks_;
  const bool dense_;
  std::uint64_t new_blocks_ = 0;
  BufferRef first_present_;  // only the first and the last block can keep old bytes
  BufferRef last_present_;
};

Status check_write(const Inode& inode, std::uint64_t offset, std::uint64_t bytes) {
  if (inode.attributes().type != FileType::kRegular) {
    return is_directory(inode) ? Error{Errc::kIsDirectory, "write to a directory"}
                               : Error{Errc::kBadType, "write to a special file"};
  }
  if (!inode.writable()) {
    return Error{Errc::kReadOnly, "a snapshot"};
  }
  if (offset > kFileBytesMax || bytes > kFileBytesMax - offset) {
    return Error{Errc::kFileTooBig, "write behind the largest file's end"};
  }
  return Ok{};
}

}  // namespace

Status write(Attempt& attempt, Inode& inode, std::uint64_t offset, std::span<const ConstBytes> data,
             bool drop_privileges, Timestamp now, std::uint32_t* checksum) {
  std::uint64_t bytes = 0;
  for (const ConstBytes& piece : data) {
    bytes += piece.size();
  }
  const Status checked = check_write(inode, offset, bytes);
  if (checksum != nullptr) {
    *checksum = 0;
  }
  if (!checked.ok() || bytes == 0) {
    return checked;
  }
  Write change(inode, offset, bytes);
  const Status prepared = change.prepare(attempt);
  if (!prepared.ok()) {
    return prepared;
  }
  const Status room = inode.volume().reserve(attempt, change.last() - change.first() + 1);
  if (!room.ok()) {
    return room;
  }

  const std::uint32_t written = change.apply(Pieces(data));
  if (checksum != nullptr) {
    *checksum = written;
  }
  Attributes& attributes = inode.change_attributes();
  attributes.size_bytes = std::max(attributes.size_bytes, offset + bytes);
  attributes.used_bytes += change.new_blocks() * kBlockBytes;
  attributes.mtime = now;
  attributes.ctime = now;
  if (drop_privileges) {
    attributes.mode &= ~std::uint32_t{06000};
  }
  return Ok{};
}

}  // namespace duet::wafl
