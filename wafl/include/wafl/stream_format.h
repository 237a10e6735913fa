// The bytes of a stream that carries a snapshot, or what changed between two, as
// wafl/FORMAT-stream.md specifies them.
//
// Little-endian, no padding, reserved fields zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"

namespace duet::wafl {

inline constexpr std::uint64_t kStreamMagic = 0x31'444E'4553'5544;  // "DUSEND1"
inline constexpr std::uint32_t kStreamVersion = 1;
inline constexpr std::size_t kStreamBlocksMax = 32;  // of one frame
inline constexpr std::uint64_t kStreamNoCut = ~std::uint64_t{0};

// The first bytes of a stream.
struct StreamHeader {
  std::uint64_t magic = kStreamMagic;
  std::uint32_t version = kStreamVersion;
  std::uint32_t incremental = 0;  // 1: it goes onto `base`; 0: into a new volume
  SnapshotIdentity snapshot;      // what is carried
  SnapshotIdentity base;          // all zero when it is not incremental
  std::int64_t created_ns = 0;    // of the snapshot
  std::uint64_t inodes_used = 0;  // when it is complete
  std::uint32_t name_bytes = 0;   // of the snapshot
  std::uint32_t reserved0 = 0;
  std::array<char, 256> name{};
  std::array<std::uint64_t, 16> reserved{};
  std::uint32_t reserved1 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of this structure with this field zero
};
static_assert(sizeof(StreamHeader) == 496);
static_assert(std::has_unique_object_representations_v<StreamHeader>, "no implicit padding");

// In this order: all removals; inodes, each with its blocks, and those that are free, by number;
// all entries; one end.
enum class FrameType : std::uint32_t {
  kRemoval = 1,  // FrameName: a name that is gone
  kFree,         // FrameFree: an inode that is gone
  kInode,        // FrameInode and a symbolic link's target
  kBlocks,       // FrameBlocks and 1 .. kStreamBlocksMax blocks of a regular file
  kEntry,        // FrameName: a name that is new
  kEnd,          // FrameEnd
};

struct FrameHeader {
  std::uint32_t type = 0;        // FrameType
  std::uint32_t body_bytes = 0;  // behind this header
  std::uint32_t number = 0;      // from 1, without gaps
  std::uint32_t checksum = 0;    // CRC-32C of this header with this field zero, and the body
};
static_assert(sizeof(FrameHeader) == 16);

struct FrameName {
  std::uint64_t directory = 0;
  std::uint64_t inode = 0;
  std::uint8_t type = 0;  // FileType, of the inode
  std::uint8_t name_bytes = 0;
  std::uint16_t reserved0 = 0;
  std::uint32_t reserved1 = 0;
};
static_assert(sizeof(FrameName) == 24);

struct FrameFree {
  std::uint64_t inode = 0;
};

struct FrameInode {
  std::uint64_t inode = 0;
  std::uint32_t generation = 0;
  std::uint8_t type = 0;  // FileType
  std::uint8_t reserved0 = 0;
  std::uint16_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size_bytes = 0;   // of a regular file or symbolic link
  std::uint64_t used_blocks = 0;  // of a regular file, when its blocks have come
  std::int64_t atime_ns = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::uint64_t cut_blocks = kStreamNoCut;  // the file's blocks from here on are gone
  std::uint32_t target_bytes = 0;
  std::uint32_t reserved1 = 0;
};
static_assert(sizeof(FrameInode) == 88);
static_assert(std::has_unique_object_representations_v<FrameInode>, "no implicit padding");

struct FrameBlocks {
  std::uint64_t inode = 0;
  std::uint64_t first = 0;  // index within the file
};
static_assert(sizeof(FrameBlocks) == 16);

struct FrameEnd {
  std::uint64_t frames = 0;  // before this one
};

inline constexpr std::size_t kFrameBodyMax =
    sizeof(FrameBlocks) + kStreamBlocksMax * kBlockBytes;  // 131,088
static_assert(kFrameBodyMax >= sizeof(FrameInode) + kSymlinkBytesMax);

}  // namespace duet::wafl
