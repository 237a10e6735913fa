// ImageBuilder: aggregates made by hand, as the format says, to be right or wrong on purpose.
//
// It keeps snapshots, dead lists and zombies by the rules of tree_format.h, in the simplest way
// that can be read: everything in memory, whole trees rewritten.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "platform/block_device.h"
#include "platform/scheduler.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"
#include "wafl_check/check.h"

namespace duet::wafl::testing {

using Content = std::vector<std::byte>;  // 4096 bytes

class BuiltDisk final : public BlockDevice {
 public:
  BuiltDisk(Scheduler& scheduler, std::uint64_t blocks);
  [[nodiscard]] std::uint64_t block_count() const override { return bytes_.size() / kBlockBytes; }
  [[nodiscard]] std::string_view name() const override { return "disk"; }
  void start(BlockOperation& operation) override;
  MutableBytes block(std::uint64_t number) {
    return MutableBytes(bytes_).subspan(number * kBlockBytes, kBlockBytes);
  }
  std::set<std::uint64_t> unreadable;

 private:
  Scheduler& scheduler_;
  std::vector<std::byte> bytes_;
};

// A tree and where its blocks are.
struct TestTree {
  TreeRoot root;
  std::map<std::uint64_t, BlockPointer> leaves;
  std::vector<BlockPointer> interior;
};

class ImageBuilder {
 public:
  explicit ImageBuilder(Scheduler& scheduler, std::vector<std::uint64_t> disk_blocks = {2048});

  // Where a block goes; the mutation hook may change its bytes before they are summed.
  BlockPointer write(const OwnerEntry& owner, Content content);
  // Writes the blocks above the leaves, one height or more.
  void write_interior(TestTree& tree, OwnerEntry owner);
  void release(const BlockPointer& pointer) { allocated.erase(pointer.block()); }
  // Datasets, maps, roots, labels.
  void finish();
  CheckReport check(CheckOptions options = {});

  static OwnerEntry owner(TreeKind kind, std::uint32_t volume, std::uint64_t inode = 0);
  MutableBytes raw(std::uint64_t block);

  Scheduler& scheduler;
  std::vector<std::unique_ptr<BuiltDisk>> disks;
  DiskRoot root;
  std::uint32_t cp = 1;
  std::vector<DiskDataset> datasets;
  std::set<std::uint64_t> allocated;  // without the reserved ones
  std::map<std::uint64_t, OwnerEntry> owners;

  // Lies for finish().
  std::function<void(std::uint64_t nth, Content&)> mutate;
  std::set<std::uint64_t> flip_bits;  // of the block map
  std::uint32_t area_lie = 0;
  std::function<void(DiskLabel&)> label_lie;
  std::function<void(DiskRoot&)> root_lie;

 private:
  std::uint64_t next_ = kReservedBlocks;
  std::uint64_t writes_ = 0;
};

struct Name {
  std::string name;
  std::uint64_t inode;
  FileType type;
};

// A volume that is changed, committed, and snapshotted.
class TestVolume {
 public:
  TestVolume(ImageBuilder& builder, std::uint32_t id);

  DiskInode& inode(std::uint64_t number) { return inodes[number]; }
  // A new or emptied file; the inode's fields follow.
  DiskInode& put(std::uint64_t number, FileType type);
  void put_block(std::uint64_t number, std::uint64_t index, std::string_view text);
  void put_directory(std::uint64_t number, std::uint64_t parent, const std::vector<Name>& names);
  void drop_block(std::uint64_t number, std::uint64_t index);
  void remove(std::uint64_t number);
  // Cuts the file's whole tree off as a zombie.
  void remove_as_zombie(std::uint64_t number);

  // The newest snapshot's trees are the live ones again; what was live is up to the caller.
  void restore(const std::map<std::uint64_t, DiskInode>& old_inodes,
               const std::map<std::uint64_t, TestTree>& old_files);

  // One CP: writes inodes, map, lists.
  void commit();
  // The same, and the volume as it is now becomes a snapshot.
  void snapshot();
  // A volume that begins as the newest snapshot of `origin`.
  TestVolume(ImageBuilder& builder, std::uint32_t id, const TestVolume& origin);

  // Hands all records over.
  void deliver();

  std::map<std::uint64_t, DiskInode> inodes;
  std::map<std::uint64_t, TestTree> files;
  DiskDataset live;
  std::vector<DiskDataset> snapshots;
  std::vector<BlockPointer> dead;
  std::vector<ZombieEntry> zombies;
  std::set<std::uint64_t> map_lie;  // inode numbers whose bit is wrong
  std::int64_t used_lie = 0;

 private:
  void dispose(const BlockPointer& pointer);
  void dispose_interior(TestTree& tree);
  void write_leaves(TestTree& tree, const OwnerEntry& owner,
                    const std::map<std::uint64_t, Content>& leaves);
  void write_inode_blocks();
  void write_inode_map();
  void write_lists();

  ImageBuilder& builder_;
  TestTree inode_file_;
  TestTree inode_map_;
  TestTree dead_list_;
  TestTree zombie_list_;
  std::map<std::uint64_t, Content> inode_blocks_;  // as last written
  // The newest snapshot's.
  TestTree snapshot_inode_file_;
  TestTree snapshot_inode_map_;
  std::map<std::uint64_t, Content> snapshot_inode_blocks_;
};

// A volume with a bit of everything; committed once.
void fill_example(TestVolume& volume);
// How many problems of this kind.
std::size_t count_of(const CheckReport& report, ProblemKind kind);
std::string describe(const CheckReport& report);

}  // namespace duet::wafl::testing
