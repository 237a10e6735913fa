// One block of a directory: finding in it and changing it.
//
// NodeView reads any bytes safely.  What changes a block wants one whose layout is ok, and
// keeps it so.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "wafl/directory_format.h"

namespace duet::wafl {

class NodeView {
 public:
  // Error: kCorrupt: the header does not describe a leaf or an interior node.
  static Result<NodeView> open(ConstBytes block);

  [[nodiscard]] bool leaf() const { return header_.level == 0; }
  [[nodiscard]] std::uint32_t level() const { return header_.level; }
  [[nodiscard]] std::uint32_t count() const { return header_.count; }
  [[nodiscard]] ConstBytes bytes() const { return block_; }

  // --- Leaves.
  // Error of all: kCorrupt.
  [[nodiscard]] Result<DirectoryRecord> record(std::uint32_t slot) const {
    return directory_record(block_, slot);
  }
  // The first slot whose cookie is at or behind `cookie`; count() if there is none.
  [[nodiscard]] Result<std::uint32_t> lower_bound(std::uint64_t cookie) const;
  // Whether every cookie is in [lower, upper), judged by the first and the last.
  [[nodiscard]] bool within(std::uint64_t lower, std::uint64_t upper) const;
  // Bytes for more records and their offsets.
  [[nodiscard]] std::size_t room() const {
    return header_.heap_offset - sizeof(DirectoryBlockHeader) - 2 * std::size_t{header_.count};
  }

  // --- Interior nodes.
  [[nodiscard]] DirectoryChild child(std::uint32_t slot) const {
    return directory_child(block_, slot);
  }
  // The slot of the child that holds `cookie`.
  [[nodiscard]] std::uint32_t slot_for(std::uint64_t cookie) const;
  [[nodiscard]] bool full() const { return header_.count == kDirectoryChildrenMax; }

 private:
  NodeView(ConstBytes block, const DirectoryBlockHeader& header) : block_(block), header_(header) {}
  [[nodiscard]] std::optional<std::uint64_t> cookie_at(std::uint32_t slot) const;

  ConstBytes block_;
  DirectoryBlockHeader header_;
};

// A record as it lies in a leaf.
class RecordBytes {
 public:
  // REQUIRES: record.name has at most kNameBytesMax bytes.
  explicit RecordBytes(const DirectoryRecord& record);
  [[nodiscard]] ConstBytes bytes() const { return ConstBytes(bytes_).first(size_); }

 private:
  std::array<std::byte, kDirectoryRecordBytes + kNameBytesMax> bytes_{};
  std::size_t size_;
};

// What a record takes in a leaf, its offset included.
[[nodiscard]] constexpr std::size_t record_cost(std::size_t name_bytes) {
  return kDirectoryRecordBytes + name_bytes + sizeof(std::uint16_t);
}

// What check_directory_block() checks, but for the names and the unused bytes of leaves: enough to
// change the block, and cheap enough to do it before every change.  Takes any bytes.
// The source is directory_format.cpp.
[[nodiscard]] bool directory_layout_ok(ConstBytes block);

// Record `slot` as it lies there.
// REQUIRES: the leaf's layout is ok, slot < its count.
[[nodiscard]] ConstBytes record_span(ConstBytes leaf, std::uint32_t slot);

// --- Changing.  `build_*` and `make_free` overwrite all of the block.

// REQUIRES: they fit.
void build_leaf(MutableBytes block, std::span<const ConstBytes> records);
void insert_record(MutableBytes leaf, std::uint32_t slot, ConstBytes record);
void remove_record(MutableBytes leaf, std::uint32_t slot);
// The same name now means another inode.
void retarget_record(MutableBytes leaf, std::uint32_t slot, std::uint64_t inode, std::uint8_t type);

// The first child's cookie is written as zero.
void build_interior(MutableBytes block, std::uint32_t level,
                    std::span<const DirectoryChild> children);
void insert_child(MutableBytes node, std::uint32_t slot, const DirectoryChild& child);
// REQUIRES: it is not the only one.
void remove_child(MutableBytes node, std::uint32_t slot);

void make_free(MutableBytes block, std::uint64_t next_free);

}  // namespace duet::wafl
