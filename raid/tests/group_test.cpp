// A group in a world without surprises: what is written is read, by any node, in any mode.

#include <gtest/gtest.h>

#include "raid/virtual_disk.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

class Levels : public ::testing::TestWithParam<Geometry> {};

TEST_P(Levels, WhatOneNodeWritesTheOtherReads) {
  World world(1, {.geometry = GetParam()});
  boot_all(world);
  const std::uint64_t blocks = GetParam().block_count();
  std::uint64_t value = 1;
  for (std::uint64_t at = 0; at + 5 <= blocks; at += 5) {
    ASSERT_TRUE(write(world, at % 2, at, 5, value + at).ok());
  }
  for (std::uint64_t at = 0; at + 5 <= blocks; at += 5) {
    ASSERT_TRUE(reads(world, 1 - at % 2, at, 5, value + at)) << at;
  }
}

TEST(Group, StripesOfOneRequestGoBesideEachOther) {
  World world(3, {});
  boot_all(world);
  const std::size_t width = world.options_.geometry.stripe_blocks();
  const auto answered = std::make_shared<bool>(false);
  begin_write(world, 0, 0, 4 * width, 77, answered);
  std::size_t most = 0;
  ASSERT_TRUE(world.run_until([&] {
    most = std::max(most, world.processes[0]->connections.under_way());
    return *answered;
  }));
  EXPECT_GT(most, 2 * world.options_.geometry.disks) << "one stripe has one operation of each disk";
  EXPECT_TRUE(reads(world, 1, 0, 4 * width, 77));
}

TEST_P(Levels, WhateverDisksFailWithinItsLevelNothingIsLostAndWritingGoesOn) {
  for (std::size_t a = 0; a < GetParam().disks; ++a) {
    World world(2 + a, {.geometry = GetParam()});
    boot_all(world);
    const std::uint64_t blocks = std::min<std::uint64_t>(GetParam().block_count(), 40);
    for (std::uint64_t at = 0; at < blocks; ++at) {
      ASSERT_TRUE(write(world, 0, at, 1, 100 + at).ok());
    }
    for (std::uint32_t lost = 0; lost < GetParam().check_columns(); ++lost) {
      world.fail_disk((a + lost) % GetParam().disks);
      for (std::uint64_t at = 0; at < blocks; ++at) {
        ASSERT_TRUE(reads(world, 1, at, 1, 100 + at)) << "block " << at << ", lost " << a;
      }
      for (std::uint64_t at = 0; at < blocks; ++at) {
        ASSERT_TRUE(write(world, at % 2, at, 1, 100 + at).ok());
        ASSERT_TRUE(reads(world, 1 - at % 2, at, 1, 100 + at)) << at;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Levels,
    ::testing::Values(
        Geometry{.level = Level::kMirror, .disks = 2, .chunk_blocks = 4, .stripes = 9},
        Geometry{.level = Level::kMirror, .disks = 3, .chunk_blocks = 4, .stripes = 9},
        Geometry{.level = Level::kSingleParity, .disks = 3, .chunk_blocks = 4, .stripes = 6},
        Geometry{.level = Level::kSingleParity, .disks = 5, .chunk_blocks = 4, .stripes = 4},
        Geometry{.level = Level::kDoubleParity, .disks = 4, .chunk_blocks = 4, .stripes = 6},
        Geometry{.level = Level::kDoubleParity, .disks = 6, .chunk_blocks = 2, .stripes = 6}));

TEST(Group, OneNodeAloneServesWhenTheOtherIsFenced) {
  World world(5, {});
  world.boot(0);
  ASSERT_FALSE(world.run_until([&] { return world.active(0); })) << "the other may be at work";
  world.group(0)->node_fenced(NodeId{1}, 1);
  ASSERT_TRUE(world.run_until([&] { return world.active(0); }));
  EXPECT_EQ(world.group(0)->status().members, 1U);
  ASSERT_TRUE(write(world, 0, 3, 7, 42).ok());
  EXPECT_TRUE(reads(world, 0, 3, 7, 42));
  // The label says who holds the intents: the other is let in, and then has them too.
  world.boot(1);
  ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
  EXPECT_TRUE(reads(world, 1, 3, 7, 42));
}

TEST(Group, ClosingLeavesNothingToRecoverAndAnyNodeMayOpen) {
  World world(6, {});
  boot_all(world);
  ASSERT_TRUE(write(world, 0, 0, 9, 7).ok());
  ASSERT_TRUE(write(world, 1, 20, 9, 8).ok());
  ASSERT_TRUE(world.run(world.group(0)->close()).ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(1)->status().members == 2; }));
  ASSERT_TRUE(world.run(world.group(1)->close()).ok());
  world.kill(0);
  world.kill(1);
  world.boot(1);
  ASSERT_TRUE(world.run_until([&] { return world.group(1) != nullptr; }));
  EXPECT_EQ(world.group(1)->status().label.holders, 0U);
  world.group(1)->node_fenced(NodeId{0}, world.started[0]);
  ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
  EXPECT_TRUE(reads(world, 1, 0, 9, 7));
  EXPECT_TRUE(reads(world, 1, 20, 9, 8));
  EXPECT_EQ(world.group(1)->counters().recovered, 0U);
}

TEST(Group, AloneItsLabelKeepsOthersOutUntilItIsBack) {
  World world(7, {});
  boot_all(world);
  world.kill(1);
  world.fence(1, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return world.group(0)->status().members == 1; }));
  ASSERT_TRUE(write(world, 0, 0, 3, 9).ok());
  world.kill(0);
  world.boot(1);
  ASSERT_TRUE(world.run_until([&] { return world.group(1) != nullptr; }));
  world.group(1)->node_fenced(NodeId{0}, world.dead_incarnation);
  EXPECT_FALSE(world.run_until([&] { return world.active(1); })) << "node 0 holds the intents";
  world.boot(0);
  ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
  EXPECT_TRUE(reads(world, 1, 0, 3, 9));
}

// ---- each of these is a fault that was there ----

// Nodes 0 and 1 go on without node 2.
void lose_the_third(World& world) {
  boot_all(world);
  world.kill(2);
  world.fence(2, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 3 && members(world, 1) == 3; }));
}
TEST(Group, AWriteThatADiskMissedIsAnsweredWhenNobodyReadsThatDiskAnyMore) {
  // The disk fails for the leader alone, while it takes over from a node that came back.
  for (std::uint64_t turns = 0; turns < 400; turns += 2) {
    World world(turns, {.nodes = 3});
    boot_all(world);
    ASSERT_TRUE(write(world, 2, 30, 3, 5).ok());
    world.kill(2);
    world.boot(2);
    run_turns(world, turns);
    world.processes[0]->fail(1);
    const auto answered = std::make_shared<bool>(false);
    begin_write(world, 0, 0, 12, 7, answered);
    ASSERT_TRUE(world.run_until([&] { return *answered; }));
    ASSERT_TRUE(reads(world, 1, 0, 12, 7)) << "turn " << turns;
  }
}

TEST(Group, NobodyIsLetInBeforeEveryMemberCouldSendItsIntents) {
  World world(11, {.nodes = 3});
  lose_the_third(world);
  ASSERT_TRUE(write(world, 1, 0, 3, 9).ok());
  world.boot(2);
  world.wire.disconnect(1, 2);
  EXPECT_FALSE(world.run_until([&] { return members(world, 0) == 7; }));
  ASSERT_TRUE(write(world, 1, 0, 3, 10).ok()) << "the others go on";
  world.wire.connect(1, 2);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 7; }));
}

TEST(Group, WhoCannotBeLetInKeepsNobodyFromTakingOver) {
  World world(12, {.nodes = 4});
  boot_all(world);
  world.kill(2);
  world.fence(2, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 0b1011; }));
  world.boot(2);
  world.wire.disconnect(1, 2);
  world.kill(3);
  world.fence(3, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 3 && members(world, 1) == 3; }));
}

TEST(Group, ANodeThatComesAndGoesAtOnceStopsNobody) {
  for (std::uint64_t turns = 0; turns < 200; ++turns) {
    World world(turns, {.nodes = 3});
    lose_the_third(world);
    world.boot(2);
    run_turns(world, turns);
    world.kill(2);
    world.fence(2, world.dead_incarnation);
    const auto answered = std::make_shared<bool>(false);
    begin_write(world, 1, 0, 2, 7, answered);
    ASSERT_TRUE(world.run_until([&] { return *answered; })) << "turn " << turns;
  }
}

TEST(Group, NobodyTakesOverBeforeEveryMemberKnowsThatTheDeadCanStoreNoMore) {
  World world(13, {.nodes = 3});
  boot_all(world);
  world.kill(2);
  world.fence(2, world.dead_incarnation, 0);
  EXPECT_FALSE(world.run_until([&] { return members(world, 0) == 3; }));
  world.fence(2, world.dead_incarnation, 1);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 3; }));
}

TEST(Group, ALeaderMayBeClosedAtAnyTurnOfItsChange) {
  for (std::uint64_t turns = 0; turns < 200; ++turns) {
    World world(turns, {.nodes = 3});
    lose_the_third(world);
    world.boot(2);
    run_turns(world, turns);
    const auto close = [](Group& group) -> Task<void> {
      const Status closed = co_await group.close();
      EXPECT_TRUE(closed.ok());
    };
    world.processes[0]->scope.spawn(close(*world.group(0)));
    ASSERT_TRUE(world.run_until([&] { return !world.active(0) && members(world, 1) == 6; }))
        << "turn " << turns;
    ASSERT_TRUE(world.run_until([&] { return members(world, 2) == 6; })) << "turn " << turns;
  }
}

TEST(Group, WhoTakesOverLearnsOfHigherProposalsThatItDidNotHear) {
  World world(15, {.nodes = 3});
  boot_all(world);
  world.wire.disconnect(0, 1);
  world.group(0)->disk_failed(1);
  for (int round = 0; round < 3; ++round) {
    run_turns(world, 300);
    world.wire.disconnect(0, 2);
    world.wire.connect(0, 2);
  }
  run_turns(world, 300);
  world.kill(0);
  world.fence(0, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 1) == 6 && members(world, 2) == 6; }));
}

TEST(Group, IntentsOfAnEarlierLifeAreForgottenBeforeTheyCouldCountAgain) {
  for (std::uint64_t turns = 0; turns < 200; turns += 2) {
    World world(turns, {});
    boot_all(world);
    ASSERT_TRUE(write(world, 1, 0, 3, 1).ok());  // its intent stays in the memory of node 1
    world.kill(1);
    world.fence(1, world.dead_incarnation);
    ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 1; }));
    ASSERT_TRUE(write(world, 0, 0, 3, 2).ok());
    ASSERT_TRUE(world.run(world.group(0)->close()).ok());
    world.kill(0);
    world.fence(0, world.dead_incarnation);
    for (const std::uint64_t lives : {turns, std::uint64_t{0}}) {
      world.kill(1);
      world.boot(1);
      run_turns(world, lives);
    }
    ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
    ASSERT_TRUE(reads(world, 1, 0, 3, 2)) << "turn " << turns;
  }
}

TEST(Group, WhatTheDeadOweIsHeldUntilItIsPaidEvenIfTheLastOneCloses) {
  for (std::uint64_t turns = 0; turns < 300; turns += 2) {
    World world(turns, {.nodes = 3});
    lose_the_third(world);
    ASSERT_TRUE(write(world, 1, 0, 12, 1).ok());
    ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
    begin_write(world, 1, 0, 12, 2, std::make_shared<bool>(false));
    run_turns(world, 20 + turns % 60);
    world.kill(1);
    world.fence(1, world.dead_incarnation);
    const auto close = [](Group& group) -> Task<void> {
      const Status closed = co_await group.close();
      static_cast<void>(closed);
    };
    world.processes[0]->scope.spawn(close(*world.group(0)));
    run_turns(world, turns);
    world.kill(0);
    world.fence(0, world.dead_incarnation);
    world.boot(2);
    const bool alone = world.run_until([&] { return world.active(2); });
    if (!alone) {
      world.boot(0);
      ASSERT_TRUE(world.run_until([&] { return world.active(2); }));
    }
    // Whatever it is, it is the same with any disk away.
    ASSERT_TRUE(reads(world, 2, 0, 12, 1) || reads(world, 2, 0, 12, 2)) << "turn " << turns;
    const bool old = bool(reads(world, 2, 0, 12, 1));
    world.fail_disk(turns % 4);
    ASSERT_TRUE(reads(world, 2, 0, 12, old ? 1 : 2)) << "turn " << turns;
  }
}

TEST(Group, WhoIsClosingBeginsNoRequestAndEndsThoseUnderWay) {
  World world(14, {});
  boot_all(world);
  const auto answered = std::make_shared<bool>(false);
  begin_write(world, 1, 0, 12, 3, answered);
  const auto closed = std::make_shared<bool>(false);
  const auto close = [](Group& group, std::shared_ptr<bool> done) -> Task<void> {
    const Status status = co_await group.close();
    *done = status.ok();
  };
  world.processes[1]->scope.spawn(close(*world.group(1), closed));
  const Buffer buffer(1);
  const std::array<MutableBytes, 1> parts = {buffer.bytes()};
  EXPECT_EQ(world.run(world.group(1)->read(0, parts)).error().code, Errc::kClosed);
  ASSERT_TRUE(world.run_until([&] { return *closed; }));
  EXPECT_TRUE(*answered);
  EXPECT_TRUE(reads(world, 0, 0, 12, 3));
}

TEST(Group, WholeStripesReadNothingAndSmallWritesReadWhicheverIsLess) {
  World world(8, {.geometry = {
                      .level = Level::kSingleParity, .disks = 6, .chunk_blocks = 4, .stripes = 4}});
  boot_all(world);
  const std::uint64_t before = world.group(0)->counters().blocks_read;
  ASSERT_TRUE(write(world, 0, 0, 20, 1).ok());
  EXPECT_EQ(world.group(0)->counters().blocks_read, before);
  EXPECT_EQ(world.group(0)->counters().whole_stripes, 1U);
  ASSERT_TRUE(write(world, 0, 21, 1, 1).ok());  // old data and check: 2 instead of 4
  EXPECT_EQ(world.group(0)->counters().blocks_read, before + 2);
  EXPECT_EQ(world.group(0)->counters().read_modify, 1U);
  ASSERT_TRUE(write(world, 0, 40, 16, 1).ok());  // the fifth column's 4, not 20
  EXPECT_EQ(world.group(0)->counters().blocks_read, before + 6);
  EXPECT_EQ(world.group(0)->counters().reconstruct, 1U);
}

TEST(Group, ItsLabelHasTheTableOfVirtualDisksAndTheRangeSize) {
  const std::vector<VirtualDiskEntry> entries = {{"filer-a", {0, 4}}, {"filer-b", {4, 2}}};
  World world(16, {.range_stripes = 3, .virtual_disks = entries});
  boot_all(world);
  ASSERT_TRUE(write(world, 0, 0, 3, 5).ok());
  EXPECT_EQ(virtual_disks_of(world.group(1)->status().label), entries);
  EXPECT_EQ(world.group(1)->status().label.range_stripes, 3U);
  World::Connections connections(world);
  const std::vector<DiskId> ids = {{1, 1}, {1, 2}, {1, 3}, {1, 4}};
  const std::vector<VirtualDiskEntry> twice = {{"filer-a", {0, 4}}, {"filer-a", {4, 2}}};
  const Status refused = world.run(
      format_group(connections.devices, ids, kGroup, world.options_.geometry, 3, {1, twice}));
  EXPECT_EQ(refused.error().code, Errc::kInvalid);
}

TEST(VirtualDisk, PartsOfAGroupAreDisksOfTheirOwnOnEveryNode) {
  World world(10, {});
  boot_all(world);
  const auto disk = [&](std::size_t node, std::uint64_t first) {
    return std::make_unique<VirtualDisk>(world.scheduler, *world.group(node), Part{first, 36},
                                         Answer::kWritten, "v" + std::to_string(first));
  };
  const auto here = disk(0, 0);
  const auto there = disk(1, 0);
  const auto other = disk(1, 36);
  EXPECT_EQ(here->block_count(), 36U);
  const auto put = [](BlockDevice& device, std::uint64_t block,
                      std::uint64_t value) -> Task<Status> {
    const Buffer buffer = filled(2, value);
    const std::array<MutableBytes, 1> parts = {buffer.bytes()};
    const Status written = co_await device.write(block, parts);
    if (!written.ok()) {
      co_return written;
    }
    const Status flushed = co_await device.flush();
    co_return flushed;
  };
  const auto get = [](BlockDevice& device, std::uint64_t block,
                      const Buffer& into) -> Task<Status> {
    const std::array<MutableBytes, 1> parts = {into.bytes()};
    const Status read = co_await device.read(block, parts);
    co_return read;
  };
  ASSERT_TRUE(world.run(put(*here, 34, 1)).ok());
  ASSERT_TRUE(world.run(put(*other, 0, 2)).ok());
  EXPECT_EQ(world.group(0)->status().intents, 0U);
  const Buffer buffer(2);
  ASSERT_TRUE(world.run(get(*there, 34, buffer)).ok());
  EXPECT_TRUE(same_bytes(buffer.bytes(), filled(2, 1).bytes()));
  ASSERT_TRUE(world.run(get(*other, 0, buffer)).ok());
  EXPECT_TRUE(same_bytes(buffer.bytes(), filled(2, 2).bytes()));
  EXPECT_TRUE(reads(world, 0, 36, 2, 2));
}

TEST(Group, OnceLocksHaveSettledWritesNeedNoLockMessages) {
  World world(9, {});
  boot_all(world);
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t at = 0; at < 12; ++at) {
      ASSERT_TRUE(write(world, 0, at, 1, at).ok());
    }
  }
  const LockCounters locks = world.group(0)->counters().locks;
  EXPECT_LE(locks.requests, 1U);
  EXPECT_GE(locks.hits + 1, locks.uses);
}

}  // namespace
}  // namespace duet::raid::testing
