// What operators want of a group's disks, also two of them at once, and when nodes know less.

#include <gtest/gtest.h>

#include "model.h"
#include "sim/sim_block_device.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

constexpr Geometry kSingle = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kDouble = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 24};

struct Wishes : ::testing::Test {
  explicit Wishes(const Geometry& geometry = kSingle)
      : world{91, {.geometry = geometry, .step_stripes = 1}} {}
  void SetUp() override {
    boot_all(world);
    model.fill(0);
  }
  LabelDisk member(std::size_t node, std::uint32_t disk) {
    return world.group(node)->status().label.members[disk];
  }
  bool kept_out(std::size_t node, std::uint32_t disk) {
    return (member(node, disk).flags & kKeptOut) != 0;
  }
  void verify() {
    for (const std::size_t node : {0U, 1U}) {
      ASSERT_TRUE(world.active(node));
      model.verify(node);
      ASSERT_TRUE(world.run(world.group(node)->flush()).ok());
    }
    model.verify_disks();
  }

  World world;
  Model model{world};
};
struct WishesOfADouble : Wishes {
  WishesOfADouble() : Wishes(kDouble) {}
};

TEST_F(Wishes, WithoutADiskThatCannotBeLostNothingIsFailed) {
  ASSERT_TRUE(world.run(world.group(1)->keep_out(3)).ok());
  EXPECT_TRUE(world.run_until([&] { return kept_out(0, 3); }));
  EXPECT_EQ(world.run(world.group(0)->keep_out(1)).error().code, Errc::kRefused);
  EXPECT_EQ(world.run(world.group(1)->keep_out(1)).error().code, Errc::kRefused);
  EXPECT_TRUE(world.run(world.group(0)->keep_out(3)).ok()) << "said again";
  verify();
}

TEST_F(Wishes, OfTwoOrdersThatAreOneTooManyOneIsRefused) {
  std::optional<Status> first;
  std::optional<Status> second;
  TaskScope scope(world.scheduler);
  scope.spawn(World::keep(world.group(0)->keep_out(0), first));
  scope.spawn(World::keep(world.group(1)->keep_out(1), second));
  ASSERT_TRUE(world.run_until([&] { return first.has_value() && second.has_value(); }));
  EXPECT_NE(first->ok(), second->ok());
  EXPECT_TRUE(world.run_until([&] { return kept_out(0, 0) || kept_out(0, 1); }));
  EXPECT_NE(kept_out(0, 0), kept_out(0, 1));
  verify();
}

TEST_F(Wishes, NorIsADiskFailedBesideOneThatIsSuspected) {
  world.group(1)->disk_failed(2);
  EXPECT_EQ(world.run(world.group(1)->keep_out(0)).error().code, Errc::kRefused);
  EXPECT_FALSE(kept_out(0, 0));
  verify();
}

// What it missed is only what nobody else has either.
TEST_F(Wishes, OneThatIsBeingRebuiltCanBeTakenOutWhereNoOtherCan) {
  ASSERT_TRUE(world.run(world.group(0)->keep_out(2)).ok());
  sim::SimDisk disk("new", kSingle.disk_blocks());
  sim::SimBlockDevice here(world.scheduler, disk);
  sim::SimBlockDevice there(world.scheduler, disk);
  world.group(1)->add_device(there);
  ASSERT_TRUE(world.run(world.group(0)->replace(2, here, {0xADD, 1}, false)).ok());
  ASSERT_TRUE(world.run_until(
      [&] { return static_cast<DiskState>(member(1, 2).state) == DiskState::kRebuilding; }));
  EXPECT_TRUE(world.run(world.group(1)->keep_out(2)).ok());
  EXPECT_TRUE(world.run_until([&] { return kept_out(0, 2); }));
  model.verify(0);
  model.verify(1);
  world.kill(0);
  world.kill(1);
}

TEST_F(Wishes, AFailureThatIsNotAnsweredIsTakenBack) {
  world.wire.disconnect(0, 1);
  EXPECT_EQ(world.run(world.group(1)->keep_out(2)).error().code, Errc::kTryAgain);
  world.wire.connect(0, 1);
  ASSERT_TRUE(world.run_until([&] { return world.active(0) && world.active(1); }));
  EXPECT_FALSE(kept_out(0, 2));
  verify();
}

TEST_F(Wishes, WhatAnOperatorFailedDoesNotReturnByItself) {
  ASSERT_TRUE(world.run(world.group(1)->keep_out(2)).ok());
  EXPECT_EQ(world.run(world.group(0)->take_back(2, true)).error().code, Errc::kRefused);
  EXPECT_TRUE(kept_out(0, 2));
  ASSERT_TRUE(world.run(world.group(0)->take_back(2)).ok());
  ASSERT_TRUE(world.run_until(
      [&] { return static_cast<DiskState>(member(1, 2).state) == DiskState::kInSync; }));
  verify();
}

// Whoever does not see the new ones would call them failed.
TEST_F(Wishes, AGroupSpreadsOnlyOverDisksThatAllNodesSee) {
  sim::SimDisk disks[] = {sim::SimDisk("x", kSingle.disk_blocks()),
                          sim::SimDisk("y", kSingle.disk_blocks())};
  sim::SimBlockDevice at_0[] = {sim::SimBlockDevice(world.scheduler, disks[0]),
                                sim::SimBlockDevice(world.scheduler, disks[1])};
  sim::SimBlockDevice at_1[] = {sim::SimBlockDevice(world.scheduler, disks[0]),
                                sim::SimBlockDevice(world.scheduler, disks[1])};
  std::vector<BlockDevice*> given = {&at_0[0], &at_0[1]};
  const std::vector<DiskId> ids = {{0xADD, 1}, {0xADD, 2}};
  world.group(1)->add_device(at_1[0]);
  EXPECT_EQ(world.run(world.group(0)->expand(given, ids, false)).error().code, Errc::kTryAgain);
  EXPECT_EQ(world.group(0)->status().label.disks, kSingle.disks);
  verify();
  world.group(1)->add_device(at_1[1]);
  const std::vector<DiskId> others = {{0xADD, 3}, {0xADD, 4}};
  ASSERT_TRUE(world.run(world.group(0)->expand(given, others, true)).ok());
  ASSERT_TRUE(world.run_until([&] {
    const GroupStatus status = world.group(1)->status();
    return status.label.disks == kSingle.disks + 2 && status.expansion.disks_before == 0;
  }));
  model.verify(0);
  model.verify(1);
  world.kill(0);
  world.kill(1);
}

TEST_F(WishesOfADouble, ADiskTakesAPlaceOnlyWhereAllNodesSeeIt) {
  ASSERT_TRUE(world.run(world.group(0)->keep_out(2)).ok());
  sim::SimDisk disk("new", kDouble.disk_blocks());
  sim::SimBlockDevice here(world.scheduler, disk);
  EXPECT_EQ(world.run(world.group(0)->replace(2, here, {0xADD, 1}, false)).error().code,
            Errc::kTryAgain);
  EXPECT_TRUE(kept_out(1, 2));
  verify();
}

}  // namespace
}  // namespace duet::raid::testing
