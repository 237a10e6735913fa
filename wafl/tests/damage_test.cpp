// Damaged metadata: it costs what it described, never a CP (which would fail again at each start).

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "files.h"
#include "wafl/attempt.h"
#include "wafl/tree_format.h"
#include "world.h"

namespace duet::wafl {
namespace {

using testing::Files;
using testing::World;

constexpr std::uint64_t kDiskBlocks = 65'536;
constexpr std::uint64_t kBlocks = 2 * kDiskBlocks;

ConstBytes content(World& world, std::uint64_t block) {
  return world.devices[block / kDiskBlocks]->content(block % kDiskBlocks);
}

bool leads_to(World& world, const BlockPointer& pointer) {
  return !pointer.hole() && pointer.block() < kBlocks &&
         crc32c(content(world, pointer.block())) == pointer.checksum;
}

// Blocks of 256 pointers to blocks that all begin with `letter`: of a file's level 1.
std::vector<std::uint64_t> parents_of(World& world, char letter) {
  std::vector<std::uint64_t> found;
  for (std::uint64_t block = 256; block < kBlocks; ++block) {
    bool all = true;
    for (std::size_t slot = 0; slot < 256 && all; slot += 51) {
      const auto child = load<BlockPointer>(content(world, block), slot * sizeof(BlockPointer));
      all = leads_to(world, child) &&
            content(world, child.block())[0] == static_cast<std::byte>(letter);
    }
    if (all) {
      found.push_back(block);
    }
  }
  return found;
}

void damage(World& world, std::uint64_t block) {
  world.devices[block / kDiskBlocks]->content(block % kDiskBlocks)[100] ^= std::byte{1};
}

// A file of `mib` MiB of `letter`, in a CP, with nothing of it in memory.
void make_file(World& world, const std::string& name, int mib, char letter) {
  Files files(world, "vol0");
  for (int i = 0; i < mib; ++i) {
    ASSERT_TRUE(files.put(name, std::uint64_t(i) << 20U, std::string(1U << 20U, letter)).ok());
  }
  world.cp();
  world.reopen();
}

std::uint64_t free_blocks(World& world) { return world.aggregate->root().free_blocks; }

TEST(Damage, OfARemovedFilesIndirectBlockCostsOnlySpace) {
  World world;
  make_file(world, "file", 3, 'x');
  const std::vector<std::uint64_t> parents = parents_of(world, 'x');
  ASSERT_EQ(parents.size(), 3U);
  damage(world, parents[1]);
  Files files(world, "vol0");
  const std::uint64_t before = free_blocks(world);
  ASSERT_TRUE(files.erase("file").ok());
  for (int i = 0; i < 3; ++i) {
    world.cp();
  }
  EXPECT_EQ(world.aggregate->cp_statistics().leaked_subtrees, 1U);
  EXPECT_GE(free_blocks(world), before + 2 * 256);  // the two that can be read
  EXPECT_LT(free_blocks(world), before + 3 * 256);
  world.reopen();
  EXPECT_FALSE(world.aggregate->dirty());
}

TEST(Damage, OfASmallRemovedFilesIndirectBlockCostsOnlySpace) {
  World world;
  make_file(world, "file", 1, 'x');  // one level: taken apart at once
  const std::vector<std::uint64_t> parents = parents_of(world, 'x');
  ASSERT_EQ(parents.size(), 1U);
  damage(world, parents[0]);
  ASSERT_TRUE(Files(world, "vol0").erase("file").ok());
  world.cp();
  EXPECT_EQ(world.aggregate->cp_statistics().leaked_subtrees, 1U);
  world.reopen();
}

TEST(Damage, OfAWrittenFilesIndirectBlockLosesItsBlocksAndNotTheCp) {
  World world;
  make_file(world, "file", 3, 'x');
  const std::vector<std::uint64_t> parents = parents_of(world, 'x');
  ASSERT_EQ(parents.size(), 3U);
  damage(world, parents[2]);
  Files files(world, "vol0");
  const std::uint64_t last = 2U << 20U;
  // Whole blocks of a file without holes: nothing of the tree is looked at before the CP.
  ASSERT_TRUE(files.put("file", last + 8192, std::string(4096, 'n')).ok());
  ASSERT_TRUE(files.put("file", 3U << 20U, std::string(4096, 'n')).ok());
  world.cp();
  EXPECT_EQ(world.aggregate->cp_statistics().lost_subtrees, 1U);
  world.reopen();
  const auto read_at = [&](std::uint64_t offset) {
    return world.attempt([&](Attempt& attempt) -> Result<ReadResult> {
      Result<InodeRef> root = files.volume().find_inode(attempt, kLive, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      Result<Entry> entry = lookup(attempt, *root.value(), "file");
      if (!entry.ok()) {
        return entry.error();
      }
      Result<InodeRef> inode = files.volume().find_inode(attempt, kLive, entry.value().inode);
      if (!inode.ok()) {
        return inode.error();
      }
      return read(attempt, *inode.value(), offset, 1);
    });
  };
  for (const std::uint64_t offset : {std::uint64_t{0}, last - 1, last + 8192, last + (1U << 20U)}) {
    const Result<ReadResult> got = read_at(offset);
    ASSERT_TRUE(got.ok()) << offset;
    ASSERT_EQ(got.value().extents.size(), 1U) << offset;
    const Extent& extent = got.value().extents.front();
    EXPECT_EQ(extent.buffer.bytes()[extent.offset],
              static_cast<std::byte>(offset < last ? 'x' : 'n'));
  }
  for (const std::uint64_t offset : {last, last + 4096, last + 12'288, last + (1U << 20U) - 1}) {
    const Result<ReadResult> got = read_at(offset);
    EXPECT_FALSE(got.ok()) << offset;  // not zeros
  }
  // A cut inside it, and the end of it all.
  ASSERT_TRUE(files.truncate("file", last + 16'384).ok());
  world.cp();
  EXPECT_FALSE(read_at(last + 12'288).ok());
  ASSERT_TRUE(files.truncate("file", 3U << 20U).ok());
  world.cp();
  EXPECT_TRUE(read_at(last + 16'384).ok());
  ASSERT_TRUE(files.erase("file").ok());
  world.cp();
  world.cp();
  world.reopen();
  EXPECT_EQ(world.aggregate->cp_statistics().lost_subtrees, 0U);
  EXPECT_FALSE(world.aggregate->dirty());
}

TEST(Damage, OfACutFilesIndirectBlockDoesNotFailTheCp) {
  World world;
  make_file(world, "file", 3, 'x');
  const std::vector<std::uint64_t> parents = parents_of(world, 'x');
  ASSERT_EQ(parents.size(), 3U);
  damage(world, parents[1]);
  Files files(world, "vol0");
  ASSERT_TRUE(files.truncate("file", (1U << 20U) + 8192).ok());
  world.cp();
  EXPECT_EQ(world.aggregate->cp_statistics().lost_subtrees, 1U);
  world.reopen();
  ASSERT_TRUE(files.truncate("file", 1U << 20U).ok());
  world.cp();
  EXPECT_EQ(files.get(kLive, "file"), std::string(1U << 20U, 'x'));
}

void turn_reads(World& world, std::uint64_t block, int reads) {
  world.devices[block / kDiskBlocks]->turned_reads[block % kDiskBlocks] = reads;
}

// What a CP gives up it gives up for good: not for a path that turns a few bits.
TEST(DamageThatPasses, OfARemovedFilesIndirectBlockCostsNothing) {
  World world;
  make_file(world, "file", 3, 'x');
  const std::vector<std::uint64_t> parents = parents_of(world, 'x');
  ASSERT_EQ(parents.size(), 3U);
  turn_reads(world, parents[1], 4);
  const std::uint64_t before = free_blocks(world);
  ASSERT_TRUE(Files(world, "vol0").erase("file").ok());
  for (int i = 0; i < 3; ++i) {
    world.cp();
  }
  EXPECT_EQ(world.aggregate->cp_statistics().leaked_subtrees, 0U);
  EXPECT_GE(free_blocks(world), before + 3 * 256);
}

TEST(DamageThatPasses, OfAWrittenFilesIndirectBlockLosesNothing) {
  World world;
  make_file(world, "file", 3, 'x');
  const std::vector<std::uint64_t> parents = parents_of(world, 'x');
  ASSERT_EQ(parents.size(), 3U);
  turn_reads(world, parents[2], 4);
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("file", (2U << 20U) + 8192, std::string(4096, 'n')).ok());
  world.cp();
  EXPECT_EQ(world.aggregate->cp_statistics().lost_subtrees, 0U);
  world.reopen();
  std::string expected(3U << 20U, 'x');
  expected.replace((2U << 20U) + 8192, 4096, std::string(4096, 'n'));
  EXPECT_EQ(files.get(kLive, "file"), expected);
}

TEST(DamageThatPasses, OfTheBlockMapDoesNotFailTheCp) {
  World world;
  make_file(world, "file", 1, 'x');
  ASSERT_TRUE(Files(world, "vol0").put("file", 8192, std::string(4096, 'n')).ok());
  turn_reads(world, world.aggregate->root().block_map.pointer.block(), 4);
  world.cp();
}

TEST(Attempt, StartsNoReadWhenAPointerLeadsBehindTheEnd) {
  World world;
  Attempt attempt(*world.aggregate);
  (void)attempt.miss(BlockPointer{300, 1, 1});
  (void)attempt.miss(BlockPointer{kBlocks, 1, 1});
  const std::uint64_t before = world.devices[0]->reads;
  const Status loaded = world.run(attempt.load());
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, Errc::kCorrupt);
  EXPECT_EQ(world.devices[0]->reads, before);
}

}  // namespace
}  // namespace duet::wafl
