// Each kind of damage is found, and nothing that is on the disks stops the check.

#include <gtest/gtest.h>

#include <cstring>

#include "image_builder.h"
#include "sim/random.h"
#include "sim/sim_scheduler.h"
#include "wafl/directory_format.h"

namespace duet::wafl::testing {
namespace {

using Kind = ProblemKind;

class CheckDamage : public ::testing::Test {
 protected:
  CheckDamage() { fill_example(volume_); }
  CheckReport finish() {
    volume_.commit();
    volume_.deliver();
    builder_.finish();
    return builder_.check();
  }
  // After finish(): the pointer's block gets other bytes, checksum and all that leads there as
  // before.
  void flip(std::uint64_t block) { builder_.raw(block)[100] ^= std::byte{4}; }

  sim::SimScheduler scheduler_{1};
  ImageBuilder builder_{scheduler_};
  TestVolume volume_{builder_, 1};
};

TEST_F(CheckDamage, NoDamageIsNoProblem) {
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

// --- Blocks.

TEST_F(CheckDamage, AFlippedBitInAnyReachedBlockIsFound) {
  ASSERT_TRUE(finish().clean());
  for (const std::uint64_t block : builder_.allocated) {
    flip(block);
    const CheckReport report = builder_.check();
    EXPECT_GT(count_of(report, Kind::kChecksum), 0U) << block << "\n" << describe(report);
    flip(block);
  }
  EXPECT_TRUE(builder_.check().clean());
}

TEST_F(CheckDamage, ABlockThatTheDiskCannotReadIsFound) {
  ASSERT_TRUE(finish().clean());
  builder_.disks[0]->unreadable.insert(volume_.files[3].leaves[1].block());
  EXPECT_EQ(count_of(builder_.check(), Kind::kUnreadable), 1U);
}

TEST_F(CheckDamage, ALeakIsFound) {
  builder_.flip_bits = {1500, 1501, 1502};
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, Kind::kLeak), 1U) << describe(report);  // one run
  EXPECT_EQ(report.problem_count, 1U);
}

TEST_F(CheckDamage, AReachedBlockThatTheMapCallsFreeIsFound) {
  builder_.flip_bits = {volume_.files[3].leaves[0].block()};
  EXPECT_EQ(count_of(finish(), Kind::kNotAllocated), 1U);
}

TEST_F(CheckDamage, AReservedBlockThatTheMapCallsFreeIsFound) {
  builder_.flip_bits = {0, 255};
  EXPECT_EQ(count_of(finish(), Kind::kNotAllocated), 2U);
}

TEST_F(CheckDamage, ABlockBehindTheEndThatTheMapCallsFreeIsFound) {
  builder_.flip_bits = {2048};
  EXPECT_EQ(count_of(finish(), Kind::kNotAllocated), 1U);
}

TEST_F(CheckDamage, AWrongCountInTheAreaMapIsFound) {
  builder_.area_lie = 1;
  EXPECT_EQ(count_of(finish(), Kind::kFreeCount), 1U);
}

TEST_F(CheckDamage, AWrongCountInTheRootIsFound) {
  builder_.root_lie = [](DiskRoot& root) { ++root.free_blocks; };
  EXPECT_EQ(count_of(finish(), Kind::kFreeCount), 1U);
}

TEST_F(CheckDamage, AnOwnerEntryOfAnotherPlaceIsFound) {
  builder_.owners[volume_.files[3].leaves[1].block()].offset = 7;
  EXPECT_EQ(count_of(finish(), Kind::kOwner), 1U);
}

TEST_F(CheckDamage, ABlockUsedByTwoFilesIsFound) {
  volume_.put(41, FileType::kRegular);
  volume_.inode(41).tree.pointer = volume_.files[3].leaves[0];
  volume_.inode(41).size_bytes = 5;
  volume_.inode(41).used_blocks = 1;
  EXPECT_EQ(count_of(finish(), Kind::kDoubleUse), 1U);
}

TEST_F(CheckDamage, APointerOutOfTheAggregateIsFound) {
  volume_.inode(4).tree.pointer.word = 1'000'000;
  EXPECT_EQ(count_of(finish(), Kind::kPointer), 1U);
}

TEST_F(CheckDamage, APointerToAReservedBlockIsFound) {
  volume_.inode(4).tree.pointer.word = 1;
  EXPECT_EQ(count_of(finish(), Kind::kPointer), 1U);
}

TEST_F(CheckDamage, APointerWithFlagsIsFound) {
  volume_.inode(4).tree.pointer.word |= std::uint64_t{1} << 50U;
  EXPECT_EQ(count_of(finish(), Kind::kPointer), 1U);
}

TEST_F(CheckDamage, ATreeThatIsTooHighIsFound) {
  volume_.inode(4).tree.height = kHeightMax + 1;
  EXPECT_EQ(count_of(finish(), Kind::kPointer), 1U);
}

TEST_F(CheckDamage, ABlockYoungerThanItsParentIsFound) {
  volume_.inode(4).tree.pointer.birth = 9;
  EXPECT_EQ(count_of(finish(), Kind::kBirth), 1U);
}

// --- Inodes.

TEST_F(CheckDamage, WrongSizesAndCountsAreFound) {
  volume_.inode(3).size_bytes = 4000;
  volume_.inode(4).used_blocks = 2;
  EXPECT_EQ(count_of(finish(), Kind::kSize), 2U);
}

TEST_F(CheckDamage, ImpossibleAttributesAreFound) {
  volume_.inode(3).mode = 0xFFFF;
  volume_.inode(4).reserved2 = 1;
  volume_.inode(40).type = 99;
  EXPECT_GE(count_of(finish(), Kind::kInode), 3U);
}

TEST_F(CheckDamage, BlocksWhereTheTypeHasNoneAreFound) {
  volume_.inode(3).type = static_cast<std::uint8_t>(FileType::kSocket);
  EXPECT_EQ(count_of(finish(), Kind::kInode), 1U);
}

TEST_F(CheckDamage, AFreeInodeWithBlocksIsFound) {
  volume_.inode(4).type = 0;
  EXPECT_EQ(count_of(finish(), Kind::kInode), 1U);
}

TEST_F(CheckDamage, AnInodeBehindTheSlotsIsFound) {
  volume_.commit();
  volume_.live.inode_slots = 40;
  volume_.deliver();
  builder_.finish();
  EXPECT_EQ(count_of(builder_.check(), Kind::kInode), 1U);
}

TEST_F(CheckDamage, AnInodeMapThatDisagreesIsFoundBothWays) {
  volume_.map_lie = {4};
  volume_.inode(90).generation = 3;  // free
  volume_.map_lie.insert(90);
  EXPECT_EQ(count_of(finish(), Kind::kInodeMap), 2U);
}

TEST_F(CheckDamage, AWrongCountOfInodesIsFound) {
  volume_.commit();
  ++volume_.live.inodes_used;
  volume_.deliver();
  builder_.finish();
  EXPECT_EQ(count_of(builder_.check(), Kind::kInodeMap), 1U);
}

TEST_F(CheckDamage, BadSymlinksAreFound) {
  volume_.inode(5).size_bytes = 11;  // the target ends in a NUL
  volume_.put(41, FileType::kSymlink);
  EXPECT_EQ(count_of(finish(), Kind::kSymlink), 2U);
}

// --- Names.

TEST_F(CheckDamage, WrongLinkCountsAreFound) {
  volume_.inode(3).links = 1;
  volume_.inode(2).links = 2;
  EXPECT_EQ(count_of(finish(), Kind::kLinks), 2U);
}

TEST_F(CheckDamage, AnOrphanIsFound) {
  volume_.put(41, FileType::kRegular);
  EXPECT_EQ(count_of(finish(), Kind::kOrphan), 1U);
}

TEST_F(CheckDamage, DirectoriesThatHoldOnlyEachOtherAreFound) {
  volume_.put_directory(50, 51, {{"b", 51, FileType::kDirectory}});
  volume_.put_directory(51, 50, {{"a", 50, FileType::kDirectory}});
  EXPECT_EQ(count_of(finish(), Kind::kOrphan), 2U);
}

TEST_F(CheckDamage, ANameOfAFreeInodeIsFound) {
  volume_.put_directory(7, 2, {{"again", 3, FileType::kRegular}, {"gone", 77, FileType::kFifo}});
  EXPECT_EQ(count_of(finish(), Kind::kLinks), 1U);
}

TEST_F(CheckDamage, AWrongParentOrTypeIsFound) {
  volume_.inode(7).user_words[kDirectoryParentWord] = 40;
  volume_.inode(6).type = static_cast<std::uint8_t>(FileType::kSocket);
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, Kind::kDirectory), 2U) << describe(report);
}

TEST_F(CheckDamage, ADirectoryWithTwoNamesIsFound) {
  volume_.put_directory(50, 2, {{"second", 7, FileType::kDirectory}});
  EXPECT_GT(count_of(finish(), Kind::kDirectory), 0U);
}

TEST_F(CheckDamage, AMissingRootDirectoryIsFound) {
  volume_.inode(2).type = static_cast<std::uint8_t>(FileType::kRegular);
  EXPECT_GT(count_of(finish(), Kind::kInode), 0U);
}

// Every byte of a directory block's beginning and of its records matters.
TEST_F(CheckDamage, ADamagedDirectoryBlockIsFound) {
  for (const std::uint64_t offset :
       {0U, 4U, 5U, 6U, 8U, 10U, 12U, 16U, 24U, 32U, 40U, 200U, 4080U, 4090U}) {
    sim::SimScheduler scheduler(1);
    ImageBuilder builder(scheduler);
    builder.mutate = [offset](std::uint64_t, Content& content) {
      if (load<std::uint32_t>(content, 0) == kDirectoryMagic) {
        content[offset] ^= std::byte{0x81};
      }
    };
    TestVolume volume(builder, 1);
    fill_example(volume);
    volume.commit();
    volume.deliver();
    builder.finish();
    EXPECT_FALSE(builder.check().clean()) << offset;
  }
}

TEST_F(CheckDamage, ADirectoryWithAStrayBlockIsFound) {
  volume_.put_block(7, 1, "stray");
  volume_.inode(7).size_bytes = 2 * kBlockBytes;
  EXPECT_EQ(count_of(finish(), Kind::kDirectory), 1U);
}

// --- Records, labels, roots.

TEST_F(CheckDamage, AWrongCountOfAVolumesBlocksIsFound) {
  volume_.used_lie = 1;
  EXPECT_EQ(count_of(finish(), Kind::kVolumeUsed), 1U);
}

TEST_F(CheckDamage, BadDatasetRecordsAreFound) {
  volume_.live.name_bytes = 0;
  EXPECT_EQ(count_of(finish(), Kind::kDataset), 1U);
}

TEST_F(CheckDamage, AVolumeWithTwoLiveTreesIsFound) {
  volume_.deliver();
  EXPECT_GT(count_of(finish(), Kind::kDataset), 0U);
}

TEST_F(CheckDamage, ALabelOfAnotherAggregateIsFound) {
  builder_.label_lie = [](DiskLabel& label) { label.aggregate[0] ^= 1; };
  EXPECT_EQ(count_of(finish(), Kind::kLabel), 1U);
}

TEST_F(CheckDamage, ATableThatDoesNotSumUpIsFound) {
  builder_.root_lie = [](DiskRoot& root) { ++root.block_count; };
  EXPECT_EQ(count_of(finish(), Kind::kRoot), 1U);
}

TEST_F(CheckDamage, AMissingDiskIsFound) {
  builder_.root_lie = [](DiskRoot& root) { ++root.disk_count; };
  EXPECT_EQ(count_of(finish(), Kind::kLabel), 1U);
}

TEST_F(CheckDamage, ATornRootIsANoteAndTheOtherCopyCounts) {
  ASSERT_TRUE(finish().clean());
  builder_.raw(kRootBlockB)[77] ^= std::byte{1};
  const CheckReport report = builder_.check();
  EXPECT_TRUE(report.clean()) << describe(report);
  EXPECT_EQ(report.notes.size(), 1U);
  builder_.raw(kRootBlockA)[77] ^= std::byte{1};
  EXPECT_EQ(count_of(builder_.check(), Kind::kRoot), 1U);
}

TEST_F(CheckDamage, RootsMoreThanOneCpApartAreFound) {
  ASSERT_TRUE(finish().clean());
  DiskRoot older = builder_.root;
  older.cp -= 1;
  for (const bool far : {false, true}) {
    older.cp -= far ? 1 : 0;
    older.checksum = 0;
    older.checksum = crc32c(bytes_of(older));
    store(builder_.raw(kRootBlockB), 0, older);
    const CheckReport report = builder_.check();
    EXPECT_EQ(count_of(report, Kind::kRoot), far ? 1U : 0U);
    EXPECT_EQ(report.notes.size(), far ? 0U : 1U);
  }
}

TEST_F(CheckDamage, ARootOfANewerBuildIsSaid) {
  builder_.root_lie = [](DiskRoot& root) { root.incompatible = 4; };
  EXPECT_EQ(count_of(finish(), Kind::kRoot), 1U);
}

// --- Any bytes.

// Contents change before they are summed, so every checksum fits and the checks behind it see them.
TEST_F(CheckDamage, NoBytesWithValidChecksumsStopTheCheck) {
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    sim::SimScheduler scheduler(seed);
    sim::Random random(seed);
    ImageBuilder builder(scheduler, {1024});
    builder.mutate = [&](std::uint64_t, Content& content) {
      if (random.one_in(6)) {
        for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
          const std::uint64_t at = random.one_in(2) ? random.below(200) : random.below(4088);
          store(MutableBytes(content), at, random.one_in(2) ? random.next() : random.below(1024));
        }
      }
    };
    TestVolume volume(builder, 1);
    fill_example(volume);
    volume.snapshot();
    volume.put_block(3, 1, "changed");
    volume.drop_block(4, 300);
    volume.remove_as_zombie(3);
    volume.commit();
    volume.deliver();
    builder.finish();
    CheckOptions options;
    options.names_of_snapshots = true;
    found += builder.check(options).clean() ? 0 : 1;
  }
  EXPECT_GT(found, 390U);
}

// 256^6 paths to one block, every checksum right; in the newest tree and in a snapshot.
TEST_F(CheckDamage, ATreeOfCountlessPathsEndsTheCheckSoon) {
  volume_.put(41, FileType::kRegular);
  volume_.put_block(41, 0, "the only leaf");
  TreeRoot& tree = volume_.inode(41).tree;
  for (tree.height = 1; tree.height <= kHeightMax; ++tree.height) {
    Content fan(kBlockBytes);
    for (std::uint64_t slot = 0; slot < kFanOut; ++slot) {
      store(MutableBytes(fan), slot * sizeof(BlockPointer), tree.pointer);
    }
    OwnerEntry owner = ImageBuilder::owner(TreeKind::kFile, 1, 41);
    owner.level = static_cast<std::uint8_t>(tree.height);
    tree.pointer = builder_.write(owner, fan);
  }
  tree.height = kHeightMax;
  volume_.inode(41).size_bytes = kFileBytesMax;
  volume_.snapshot();
  volume_.inode(41).mode = 0600;
  const CheckReport report = finish();
  EXPECT_GT(count_of(report, Kind::kDoubleUse), 0U);
  EXPECT_LT(report.problem_count, 10'000U);
}

}  // namespace
}  // namespace duet::wafl::testing
