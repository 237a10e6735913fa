// Sound images are called sound.

#include "wafl_check/check.h"

#include <gtest/gtest.h>

#include "image_builder.h"
#include "sim/sim_scheduler.h"

namespace duet::wafl::testing {
namespace {

TEST(Check, AnAggregateWithTwoVolumesIsClean) {
  sim::SimScheduler scheduler(1);
  ImageBuilder builder(scheduler);
  TestVolume system(builder, 0);
  system.commit();
  system.deliver();
  TestVolume volume(builder, 1);
  fill_example(volume);
  volume.commit();
  volume.deliver();
  builder.finish();

  const CheckReport report = builder.check();

  EXPECT_TRUE(report.clean()) << describe(report);
  EXPECT_TRUE(report.notes.empty());
  EXPECT_EQ(report.volumes, 2U);
  EXPECT_EQ(report.inodes, 1U + 7U);
  EXPECT_EQ(report.blocks_reached, builder.allocated.size());
}

TEST(Check, DisksMayComeInAnyOrder) {
  sim::SimScheduler scheduler(1);
  ImageBuilder builder(scheduler, {270, 2048});
  TestVolume volume(builder, 1);
  fill_example(volume);
  volume.commit();
  volume.deliver();
  builder.finish();
  const CheckReport report = builder.check();
  EXPECT_TRUE(report.clean()) << describe(report);
}

TEST(Check, ProgressIsToldAndDataMayBeLeftUnread) {
  sim::SimScheduler scheduler(1);
  ImageBuilder builder(scheduler, {20'000});
  TestVolume volume(builder, 1);
  volume.put(3, FileType::kRegular);
  volume.put_directory(2, 2, {{"f", 3, FileType::kRegular}});
  volume.put_block(3, 0, "x");
  volume.commit();
  volume.deliver();
  builder.finish();
  const std::uint64_t data = volume.files[3].leaves[0].block();
  builder.raw(data)[0] ^= std::byte{1};

  CheckOptions options;
  EXPECT_EQ(count_of(builder.check(options), ProblemKind::kChecksum), 1U);
  options.read_data = false;
  EXPECT_TRUE(builder.check(options).clean());
}

TEST(Check, OnlySoManyProblemsAreKeptAndAllAreCounted) {
  sim::SimScheduler scheduler(1);
  ImageBuilder builder(scheduler);
  TestVolume volume(builder, 1);
  volume.commit();
  volume.deliver();
  for (std::uint64_t block = 1000; block < 1020; block += 2) {
    builder.flip_bits.insert(block);
  }
  builder.finish();
  CheckOptions options;
  options.problems_max = 3;
  const CheckReport report = builder.check(options);
  EXPECT_EQ(report.problems.size(), 3U);
  EXPECT_EQ(report.problem_count, 10U);
}

TEST(Check, NoDisksAndBlankDisksAreSaid) {
  sim::SimScheduler scheduler(1);
  ImageBuilder builder(scheduler);
  EXPECT_EQ(count_of(builder.check(), ProblemKind::kRoot), 1U);
  builder.disks.clear();
  EXPECT_EQ(count_of(builder.check(), ProblemKind::kRoot), 1U);
}

}  // namespace
}  // namespace duet::wafl::testing
