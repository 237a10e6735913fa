// Snapshots, dead lists and zombies: sound ones are clean, each lie about them is found.

#include <gtest/gtest.h>

#include "image_builder.h"
#include "sim/sim_scheduler.h"

namespace duet::wafl::testing {
namespace {

class CheckSnapshots : public ::testing::Test {
 protected:
  CheckSnapshots() {
    fill_example(volume_);
    volume_.put_directory(2, 2,
                          {{"file", 3, FileType::kRegular},
                           {"sparse", 4, FileType::kRegular},
                           {"link", 5, FileType::kSymlink},
                           {"fifo", 6, FileType::kFifo},
                           {"below", 7, FileType::kDirectory},
                           {"large", 8, FileType::kRegular},
                           {"empty", 40, FileType::kRegular}});
    volume_.put(8, FileType::kRegular);
    for (std::uint64_t i = 0; i < 10; ++i) {
      volume_.put_block(8, i * 30, "block");
    }
    volume_.snapshot();
  }
  // What is named after the example loses file 8.
  void names_without_8() {
    volume_.put_directory(2, 2,
                          {{"file", 3, FileType::kRegular},
                           {"sparse", 4, FileType::kRegular},
                           {"link", 5, FileType::kSymlink},
                           {"fifo", 6, FileType::kFifo},
                           {"below", 7, FileType::kDirectory},
                           {"empty", 40, FileType::kRegular}});
  }
  CheckReport finish() {
    volume_.deliver();
    builder_.finish();
    CheckOptions options;
    options.names_of_snapshots = true;
    return builder_.check(options);
  }

  sim::SimScheduler scheduler_{1};
  ImageBuilder builder_{scheduler_};
  TestVolume volume_{builder_, 1};
};

TEST_F(CheckSnapshots, ChangesSinceASnapshotAreClean) {
  volume_.put_block(3, 1, "changed");
  volume_.put_block(4, 70'000, "a level more");
  volume_.drop_block(8, 60);
  volume_.commit();
  volume_.put_block(3, 1, "and again");
  volume_.snapshot();
  names_without_8();
  volume_.remove(8);
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
  EXPECT_EQ(report.snapshots, 2U);
}

TEST_F(CheckSnapshots, AZombieThatASnapshotSharesIsClean) {
  volume_.put_block(8, 0, "young");
  names_without_8();
  volume_.remove_as_zombie(8);
  volume_.commit();
  volume_.snapshot();  // takes the zombie along
  volume_.put_block(3, 0, "later");
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST_F(CheckSnapshots, AZombieOfARestoreIsClean) {
  // The old live tree, whose blocks up to the snapshot's CP are alive again.
  const auto inodes = volume_.inodes;
  const auto files = volume_.files;
  volume_.put_block(8, 0, "young");
  volume_.commit();
  volume_.zombies.push_back({volume_.live.inode_file.pointer, volume_.live.inode_file.height, 1,
                             volume_.snapshots.back().cp});
  volume_.zombies.push_back({volume_.live.inode_map.pointer, volume_.live.inode_map.height, 0,
                             volume_.snapshots.back().cp});
  volume_.restore(inodes, files);
  volume_.put_block(3, 0, "after the restore");
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST_F(CheckSnapshots, AnEntryMissingOnADeadListIsFound) {
  volume_.put_block(3, 1, "changed");
  volume_.dead.pop_back();
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, ProblemKind::kDeadList), 1U) << describe(report);
}

TEST_F(CheckSnapshots, ADeadListThatNamesALivingBlockIsFound) {
  volume_.put_block(3, 1, "changed");
  volume_.dead.push_back(volume_.files[3].leaves[0]);
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, ProblemKind::kDeadList), 1U) << describe(report);
}

TEST_F(CheckSnapshots, ADeadListThatNamesABlockTwiceIsFound) {
  volume_.put_block(3, 1, "changed");
  volume_.dead.push_back(volume_.dead.front());
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, ProblemKind::kDeadList), 1U) << describe(report);
}

TEST_F(CheckSnapshots, ADeadListThatNamesAYoungOrImpossibleBlockIsFound) {
  volume_.put_block(3, 1, "changed");
  volume_.dead.push_back(volume_.files[3].leaves[1]);
  volume_.dead.push_back({std::uint64_t{1} << 40U, 1, 0});
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, ProblemKind::kDeadList), 2U) << describe(report);
}

TEST_F(CheckSnapshots, ACountOfDeadBlocksThatIsWrongIsFound) {
  volume_.commit();
  volume_.live.dead_blocks += 1;
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, ProblemKind::kDeadList), 1U) << describe(report);
}

TEST_F(CheckSnapshots, AZombieThatIsAliveIsFound) {
  volume_.zombies.push_back({volume_.files[8].root.pointer, volume_.files[8].root.height, 0, 0});
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_GT(count_of(report, ProblemKind::kZombie), 0U) << describe(report);
}

TEST_F(CheckSnapshots, AZombieOfNoKnownKindIsFound) {
  volume_.zombies.push_back({volume_.files[8].root.pointer, 1, 2, 0});
  volume_.commit();
  EXPECT_EQ(count_of(finish(), ProblemKind::kZombie), 1U);
}

TEST_F(CheckSnapshots, ABlockOfASnapshotThatWasFreedIsFound) {
  builder_.release(volume_.files[8].leaves[30]);
  volume_.commit();
  const CheckReport report = finish();
  EXPECT_EQ(count_of(report, ProblemKind::kNotAllocated), 1U) << describe(report);
}

// I9: an old block under a new pointer, where the snapshot never had it.
TEST_F(CheckSnapshots, AnOldBlockInAnotherPlaceIsFound) {
  volume_.put_block(3, 1, "changed");
  volume_.commit();
  TestTree& tree = volume_.files[3];
  tree.leaves[1] = volume_.files[8].leaves[0];
  builder_.write_interior(tree, ImageBuilder::owner(TreeKind::kFile, 1, 3));
  volume_.inode(3).tree = tree.root;
  volume_.commit();
  EXPECT_GT(count_of(finish(), ProblemKind::kOwner), 0U);
}

TEST_F(CheckSnapshots, SnapshotsOutOfOrderAreFound) {
  volume_.snapshot();
  std::swap(volume_.snapshots[0].snapshot, volume_.snapshots[1].snapshot);
  EXPECT_GT(count_of(finish(), ProblemKind::kDataset), 0U);
}

TEST_F(CheckSnapshots, ASnapshotYoungerThanTheRootIsFound) {
  volume_.snapshot();
  volume_.snapshots[1].cp = builder_.cp + 1;
  EXPECT_GT(count_of(finish(), ProblemKind::kDataset), 0U);
}

}  // namespace
}  // namespace duet::wafl::testing
