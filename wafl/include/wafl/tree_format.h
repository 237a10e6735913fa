// The bytes of pointers, inodes, datasets and the root, as wafl/FORMAT.md specifies them.
//
// Written to disk as they stand: little-endian, no padding, reserved fields zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"

namespace duet::wafl {

inline constexpr std::uint32_t kFanOut = 256;   // pointers per indirect block
inline constexpr std::uint32_t kHeightMax = 6;  // 256^6 blocks: 2^60 bytes
inline constexpr std::uint32_t kInodesPerBlock = 32;
inline constexpr std::uint64_t kReservedBlocks = 256;  // at the start of every disk
inline constexpr std::uint64_t kLabelBlock = 0;        // within a disk
inline constexpr std::uint64_t kRootBlockA = 1;        // of the first disk
inline constexpr std::uint64_t kRootBlockB = 2;        // of the second disk, or of the only one
inline constexpr std::uint64_t kAreaBlocks = 32'768;   // bits in one block of the block map
inline constexpr std::uint32_t kDisksMax = 64;

// Where a block is, when it was born and what it holds.  All zero: a hole.
struct BlockPointer {
  std::uint64_t word = 0;      // bits 0-47: block number in the aggregate; 48-63: flags, zero
  std::uint32_t birth = 0;     // the CP that wrote it
  std::uint32_t checksum = 0;  // CRC-32C of its 4096 bytes

  [[nodiscard]] std::uint64_t block() const { return word & 0xFFFF'FFFF'FFFFU; }
  [[nodiscard]] bool hole() const { return word == 0; }
  friend constexpr bool operator==(const BlockPointer&, const BlockPointer&) = default;
};
static_assert(sizeof(BlockPointer) == 16);

// A tree of blocks; all leaves are `height` steps below the pointer.
// Height 0: the pointer is block 0 of the file itself.
struct TreeRoot {
  BlockPointer pointer;
  std::uint32_t height = 0;
  std::uint32_t reserved0 = 0;
  std::uint64_t reserved1 = 0;
  friend constexpr bool operator==(const TreeRoot&, const TreeRoot&) = default;
};
static_assert(sizeof(TreeRoot) == 32);

struct DiskInode {
  std::uint8_t type = 0;  // FileType; 0: free (generation still counts)
  std::uint8_t reserved0 = 0;
  std::uint16_t mode = 0;
  std::uint32_t links = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t used_blocks = 0;
  std::int64_t atime_ns = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint32_t generation = 0;
  std::uint32_t reserved1 = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::array<std::uint64_t, 2> user_words{};
  TreeRoot tree;
  std::uint64_t reserved2 = 0;
};
static_assert(sizeof(DiskInode) == 128);
static_assert(offsetof(DiskInode, tree) == 88);
static_assert(std::is_trivially_copyable_v<DiskInode>);
static_assert(std::has_unique_object_representations_v<DiskInode>, "no implicit padding");

enum DatasetState : std::uint32_t {
  kDatasetFree = 0,
  kDatasetLive = 1,
  kDatasetSnapshot = 2,
  kDatasetDying = 3,  // a destroyed volume: only its zombies are left
};

using Uuid = std::array<std::uint64_t, 2>;

// Names a snapshot wherever it is: where it was made.  All zero: none.
struct SnapshotIdentity {
  Uuid aggregate{};
  std::uint32_t volume = 0;
  std::uint32_t snapshot = 0;
  std::uint32_t cp = 0;
  std::uint32_t reserved0 = 0;
  friend constexpr bool operator==(const SnapshotIdentity&, const SnapshotIdentity&) = default;
};
static_assert(sizeof(SnapshotIdentity) == 32);

// A volume's live tree, or one of its snapshots.  Four to a block of the dataset file.
struct DiskDataset {
  std::uint32_t state = 0;  // DatasetState
  std::uint32_t volume = 0;
  std::uint32_t snapshot = 0;  // 0: the live tree
  std::uint32_t cp = 0;        // of a snapshot: the CP it is an image of
  std::int64_t created_ns = 0;
  std::uint64_t limit_blocks = 0;  // live: the size limit; 0: none
  std::uint64_t used_blocks = 0;   // live: everything the volume holds, snapshots included
  std::uint64_t inodes_used = 0;
  std::uint64_t inode_slots = 0;  // inode numbers below this may be in use
  std::uint64_t fsid = 0;
  std::uint32_t next_snapshot = 0;  // live: the next SnapshotId
  std::uint32_t name_bytes = 0;
  std::array<char, 256> name{};
  TreeRoot inode_file;  // DiskInodes, 32 to a block
  TreeRoot inode_map;   // one bit per inode number: in use
  TreeRoot dead_list;   // BlockPointers: died after the snapshot before this dataset
  TreeRoot zombies;     // ZombieEntry: trees cut off and not yet freed
  std::uint64_t dead_entries = 0;
  std::uint64_t zombie_entries = 0;
  std::uint64_t dead_blocks = 0;  // blocks named by the dead list
  // Live: a restore takes inodes back to older generations; none may be given twice.
  std::uint32_t generation_highest = 0;  // ever given in this volume
  std::uint32_t generation_floor = 0;    // new ones are above it
  // Live: the snapshot that the volume is a clone of; all zero: it is none.
  std::uint32_t origin_volume = 0;
  std::uint32_t origin_snapshot = 0;
  std::uint32_t origin_cp = 0;  // of the snapshot: blocks born up to it are the origin's
  std::uint32_t receiving = 0;  // live: 1: the tree is being made from a stream, and not whole
  SnapshotIdentity received;    // snapshot: that of the one it was received as; else zero
  std::array<std::uint64_t, 61> reserved{};
};
static_assert(sizeof(DiskDataset) == 1024);
static_assert(offsetof(DiskDataset, origin_volume) == 488);
static_assert(std::has_unique_object_representations_v<DiskDataset>, "no implicit padding");

// A subtree that no inode points to any more.
struct ZombieEntry {
  BlockPointer pointer;
  std::uint32_t height = 0;      // of the subtree: 0 is a data block
  std::uint32_t kind = 0;        // 0: a file's blocks; 1: an inode file, whose inodes' trees go too
  std::uint64_t keep_birth = 0;  // blocks born up to this CP live on elsewhere (restore, clone)
};
static_assert(sizeof(ZombieEntry) == 32);

// One per block of the aggregate: who holds it.  All zero: nobody, ever.
struct OwnerEntry {
  std::uint64_t inode = 0;   // 0: a tree of the dataset or of the aggregate itself; see `tree`
  std::uint64_t offset = 0;  // index of the first leaf below it, in blocks of its file
  std::uint32_t volume = 0;
  std::uint32_t birth = 0;
  std::uint8_t level = 0;  // 0: a leaf
  std::uint8_t tree = 0;   // TreeKind
  std::uint16_t reserved0 = 0;
  std::uint32_t reserved1 = 0;
};
static_assert(sizeof(OwnerEntry) == 32);

enum class TreeKind : std::uint8_t {
  kNone = 0,
  kFile,       // an inode's
  kInodeFile,  // of a volume
  kInodeMap,
  kDeadList,
  kZombies,
  kDatasets,  // of the aggregate
  kBlockMap,
  kOwnerMap,
  kAreaMap,
};

// One per area: for the allocator, which looks for room without reading the block map.
struct AreaEntry {
  std::uint32_t free_blocks = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(AreaEntry) == 8);

inline constexpr std::uint64_t kRootMagic = 0x31'544F'4F52'5544;   // "DUROOT1"
inline constexpr std::uint64_t kLabelMagic = 0x31'4B53'4944'5544;  // "DUDISK1"
inline constexpr std::uint32_t kFormatVersion = 1;

// Block kLabelBlock of every disk.
struct DiskLabel {
  std::uint64_t magic = kLabelMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t index = 0;  // in the root's disk table
  Uuid aggregate{};
  Uuid disk{};
  std::uint64_t block_count = 0;
  std::array<char, 64> filer_name{};  // who formatted it, for messages
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of this structure with this field zero
};
static_assert(sizeof(DiskLabel) == 128);
static_assert(std::has_unique_object_representations_v<DiskLabel>, "no implicit padding");

struct DiskTableEntry {
  Uuid disk{};
  std::uint64_t block_count = 0;
};

enum RootFlags : std::uint32_t {
  kRootLogEmpty = 1,  // nothing was logged after `last_sequence`: a blank memory is no loss
};

// Bits of DiskRoot::readonly_compatible.
enum RootFeatures : std::uint64_t {
  // There are clones: a build that does not know them would free what their origins hold.
  kFeatureClones = 1,
  // A volume is being received: a build that does not know it would show a tree that is not whole.
  kFeatureReceiving = 2,
};
// Bits of DiskRoot::compatible.
enum RootHints : std::uint64_t {
  kHintReceived = 1,  // there may be snapshots that were received
};
inline constexpr std::uint64_t kReadonlyCompatibleKnown = kFeatureClones | kFeatureReceiving;

// The root (fsinfo): blocks kRootBlockA and kRootBlockB.
struct DiskRoot {
  std::uint64_t magic = kRootMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t flags = 0;                // RootFlags
  std::uint64_t compatible = 0;           // features that an older build may ignore
  std::uint64_t readonly_compatible = 0;  // ... may ignore while it only reads
  std::uint64_t incompatible = 0;         // ... must know
  Uuid pair{};
  Uuid aggregate{};
  std::uint32_t filer = 0;  // 0: filer a's home is node a; 1: b's
  std::uint32_t cp = 0;
  std::uint64_t epoch = 0;
  std::uint64_t log_id = 0;
  std::uint64_t last_sequence = 0;      // every logged request up to this one is in this image
  std::uint64_t mirror_generation = 0;  // of the partner's copy of the log
  std::uint64_t membership_generation = 0;
  std::int64_t written_ns = 0;
  std::uint64_t block_count = 0;  // of the aggregate: all disks, reserved blocks included
  std::uint64_t free_blocks = 0;
  std::uint64_t dataset_slots = 0;
  std::uint32_t next_volume = 0;
  std::uint32_t disk_count = 0;
  TreeRoot datasets;
  TreeRoot block_map;
  TreeRoot owner_map;
  TreeRoot area_map;
  std::array<std::uint64_t, 2> handle_key{};     // keys the MAC of file handles
  std::array<std::uint64_t, 2> directory_key{};  // keys the hash of names
  std::array<char, 64> filer_name{};
  std::array<DiskTableEntry, kDisksMax> disks{};
  std::array<std::uint64_t, 271> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of this structure with this field zero
};
static_assert(sizeof(DiskRoot) == kBlockBytes);
static_assert(std::has_unique_object_representations_v<DiskRoot>, "no implicit padding");

}  // namespace duet::wafl
