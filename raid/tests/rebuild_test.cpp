// Disks that come and go: spares, replacements, and what is rebuilt on them.

#include <gtest/gtest.h>

#include "model.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

constexpr Geometry kSingle = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kDouble = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 24};

LabelDisk member(World& world, std::size_t node, std::uint32_t disk) {
  return world.group(node)->status().label.members[disk];
}
DiskState state(World& world, std::size_t node, std::uint32_t disk) {
  return static_cast<DiskState>(member(world, node, disk).state);
}
bool whole(World& world, std::size_t node) {
  const GroupLabel label = world.group(node)->status().label;
  return std::all_of(label.members.begin(), label.members.begin() + label.disks,
                     [](const LabelDisk& disk) {
                       return static_cast<DiskState>(disk.state) == DiskState::kInSync;
                     });
}
// Something is being rebuilt, and so many stripes of it are in the label.
bool recorded(World& world, std::size_t node, std::uint64_t stripes) {
  const RebuildStatus rebuild = world.group(node)->status().rebuild;
  return rebuild.disks != 0 && rebuild.recorded >= stripes;
}
// All nodes that live see every disk in sync.
bool all_whole(World& world) {
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    if (world.alive(node) && (!world.active(node) || !whole(world, node))) {
      return false;
    }
  }
  return true;
}
// The data and check data of all disks match, and are what was written.
void verify(World& world, Model& model, std::size_t node) {
  model.verify(node);
  ASSERT_TRUE(world.run(world.group(node)->flush()).ok());
  model.verify_disks();
}

// Each row can be computed, if not from the same disks.
TEST(Rebuild, BlocksThatCannotBeReadInDifferentRowsDoNotStopIt) {
  World world(39, {.geometry = kDouble, .spares = 1, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
  for (const auto& process : world.processes) {
    for (const std::uint32_t row : {0U, 1U}) {
      process->connections.faulty[2 + row]->arm({.fault = sim::Fault::kReadError,
                                                 .block = kDouble.disk_block(Stripe{7}, row),
                                                 .always = true});
    }
  }
  world.group(0)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return !whole(world, 0); }));
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); })) << "it does not end";
  verify(world, model, 1);
}

// A column is wrong, and nobody knows yet: what is computed from it is wrong, too.  Whoever heals
// the row heals the new disk, which nobody reads there yet.
TEST(Rebuild, WhatIsHealedMeanwhileIsRightOnTheNewDiskToo) {
  constexpr Geometry kThree = {
      .level = Level::kMirror, .disks = 3, .chunk_blocks = 2, .stripes = 24};
  for (const Geometry& g : {kDouble, kThree}) {
    World world(40, {.geometry = g,
                     .nodes = 1,
                     .spares = 1,
                     .step_stripes = 8,
                     .background_blocks_per_s = 2'000});
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    sim::SimDisk& disk = *world.disks[g.disk_of(Stripe{0}, 1)];
    const sim::SimDisk::Block good = disk.block(g.disk_block(Stripe{0}, 0));
    disk.flip_bit(g.disk_block(Stripe{0}, 0), 9, 1);
    world.group(0)->disk_failed(g.disk_of(Stripe{0}, 0));
    ASSERT_TRUE(world.run_until([&] { return world.group(0)->counters().rebuilt >= 2; }));
    const std::uint64_t block = g == kDouble ? g.chunk_blocks : 0;
    ASSERT_TRUE(world.run(world.group(0)->repair(block, good)).ok());
    EXPECT_EQ(world.group(0)->counters().healed, 1U);
    EXPECT_EQ(world.group(0)->status().rebuild.recorded, 0U) << "the label is not there yet";
    ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
    verify(world, model, 0);
    ASSERT_FALSE(HasFailure());
  }
}

class RebuildLevels : public ::testing::TestWithParam<Geometry> {};

TEST_P(RebuildLevels, ASpareTakesThePlaceOfAFailedDiskAndThenTheNextMayFail) {
  const Geometry& g = GetParam();
  World world(21, {.geometry = g, .spares = 2, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(1)->disk_failed(1);
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 1) == DiskState::kRebuilding; }));
  EXPECT_EQ(member(world, 0, 1).id, disk_id(g.disks)) << "the first spare";
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  EXPECT_EQ(world.group(0)->counters().rebuilt + world.group(1)->counters().rebuilt, g.stripes);
  EXPECT_GT(world.group(0)->counters().rebuilt, 0U);
  EXPECT_GT(world.group(1)->counters().rebuilt, 0U);
  EXPECT_EQ(world.group(1)->status().label.spare_count, 1U);
  verify(world, model, 1);
  world.fail_disk(2);
  model.verify(0);
  model.write(0, 0, 5, WriteKind::kInPlace);
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 0);
}

TEST_P(RebuildLevels, WritesGoOnMeanwhileAndGetToTheNewDisk) {
  const Geometry& g = GetParam();
  World world(22, {.geometry = g, .spares = 1, .step_stripes = 2});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(0);
  sim::Random random(22);
  while (!all_whole(world)) {
    const std::uint64_t at = random.below(g.block_count() - 3);
    model.write(random.below(2), at, 1 + random.below(3),
                random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace);
    ASSERT_FALSE(HasFailure());
  }
  verify(world, model, 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, RebuildLevels,
    ::testing::Values(
        Geometry{.level = Level::kMirror, .disks = 2, .chunk_blocks = 4, .stripes = 24},
        Geometry{.level = Level::kMirror, .disks = 3, .chunk_blocks = 4, .stripes = 24}, kSingle,
        kDouble));

TEST(Rebuild, ASecondDiskMayFailMeanwhileWhereTheLevelAllowsIt) {
  World world(
      23, {.geometry = kDouble, .spares = 2, .step_stripes = 1, .background_blocks_per_s = 20'000});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return recorded(world, 0, 5); }));
  world.fail_disk(3);
  model.write(1, 0, 12, WriteKind::kInPlace);  // somebody has to notice
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 3) == DiskState::kRebuilding; }));
  EXPECT_EQ(state(world, 0, 0), DiskState::kRebuilding);
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 1);
}

TEST(Rebuild, WhereTheLevelDoesNotAllowItNothingIsWrittenAndTheDiskIsGoodWhenItIsBack) {
  World world(
      24, {.geometry = kSingle, .spares = 1, .step_stripes = 1, .background_blocks_per_s = 20'000});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return recorded(world, 0, 5); }));
  world.group(1)->disk_failed(2);
  ASSERT_TRUE(world.run_until([&] { return !world.active(0); }));
  EXPECT_EQ(world.run(world.group(0)->wait_active()).error().code, Errc::kIo);
  for (const std::size_t node : {0U, 1U}) {
    model.kill(node);
  }
  boot_all(world);
  EXPECT_EQ(state(world, 0, 2), DiskState::kInSync);
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 1);
}

TEST(Rebuild, WhenTheSpareFailsTheNextOneIsTaken) {
  World world(
      25, {.geometry = kSingle, .spares = 2, .step_stripes = 1, .background_blocks_per_s = 20'000});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return recorded(world, 0, 5); }));
  world.fail_disk(4);
  ASSERT_TRUE(world.run_until([&] { return member(world, 1, 0).id == disk_id(5); }));
  EXPECT_LT(world.group(1)->status().rebuild.done, 4U) << "from the start";
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 1);
}

TEST(Rebuild, WhenANodeDiesTheOtherDoesItsShareToo) {
  World world(
      26, {.geometry = kSingle, .spares = 1, .step_stripes = 1, .background_blocks_per_s = 20'000});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return recorded(world, 1, 5); }));
  model.kill(0);
  world.fence(0, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  EXPECT_LT(world.group(1)->counters().rebuilt, kSingle.stripes) << "what was done stays done";
  verify(world, model, 1);
}

TEST(Rebuild, WhenEverybodyDiesItGoesOnWhereTheLabelSays) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    World world(
        seed,
        {.geometry = kSingle, .spares = 1, .step_stripes = 2, .background_blocks_per_s = 20'000});
    Model model(world);
    boot_all(world);
    model.fill(0);
    world.group(0)->disk_failed(0);
    const std::uint64_t enough = 2 + seed;
    ASSERT_TRUE(world.run_until([&] { return recorded(world, 0, enough) || whole(world, 0); }));
    for (const std::size_t node : {0U, 1U}) {
      model.kill(node);
    }
    model.lose_power();
    boot_all(world);
    EXPECT_GE(world.group(0)->status().rebuild.recorded, enough);
    const RebuildStatus rebuild = world.group(0)->status().rebuild;
    EXPECT_TRUE(rebuild.disks == 0 || rebuild.done_before >= enough);
    ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
    const std::uint64_t again =
        world.group(0)->counters().rebuilt + world.group(1)->counters().rebuilt;
    // What was under way when a node came is done by two.
    EXPECT_LE(again, kSingle.stripes - enough + 3 * world.options_.step_stripes);
    verify(world, model, 1);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

// What a label calls rebuilt is on the disk: also when the label came through, and its flush did
// not.
TEST(Rebuild, PowerMayBeLostAtEveryTurnOfIt) {
  constexpr Geometry kSmall = {
      .level = Level::kSingleParity, .disks = 3, .chunk_blocks = 2, .stripes = 4};
  bool over = false;
  for (std::uint64_t turns = 0; !over && turns < 2000; ++turns) {
    SCOPED_TRACE(::testing::Message() << "turn " << turns);
    World world(500 + turns, {.geometry = kSmall, .spares = 1, .step_stripes = 1});
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    world.group(0)->disk_failed(1);
    ASSERT_TRUE(world.run_until([&] { return state(world, 0, 1) == DiskState::kRebuilding; }));
    std::uint64_t left = turns;
    ASSERT_TRUE(world.scheduler.run_until([&] { return left-- == 0 || all_whole(world); }));
    over = all_whole(world);
    model.kill(0);
    model.kill(1);
    model.lose_power();
    boot_all(world);
    ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
    verify(world, model, 1);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_TRUE(over);
}

TEST(Rebuild, WhatNobodyNeedsIsPassedByAndWholeWhereItIsWrittenLater) {
  // Wide ones modify check data where they may.
  constexpr Geometry kWide = {
      .level = Level::kSingleParity, .disks = 7, .chunk_blocks = 2, .stripes = 24};
  constexpr Geometry kWideDouble = {
      .level = Level::kDoubleParity, .disks = 8, .chunk_blocks = 2, .stripes = 24};
  for (const Geometry& g : {kSingle, kDouble, kWide, kWideDouble}) {
    World world(29, {.geometry = g, .spares = 1, .step_stripes = 2});
    Model model(world);
    world.needed = [&model](std::uint64_t first, std::uint64_t count) {
      return model.needed(first, count);
    };
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    for (std::uint64_t stripe = 6; stripe < 17; ++stripe) {
      model.discard(stripe);
    }
    world.group(0)->disk_failed(1);
    ASSERT_TRUE(world.run_until([&] { return !all_whole(world); }));
    ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
    EXPECT_EQ(world.group(0)->counters().passed_by + world.group(1)->counters().passed_by, 10U)
        << "whole steps";
    EXPECT_EQ(world.group(0)->counters().rebuilt + world.group(1)->counters().rebuilt, 14U);
    sim::Random random(29);
    for (int i = 0; i < 60; ++i) {
      const std::uint64_t at = random.below(g.block_count() - 2);
      model.write(random.below(2), at, 1 + random.below(2),
                  random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace);
    }
    verify(world, model, 0);
    world.fail_disk(3);
    model.verify(1);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(Rebuild, StripesOfOneStepGoBesideEachOther) {
  World world(29, {.geometry = kSingle, .nodes = 1, .spares = 1, .step_stripes = 8});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(0);
  std::size_t most = 0;
  ASSERT_TRUE(world.run_until([&] { return !all_whole(world); }));
  ASSERT_TRUE(world.run_until([&] {
    most = std::max(most, world.processes[0]->connections.under_way());
    return all_whole(world);
  }));
  EXPECT_GT(most, 2 * (kSingle.disks + 1)) << "a label, or one stripe, has one of each disk";
  verify(world, model, 0);
}

TEST(Rebuild, TheRateIsKept) {
  World world(
      27, {.geometry = kSingle, .spares = 1, .step_stripes = 1, .background_blocks_per_s = 8'000});
  Model model(world);
  boot_all(world);
  const Instant before = world.scheduler.now();
  world.group(0)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return !all_whole(world); }));
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  // 24 stripes of 8 blocks by two nodes, 1 ms each; the first of each node waits for nothing.
  EXPECT_GE(world.scheduler.now() - before, std::chrono::milliseconds(11));
}

TEST(Rebuild, TwoNodesAreNearlyTwiceAsFastAsOne) {
  const auto duration = [](std::uint64_t seed, bool alone) {
    World world(seed, {.geometry = {.level = Level::kSingleParity,
                                    .disks = 4,
                                    .chunk_blocks = 4,
                                    .stripes = 3200},
                       .spares = 1,
                       .step_stripes = 8});
    boot_all(world);
    if (alone) {
      world.kill(1);
      world.fence(1, world.dead_incarnation);
      EXPECT_TRUE(world.run_until([&] { return members(world, 0) == 1; }));
    }
    const Instant before = world.scheduler.now();
    world.group(0)->disk_failed(0);
    EXPECT_TRUE(world.run_until([&] { return !all_whole(world); }));
    EXPECT_TRUE(world.run_until([&] { return all_whole(world); }));
    return std::chrono::duration<double>(world.scheduler.now() - before).count();
  };
  double one = 0;
  double two = 0;
  for (std::uint64_t seed = 28; seed < 30; ++seed) {
    one += duration(seed, true);
    two += duration(seed, false);
  }
  std::cout << "one node " << one * 1000 << " ms, two " << two * 1000 << " ms: " << one / two
            << " times as fast\n";
  EXPECT_GT(one / two, 1.7);
}

TEST(Disks, AnOperatorGivesADiskForOneThatFailed) {
  World world(31, {.geometry = kSingle, .blank = 1, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  const auto device = [&](std::size_t node, std::size_t disk) -> BlockDevice& {
    return *world.processes[node]->connections.devices[disk];
  };
  const DiskId id = {0xADD, 1};
  world.named[id] = 4;
  EXPECT_EQ(world.run(world.group(1)->replace(2, device(1, 4), id, false)).error().code,
            Errc::kRefused)
      << "it has not failed";
  world.group(0)->disk_failed(2);
  ASSERT_TRUE(world.run_until([&] { return state(world, 1, 2) == DiskState::kFailed; }));
  EXPECT_EQ(world.run(world.group(1)->replace(2, device(1, 3), id, true)).error().code,
            Errc::kExists)
      << "a member";
  EXPECT_EQ(world.run(world.group(1)->replace(2, device(1, 2), id, false)).error().code,
            Errc::kRefused)
      << "it holds something";
  ASSERT_TRUE(world.run(world.group(1)->replace(2, device(1, 4), id, false)).ok());
  EXPECT_EQ(member(world, 1, 2).id, id);
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 0);
  // Everybody finds it again.
  for (const std::size_t node : {0U, 1U}) {
    model.kill(node);
  }
  boot_all(world);
  EXPECT_TRUE(all_whole(world));
  verify(world, model, 1);
}

TEST(Disks, TheDiskThatFailedMayBeGivenAgainByForce) {
  World world(32, {.geometry = kSingle, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.group(0)->disk_failed(2);
  ASSERT_TRUE(world.run_until([&] { return state(world, 1, 2) == DiskState::kFailed; }));
  model.write(0, 0, 20, WriteKind::kInPlace);
  const DiskId id = {0xADD, 1};
  world.named[id] = 2;
  BlockDevice& device = *world.processes[0]->connections.devices[2];
  ASSERT_TRUE(world.run(world.group(0)->replace(2, device, id, true)).ok());
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 1);
}

TEST(Disks, SparesComeAndGo) {
  World world(33, {.geometry = kSingle, .spares = 1, .blank = 1, .step_stripes = 1});
  boot_all(world);
  const auto device = [&](std::size_t disk) -> BlockDevice& {
    return *world.processes[1]->connections.devices[disk];
  };
  const DiskId id = {0xADD, 1};
  EXPECT_EQ(world.run(world.group(1)->add_spare(device(5), disk_id(4), false)).error().code,
            Errc::kExists)
      << "the id";
  EXPECT_EQ(world.run(world.group(1)->add_spare(device(4), id, true)).error().code, Errc::kExists)
      << "it is one";
  ASSERT_TRUE(world.run(world.group(1)->add_spare(device(5), id, false)).ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(0)->status().label.spare_count == 2; }));
  EXPECT_EQ(world.run(world.group(0)->remove_spare({9, 9})).error().code, Errc::kNotFound);
  ASSERT_TRUE(world.run(world.group(0)->remove_spare(disk_id(4))).ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(1)->status().label.spare_count == 1; }));
  EXPECT_EQ(world.group(1)->status().label.spares[0], id);
  // Blank again.
  ASSERT_TRUE(world.run(world.group(1)->add_spare(device(4), {0xADD, 2}, false)).ok());
}

TEST(Disks, ASpareThatOneNodeAddedIsKnownToTheNextLeader) {
  World world(36, {.geometry = kSingle, .blank = 1, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  // Node 1 has looked at the disks before, and hears of it when it is let in.
  model.kill(1);
  world.fence(1, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 1; }));
  world.boot(1);
  world.wire.disconnect(0, 1);
  ASSERT_TRUE(world.run_until([&] { return world.group(1) != nullptr; }));
  const DiskId id = {0xADD, 1};
  world.named[id] = 4;
  BlockDevice& device = *world.processes[0]->connections.devices[4];
  ASSERT_TRUE(world.run(world.group(0)->add_spare(device, id, false)).ok());
  world.wire.connect(0, 1);
  ASSERT_TRUE(world.run_until([&] { return world.active(1) && members(world, 1) == 3; }));
  model.kill(0);
  world.fence(0, world.dead_incarnation);
  world.group(1)->disk_failed(2);
  ASSERT_TRUE(world.run_until([&] { return member(world, 1, 2).id == id; }));
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 1);
}

TEST(Disks, ADiskThatIsGivenWhileTheGroupRunsIsGivenToEveryNode) {
  World world(34, {.geometry = kSingle, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  sim::SimDisk disk("new", kSingle.disk_blocks());
  sim::SimBlockDevice here(world.scheduler, disk);
  sim::SimBlockDevice there(world.scheduler, disk);
  const DiskId id = {0xADD, 1};
  EXPECT_EQ(world.run(world.group(1)->add_spare(there, id, false)).error().code, Errc::kTryAgain)
      << "node 0 leads, and does not see it";
  world.group(0)->add_device(here);
  ASSERT_TRUE(world.run(world.group(1)->add_spare(there, {0xADD, 2}, true)).ok());
  world.group(1)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 0) == DiskState::kRebuilding; }));
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  model.verify(1);
  world.kill(0);
  world.kill(1);
}

TEST(Disks, OneThatOnlyWasAwayIsRebuiltByItselfWhenItIsBack) {
  World world(35, {.geometry = kSingle, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  model.fill(0);
  for (const std::size_t node : {0U, 1U}) {
    model.kill(node);
  }
  world.fail_disk(3);  // it cannot be read when they open
  boot_all(world);
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 3) == DiskState::kFailed; }));
  EXPECT_EQ(member(world, 0, 3).flags, kAway | kRecorded);
  model.write(0, 0, 20, WriteKind::kInPlace);
  world.failed_disks.clear();
  for (const std::size_t node : {0U, 1U}) {
    model.kill(node);
  }
  boot_all(world);
  ASSERT_TRUE(world.run_until([&] { return all_whole(world); }));
  verify(world, model, 1);
  // One that failed does not come back by itself.
  world.group(0)->disk_failed(3);
  ASSERT_TRUE(world.run_until([&] { return state(world, 1, 3) == DiskState::kFailed; }));
  for (const std::size_t node : {0U, 1U}) {
    model.kill(node);
  }
  boot_all(world);
  EXPECT_FALSE(world.run_until([&] { return all_whole(world); }));
}

}  // namespace
}  // namespace duet::raid::testing
