// Clones: sound ones are clean, each lie about them is found.

#include <gtest/gtest.h>

#include <optional>

#include "image_builder.h"
#include "sim/sim_scheduler.h"

namespace duet::wafl::testing {
namespace {

const std::vector<Name> kNames{
    {"file", 3, FileType::kRegular},    {"sparse", 4, FileType::kRegular},
    {"link", 5, FileType::kSymlink},    {"fifo", 6, FileType::kFifo},
    {"below", 7, FileType::kDirectory}, {"large", 8, FileType::kRegular},
    {"empty", 40, FileType::kRegular}};

// Volume 1 with a snapshot; volume 2 is a clone of it that changed a file.
class CheckClones : public ::testing::Test {
 protected:
  CheckClones() {
    fill_example(origin_);
    origin_.put_directory(2, 2, kNames);
    origin_.put(8, FileType::kRegular);
    for (std::uint64_t i = 0; i < 10; ++i) {
      origin_.put_block(8, i * 30, "block");
    }
    origin_.snapshot();
    clone_.emplace(builder_, 2, origin_);
    clone_->put_block(3, 1, "changed");
    clone_->commit();
  }
  void names_without_8() {
    std::vector<Name> names = kNames;
    std::erase_if(names, [](const Name& name) { return name.inode == 8; });
    clone_->put_directory(2, 2, names);
  }
  CheckReport finish() {
    origin_.deliver();
    clone_->deliver();
    builder_.finish();
    CheckOptions options;
    options.names_of_snapshots = true;
    return builder_.check(options);
  }

  sim::SimScheduler scheduler_{1};
  ImageBuilder builder_{scheduler_};
  TestVolume origin_{builder_, 1};
  std::optional<TestVolume> clone_;
};

TEST_F(CheckClones, OneThatChangedIsClean) {
  origin_.put_block(3, 0, "the origin goes on");
  origin_.commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
  EXPECT_EQ(report.volumes, 2U);
}

TEST_F(CheckClones, SnapshotsOfThemAreClean) {
  clone_->snapshot();
  clone_->put_block(3, 0, "of the origin");
  clone_->put_block(3, 1, "of its own");
  clone_->put_block(4, 70'000, "a level more");
  names_without_8();
  clone_->remove(8);
  clone_->snapshot();
  clone_->put_block(3, 0, "again");
  clone_->commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST_F(CheckClones, AFileThatGrewTwoLevelsOverAHoleIsClean) {
  clone_->put_block(3, 70'000, "two levels more");
  clone_->drop_block(3, 0);  // and nothing where the origin has its blocks
  clone_->drop_block(3, 1);
  clone_->commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST_F(CheckClones, ZombiesThatSpareTheOriginAreClean) {
  clone_->put_block(8, 0, "young");
  names_without_8();
  clone_->remove_as_zombie(8);
  clone_->commit();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST_F(CheckClones, AZombieOfTheOriginsBlocksIsFound) {
  clone_->put_block(8, 0, "young");
  names_without_8();
  clone_->remove_as_zombie(8);
  clone_->zombies.back().keep_birth = 0;
  clone_->commit();
  EXPECT_GT(count_of(finish(), ProblemKind::kZombie), 0U);
}

TEST_F(CheckClones, ClonesOfClonesAreClean) {
  clone_->snapshot();
  TestVolume second(builder_, 3, *clone_);
  second.put_block(3, 1, "changed twice");
  second.put_block(3, 0, "and the first origin's");
  second.commit();
  second.deliver();
  const CheckReport report = finish();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST_F(CheckClones, ABlockOfTheOriginThatWasFreedIsFound) {
  builder_.release(origin_.files[8].leaves[30]);
  EXPECT_EQ(count_of(finish(), ProblemKind::kNotAllocated), 1U);
}

TEST_F(CheckClones, ADeadListThatNamesTheOriginsBlockIsFound) {
  clone_->snapshot();
  clone_->put_block(8, 30, "over the origin's");
  clone_->dead.push_back(origin_.files[8].leaves[30]);
  clone_->commit();
  EXPECT_EQ(count_of(finish(), ProblemKind::kDeadList), 1U);
}

TEST_F(CheckClones, AnOriginThatIsNotThereIsFound) {
  clone_->live.origin_snapshot = 7;
  EXPECT_GT(count_of(finish(), ProblemKind::kDataset), 0U);
}

TEST_F(CheckClones, AnOriginOfAnotherCpIsFound) {
  clone_->live.origin_cp += 1;
  EXPECT_GT(count_of(finish(), ProblemKind::kDataset), 0U);
}

TEST_F(CheckClones, OneOfItselfIsFound) {
  clone_->snapshot();
  clone_->live.origin_volume = 2;
  clone_->live.origin_snapshot = 1;
  clone_->live.origin_cp = clone_->snapshots.back().cp;
  EXPECT_GT(count_of(finish(), ProblemKind::kDataset), 0U);
}

TEST_F(CheckClones, ASnapshotThatSaysItIsOneIsFound) {
  origin_.snapshots.back().origin_volume = 1;
  EXPECT_EQ(count_of(finish(), ProblemKind::kDataset), 1U);
}

TEST_F(CheckClones, ARootThatDoesNotTellOfThemIsFound) {
  builder_.root_lie = [](DiskRoot& root) { root.readonly_compatible = 0; };
  EXPECT_EQ(count_of(finish(), ProblemKind::kRoot), 1U);
}

TEST_F(CheckClones, AUsageThatCountsTheOriginsBlocksIsFound) {
  clone_->used_lie = 1;
  EXPECT_EQ(count_of(finish(), ProblemKind::kVolumeUsed), 1U);
}

// What died in the origin before the snapshot, and an older snapshot still holds: the place fits,
// and the clone's origin does not have it.
TEST(CheckClonesOfALaterSnapshot, ABlockThatTheOriginNoLongerHadIsFound) {
  sim::SimScheduler scheduler{1};
  ImageBuilder builder{scheduler};
  TestVolume origin{builder, 1};
  fill_example(origin);
  origin.snapshot();
  const BlockPointer dead = origin.files[3].leaves[1];
  origin.put_block(3, 1, "changed");
  origin.snapshot();
  TestVolume clone(builder, 2, origin);
  clone.put_block(3, 0, "so that the file is its own");
  clone.commit();
  TestTree& tree = clone.files[3];
  for (const BlockPointer& pointer : tree.interior) {
    builder.release(pointer);
  }
  tree.interior.clear();
  tree.leaves[1] = dead;
  builder.write_interior(tree, ImageBuilder::owner(TreeKind::kFile, 2, 3));
  clone.inode(3).tree = tree.root;
  clone.commit();
  origin.deliver();
  clone.deliver();
  builder.finish();
  const CheckReport report = builder.check();
  EXPECT_EQ(count_of(report, ProblemKind::kPointer), 1U) << describe(report);
}

}  // namespace
}  // namespace duet::wafl::testing
