// The bytes of directory blocks, as wafl/FORMAT-directories.md specifies them.
//
// A directory's blocks are a B+-tree of entries in the order of their cookies.
// Block 0 is the root; leaves hold entries; blocks that the tree has given up are chained.
// user_word(0) of the inode: the parent directory's inode number.  user_word(1): the first free
// block, 0: none.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/result.h"
#include "base/siphash.h"
#include "wafl/types.h"

namespace duet::wafl {

inline constexpr int kDirectoryParentWord = 0;
inline constexpr int kDirectoryFreeWord = 1;

inline constexpr std::uint32_t kDirectoryMagic = 0x3152'4944;  // "DIR1"

enum class DirectoryBlockKind : std::uint8_t { kLeaf = 1, kInterior = 2, kFree = 3 };

struct DirectoryBlockHeader {
  std::uint32_t magic = kDirectoryMagic;
  std::uint8_t kind = 0;          // DirectoryBlockKind
  std::uint8_t level = 0;         // steps down to the leaves; 0: a leaf
  std::uint16_t count = 0;        // entries of a leaf, children of an interior node
  std::uint16_t heap_offset = 0;  // leaf: where the records begin; they go to the block's end
  std::uint16_t reserved0 = 0;
  std::uint32_t reserved1 = 0;
  std::uint64_t next_free = 0;  // free block: the next one; 0: the last
  std::uint64_t reserved2 = 0;
};
static_assert(sizeof(DirectoryBlockHeader) == 32);
static_assert(std::has_unique_object_representations_v<DirectoryBlockHeader>, "no padding");

// Interior nodes: `count` of these behind the header.  Child i holds the cookies from its
// first_cookie up to the next child's; the first child's is 0: it takes all that come before.
struct DirectoryChild {
  std::uint64_t first_cookie = 0;
  std::uint64_t block = 0;  // index within the directory
};
static_assert(sizeof(DirectoryChild) == 16);

// Leaves: behind the header `count` 16-bit offsets of records, in the order of their cookies;
// from heap_offset to the end of the block the records, in any order, without gaps:
//   0 cookie (64 bits)   8 inode (64)   16 type (8)   17 bytes of the name (8)   18 the name
inline constexpr std::size_t kDirectoryRecordBytes = 18;  // without its name

inline constexpr std::size_t kDirectoryChildrenMax =
    (kBlockBytes - sizeof(DirectoryBlockHeader)) / sizeof(DirectoryChild);
// 254^8 entries: no directory gets there.
inline constexpr std::uint32_t kDirectoryLevelsMax = 8;
static_assert((kBlockBytes - sizeof(DirectoryBlockHeader)) /
                  (kDirectoryRecordBytes + kNameBytesMax + sizeof(std::uint16_t)) >=
              14);

// A cookie is 53 bits of the name's hash, then 10 that tell apart names of one hash.
// The lowest are not names': 0 is the start, 1 ".", 2 "..".
inline constexpr std::uint32_t kCookieTieBits = 10;
inline constexpr std::uint64_t kCookieTies = std::uint64_t{1} << kCookieTieBits;
inline constexpr std::uint64_t kCookieFirst = 3;
inline constexpr std::uint64_t kCookieEnd = std::uint64_t{1} << 63U;

// What all cookies of this name have in common: the tie bits are zero.
[[nodiscard]] inline std::uint64_t directory_cookie_base(const SipKey& key, std::string_view name) {
  const std::uint64_t hash = siphash24(key, std::as_bytes(std::span(name)));
  return (hash >> 1U) & ~(kCookieTies - 1);
}

struct DirectoryRecord {
  std::uint64_t cookie = 0;
  std::uint64_t inode = 0;
  std::uint8_t type = 0;  // FileType
  std::string_view name;  // views the block
};

// Whether `block` can be a block of a directory: everything that can be seen without its
// neighbours.  Takes any bytes.  Error: kCorrupt.
Status check_directory_block(ConstBytes block);

// Entry `i` of a leaf.  Takes any bytes.  Error: kCorrupt.
Result<DirectoryRecord> directory_record(ConstBytes leaf, std::uint32_t i);

// Child `i` of an interior node.
// REQUIRES: i < kDirectoryChildrenMax.
[[nodiscard]] inline DirectoryChild directory_child(ConstBytes node, std::uint32_t i) {
  return load<DirectoryChild>(node, sizeof(DirectoryBlockHeader) + i * sizeof(DirectoryChild));
}

}  // namespace duet::wafl
