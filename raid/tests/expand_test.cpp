// A group that is spread over more disks while it is used.

#include <gtest/gtest.h>

#include "model.h"
#include "raid/virtual_disk.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

constexpr Geometry kSingle = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kDouble = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 24};

GroupLabel label(World& world, std::size_t node) { return world.group(node)->status().label; }

// `node` gives the group disks [first, first + count), which all nodes know.
Status expand(World& world, std::size_t node, std::size_t first, std::size_t count,
              bool force = false) {
  std::vector<BlockDevice*> devices;
  std::vector<DiskId> ids;
  for (std::size_t i = first; i < first + count; ++i) {
    devices.push_back(world.processes[node]->connections.devices[i]);
    ids.push_back({0xADD, i});
    world.named[ids.back()] = i;
  }
  return world.run(world.group(node)->expand(devices, ids, force));
}
// All nodes that live see so many disks, and nothing that moves.
bool over(World& world, std::size_t disks) {
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    if (world.alive(node) && (!world.active(node) || label(world, node).disks != disks ||
                              is_expanding(label(world, node)))) {
      return false;
    }
  }
  return true;
}
bool moved(World& world, std::size_t node, std::uint64_t stripes) {
  const GroupLabel now = label(world, node);
  return !is_expanding(now) || now.expanded >= stripes;
}
DiskState state(World& world, std::size_t node, std::uint32_t disk) {
  return static_cast<DiskState>(label(world, node).members[disk].state);
}
void verify(World& world, Model& model, std::size_t node) {
  model.verify(node);
  ASSERT_TRUE(world.run(world.group(node)->flush()).ok());
  model.verify_disks();
}
// Everything there is now, the new room too; then as many disks fail as may.
void verify_expanded(World& world, Model& model, std::size_t node) {
  model.grow(world.group(node)->geometry().block_count());
  verify(world, model, node);
  sim::Random random(5);
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t at = random.below(model.block_count() - 3);
    model.write(node, at, 1 + random.below(3),
                random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace);
  }
  verify(world, model, node);
  const std::uint32_t disks = label(world, node).disks;
  for (std::uint32_t i = 0; i < world.options_.geometry.check_columns(); ++i) {
    world.fail_disk(world.member(label(world, node), disks - 1 - 2 * i));
  }
  model.verify(node);
}
WorldOptions options(const Geometry& g, std::size_t blank) {
  return {.geometry = g,
          .pages = 4 * (g.disks + 8) * g.chunk_blocks,
          .blank = blank,
          .step_stripes = 2,
          .background_blocks_per_s = 100'000};
}

// Reads and writes of all nodes, anywhere, or where stripes are being moved.
void use_until_over(World& world, Model& model, std::size_t disks, std::uint64_t seed, bool near) {
  sim::Random random(seed);
  int busy = 0;
  for (int i = 0; i < 6000 && !over(world, disks); ++i) {
    const std::size_t node = random.below(world.options_.nodes);
    std::uint64_t at = random.below(model.block_count() - 20);
    if (near) {
      const GroupLabel now = label(world, node);
      const std::uint64_t front = now.expanded * geometry_of(now).stripe_blocks();
      at = std::min(model.block_count() - 20, front - std::min<std::uint64_t>(front, 20) + at % 60);
    }
    const std::size_t count = 1 + random.below(random.one_in(4) ? 20 : 3);
    const auto done = [&busy](const Status& status) {
      EXPECT_TRUE(status.ok());
      --busy;
    };
    if (busy < 8 && random.one_in(3)) {
      ++busy;
      model.begin_read(node, at, count, done);
    } else if (busy < 8 && !model.writing(at, count)) {
      ++busy;
      model.begin_write(node, at, count, random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace,
                        done);
    }
    run_turns(world, 1 + random.below(30));
  }
  ASSERT_TRUE(world.run_until([&] { return busy == 0 && over(world, disks); }))
      << "seed " << seed << what(world);
}

// Check data is wrong in one row, and in another a block cannot be read: what can be read is moved
// as it is, and only the block is computed.  So where other columns cannot be read in other rows.
TEST(Expand, ABlockThatCannotBeReadIsComputedAndNoOther) {
  for (const std::uint32_t columns : {1U, 2U}) {
    World world(9, options(kSingle, 1));
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    const Stripe stripe{7};
    if (columns == 1) {
      world.disks[kSingle.disk_of(stripe, 3)]->flip_bit(kSingle.disk_block(stripe, 0), 9, 1);
    }
    for (std::uint32_t column = 0; column < columns; ++column) {
      for (const auto& process : world.processes) {
        process->connections.faulty[kSingle.disk_of(stripe, column)]->arm(
            {.fault = sim::Fault::kReadError,
             .block = kSingle.disk_block(stripe, 1 - column),
             .until_written = true});
      }
    }
    ASSERT_TRUE(expand(world, 0, 4, 1).ok());
    ASSERT_TRUE(world.run_until([&] { return over(world, 5); })) << what(world);
    for (const auto& process : world.processes) {
      for (const auto& disk : process->connections.faulty) {
        disk->disarm();
      }
    }
    verify_expanded(world, model, 1);
    ASSERT_FALSE(HasFailure());
  }
}

// It was there before the disks came, and comes into the view when they are members.
TEST(Expand, ANodeThatComesLooksForTheNewDisksBeforeItReadsOrWrites) {
  for (const bool reads_first : {true, false}) {
    World world(3, options(kSingle, 2));
    Model model(world);
    world.boot(0);
    ASSERT_TRUE(world.run_until([&] { return world.group(0) != nullptr; }));
    world.fence(1, 1);
    ASSERT_TRUE(world.run_until([&] { return world.active(0); }));
    model.fill(0);
    world.boot(1);
    world.wire.disconnect(0, 1);
    ASSERT_TRUE(world.run_until([&] { return world.group(1) != nullptr; }));
    ASSERT_TRUE(expand(world, 0, 4, 2).ok());
    ASSERT_TRUE(world.run_until([&] { return !is_expanding(label(world, 0)); }));
    world.wire.connect(0, 1);
    ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
    if (reads_first) {
      model.verify(1);
    } else {
      model.write(1, 1, 1, WriteKind::kInPlace);
    }
  }
}

struct Shape {
  Geometry geometry;
  std::size_t more;
  std::uint32_t range_stripes;
};
class ExpandShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(ExpandShapes, DataIsWhereItWasAndTheRoomIsZero) {
  const Geometry g = GetParam().geometry;
  const std::size_t more = GetParam().more;
  const std::uint32_t range = GetParam().range_stripes;
  WorldOptions with = options(g, more);
  with.range_stripes = range;
  with.step_stripes = 2 * range;
  World world(61, with);
  Model model(world);
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(expand(world, 1, g.disks, more).ok());
  EXPECT_EQ(world.group(0)->geometry(), g) << "the capacity that it had";
  ASSERT_TRUE(world.run_until([&] { return over(world, g.disks + more); }));
  EXPECT_EQ(world.group(0)->geometry().disks, g.disks + more);
  EXPECT_TRUE(world.run_until([&] {
    return world.group(0)->counters().moved + world.group(1)->counters().moved == g.stripes;
  })) << "each once";
  verify_expanded(world, model, 0);
}

TEST_P(ExpandShapes, ReadsAndWritesGoOnMeanwhile) {
  const Geometry g = GetParam().geometry;
  const std::size_t more = GetParam().more;
  const std::uint32_t range = GetParam().range_stripes;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    WorldOptions with = options(g, more);
    with.nodes = 2 + seed % 3;
    with.range_stripes = range;
    with.step_stripes = 2 * range;
    with.background_blocks_per_s = seed % 2 == 0 ? 20'000 : 0;
    World world(seed, with);
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(expand(world, 1, g.disks, more).ok());
    use_until_over(world, model, g.disks + more, seed, false);
    verify_expanded(world, model, 1);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExpandShapes,
                         ::testing::Values(Shape{kSingle, 1, 1}, Shape{kDouble, 1, 1},
                                           Shape{kSingle, 3, 2}, Shape{kDouble, 4, 1}));

// How long 24 stripes take two nodes.
Duration duration_of_expansion(std::uint64_t blocks_per_s) {
  WorldOptions with = options(kSingle, 1);
  with.background_blocks_per_s = blocks_per_s;
  World world(62, with);
  boot_all(world);
  const Instant before = world.scheduler.now();
  EXPECT_TRUE(expand(world, 1, 4, 1).ok());
  EXPECT_TRUE(world.run_until([&] { return over(world, 5); }));
  return world.scheduler.now() - before;
}

TEST(Expand, TheRateIsKept) {
  // Of 5 disks 2 blocks are written for each stripe, and as many read of 4: 432 in all, by each
  // node 4 steps of 54, 54 ms each.  The first of each waits for nothing.
  const Duration slow = duration_of_expansion(1'000);
  EXPECT_GE(slow, std::chrono::milliseconds(3 * 54));
  EXPECT_LT(slow, std::chrono::milliseconds(6 * 54));
  EXPECT_LT(duration_of_expansion(0), std::chrono::milliseconds(54));
}

TEST(Expand, AScrubMeanwhileSharesTheRate) {
  WorldOptions with = options(kSingle, 1);
  with.background_blocks_per_s = 1'000;
  World world(63, with);
  boot_all(world);
  const Instant before = world.scheduler.now();
  ASSERT_TRUE(expand(world, 1, 4, 1).ok());
  ASSERT_TRUE(world.group(0)->start_scrub().ok());
  ASSERT_TRUE(
      world.run_until([&] { return over(world, 5) && !world.group(0)->status().scrub.running; }));
  // Each node moves 4 steps of 54 ms and looks at 12 stripes, 10 ms each; for its last step it does
  // not wait.
  EXPECT_GE(world.scheduler.now() - before, std::chrono::milliseconds(4 * 54 + 12 * 10 - 54));
}

// With so many ranges each node is the arbiter of some: a lock comes by another way than the label.
TEST(Expand, WhoGetsALockKnowsWhereItsStripesAreByThen) {
  constexpr Geometry kLong = {
      .level = Level::kSingleParity, .disks = 3, .chunk_blocks = 1, .stripes = 190};
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    WorldOptions with = options(kLong, 1);
    with.nodes = 3 + seed % 2;
    with.background_blocks_per_s = 0;
    World world(seed, with);
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(expand(world, 1, 3, 1).ok());
    use_until_over(world, model, 4, seed, true);
    verify_expanded(world, model, 1);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

TEST(Expand, BothNodesMoveStripes) {
  Geometry g = kSingle;
  g.stripes = 300;
  WorldOptions with = options(g, 1);
  with.background_blocks_per_s = 0;
  World world(62, with);
  boot_all(world);
  ASSERT_TRUE(expand(world, 0, 4, 1).ok());
  ASSERT_TRUE(world.run_until([&] { return moved(world, 0, 250); }));
  const ExpansionStatus status = world.group(0)->status().expansion;
  EXPECT_EQ(status.disks_before, 4U);
  EXPECT_EQ(status.disks_after, 5U);
  EXPECT_EQ(status.stripes, 300U);
  EXPECT_GE(status.done, 250U);
  EXPECT_GT(status.shares[0], 60U);
  EXPECT_GT(status.shares[1], 60U);
  ASSERT_TRUE(world.run_until([&] { return over(world, 5); }));
  EXPECT_EQ(world.group(0)->status().expansion.disks_before, 0U);
}

TEST(Expand, ADiskMayFailAtAnyTimeAndNothingMovesBeforeItIsRebuilt) {
  for (const Geometry& g : {kSingle, kDouble}) {
    for (std::uint64_t seed = 0; seed < 16; ++seed) {
      WorldOptions with = options(g, 1);
      with.spares = 1;
      World world(seed, with);
      Model model(world);
      boot_all(world);
      model.fill(0);
      ASSERT_TRUE(expand(world, 1, g.disks + 1, 1).ok());
      const std::uint64_t enough = seed + seed / 2;
      ASSERT_TRUE(world.run_until([&] { return moved(world, 0, enough); }));
      run_turns(world, world.scheduler.random().below(200));
      // One that it had, or the new one.
      const auto disk = static_cast<std::uint32_t>(seed % (g.disks + 1));
      world.group(seed % 2)->disk_failed(disk);
      ASSERT_TRUE(world.run_until([&] { return state(world, 0, disk) != DiskState::kInSync; }));
      model.verify(1);
      const std::uint64_t at = world.scheduler.random().below(model.block_count() - 9);
      model.write(0, at, 9, WriteKind::kInPlace);
      ASSERT_TRUE(world.run_until([&] { return state(world, 0, disk) == DiskState::kInSync; }));
      model.verify(0);
      ASSERT_TRUE(world.run_until([&] { return over(world, g.disks + 1); })) << "seed " << seed;
      verify_expanded(world, model, 1);
      ASSERT_FALSE(HasFailure()) << "seed " << seed << ", " << g.disks << " disks";
    }
  }
}

TEST(Expand, WithoutASpareItWaitsAndSaysSo) {
  World world(63, options(kSingle, 2));
  Model model(world);
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(expand(world, 1, 4, 1).ok());
  ASSERT_TRUE(world.run_until([&] { return moved(world, 0, 6); }));
  EXPECT_FALSE(world.group(0)->status().expansion.waits);
  world.fail_disk(2);
  model.write(0, 0, 48, WriteKind::kInPlace);  // somebody has to notice
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 2) == DiskState::kFailed; }));
  EXPECT_FALSE(world.run_until([&] { return over(world, 5); }));
  EXPECT_TRUE(world.group(0)->status().expansion.waits);
  const DiskId id = {0xADD, 99};
  world.named[id] = 5;
  BlockDevice& device = *world.processes[1]->connections.devices[5];
  ASSERT_TRUE(world.run(world.group(1)->replace(2, device, id, false)).ok());
  ASSERT_TRUE(world.run_until([&] { return over(world, 5); }));
  verify_expanded(world, model, 0);
}

TEST(Expand, WhatCannotBeReadHoldsItUpAndNothingElse) {
  Geometry g = kSingle;
  g.stripes = 120;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    WorldOptions with = options(g, 1);
    with.nodes = 2 + seed % 2;
    with.background_blocks_per_s = 0;
    World world(seed, with);
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    constexpr std::uint64_t kBad = 70;  // a stripe that two disks do not give
    const auto arm = [&](bool bad) {
      for (const auto& process : world.processes) {
        for (const std::size_t disk : {1U, 3U}) {
          sim::FaultyBlockDevice& faulty = *process->connections.faulty[disk];
          bad ? faulty.arm({.block = g.disk_block(Stripe{kBad}, 0), .always = true})
              : faulty.disarm();
        }
      }
    };
    arm(true);
    ASSERT_TRUE(expand(world, 1, 4, 1).ok());
    const auto trouble = [&](std::size_t node) {
      return world.group(node)->status().expansion.trouble.has_value();
    };
    ASSERT_TRUE(
        world.run_until([&] { return trouble(0) || trouble(1) || trouble(with.nodes - 1); }));
    run_turns(world, 3'000);
    for (std::uint64_t at = 0; at + 6 <= g.block_count(); at += 6) {
      if (at / g.stripe_blocks() != kBad) {
        model.write(seed % 2, at, 6, WriteKind::kInPlace);
        ASSERT_FALSE(HasFailure()) << "block " << at << ", seed " << seed << what(world);
      }
    }
    arm(false);
    ASSERT_TRUE(world.run_until([&] { return over(world, 5); })) << "seed " << seed << what(world);
    verify_expanded(world, model, 0);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

TEST(Expand, AScrubMeanwhileFindsThatEverythingMatches) {
  WorldOptions with = options(kDouble, 1);
  with.background_blocks_per_s = 50'000;
  World world(64, with);
  Model model(world);
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(expand(world, 1, 5, 1).ok());
  for (int i = 0; i < 40 && !over(world, 6); ++i) {
    const Status started = world.group(0)->start_scrub();
    static_cast<void>(started);  // it may run still
    model.write(0, 7, 30, WriteKind::kInPlace);
    run_turns(world, 400);
  }
  ASSERT_TRUE(
      world.run_until([&] { return over(world, 6) && !world.group(0)->status().scrub.running; }));
  EXPECT_GT(world.group(0)->counters().scrubbed, 20U);
  EXPECT_EQ(world.group(0)->status().scrub.counts, ScrubCounts());
  verify_expanded(world, model, 0);
}

TEST(Expand, WhoeverDiesTheOthersGoOnAndWhenAllDieItGoesOnWhereTheLabelSays) {
  for (const bool everybody : {false, true}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      World world(seed, options(kSingle, 2));
      Model model(world);
      boot_all(world);
      model.fill(0);
      ASSERT_TRUE(expand(world, 1, 4, 2).ok());
      ASSERT_TRUE(world.run_until([&] { return moved(world, 0, seed); }));
      run_turns(world, world.scheduler.random().below(100));
      model.kill(seed % 2);
      if (everybody) {
        model.kill(1 - seed % 2);
        model.lose_power();
        boot_all(world);
        EXPECT_TRUE(moved(world, 0, seed));
      } else {
        world.fence(seed % 2, world.dead_incarnation);
      }
      ASSERT_TRUE(world.run_until([&] { return over(world, 6); }))
          << "seed " << seed << what(world);
      verify_expanded(world, model, everybody ? 0 : 1 - seed % 2);
      ASSERT_FALSE(HasFailure()) << "seed " << seed;
    }
  }
}

TEST(Expand, OneAfterTheOther) {
  World world(65, options(kSingle, 3));
  Model model(world);
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(expand(world, 1, 4, 1).ok());
  EXPECT_EQ(expand(world, 1, 5, 2).error().code, Errc::kExists);
  ASSERT_TRUE(world.run_until([&] { return over(world, 5); }));
  model.grow(world.group(1)->geometry().block_count());
  model.fill(1);
  ASSERT_TRUE(expand(world, 0, 5, 2).ok());
  ASSERT_TRUE(world.run_until([&] { return over(world, 7); }));
  verify_expanded(world, model, 1);
}

TEST(Expand, WhatCannotBeIsRefusedAndChangesNothing) {
  WorldOptions with = options(kSingle, 2);
  with.spares = 1;
  World world(66, with);
  boot_all(world);
  EXPECT_EQ(expand(world, 0, 5, 0).error().code, Errc::kInvalid);
  EXPECT_EQ(expand(world, 0, 4, 1).error().code, Errc::kExists) << "a spare";
  EXPECT_EQ(expand(world, 0, 3, 1, true).error().code, Errc::kExists) << "a member";
  std::vector<BlockDevice*> twice = {world.processes[0]->connections.devices[5],
                                     world.processes[0]->connections.devices[5]};
  const std::vector<DiskId> ids = {{0xADD, 5}, {0xADD, 6}};
  EXPECT_EQ(world.run(world.group(0)->expand(twice, ids, false)).error().code, Errc::kExists);
  sim::SimDisk small("small", kSingle.disk_blocks() - 1);
  sim::SimBlockDevice device(world.scheduler, small);
  twice = {&device};
  EXPECT_EQ(world.run(world.group(0)->expand(twice, std::span(ids).first(1), false)).error().code,
            Errc::kNoSpace);
  EXPECT_EQ(label(world, 0).disks, 4U);
  world.group(0)->disk_failed(1);
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 1) != DiskState::kInSync; }));
  EXPECT_EQ(expand(world, 0, 5, 1).error().code, Errc::kRefused);
  world.kill(0);
  world.kill(1);
}

TEST(Expand, MemoryThatHoldsNoStripeOfSoManyDisksIsRefused) {
  WorldOptions with = options(kSingle, 1);
  with.pages = 4 * kSingle.chunk_blocks;
  World world(67, with);
  boot_all(world);
  EXPECT_EQ(expand(world, 0, 4, 1).error().code, Errc::kNoSpace);
}

// It has read the labels before, and what it is asked for at once is computed with the new disk.
TEST(Expand, WhoJoinsLooksForTheNewDiskBeforeItReads) {
  WorldOptions with = options(kSingle, 1);
  with.background_blocks_per_s = 4'000;
  World world(70, with);
  Model model(world);
  boot_all(world);
  model.fill(0);
  model.kill(1);
  world.fence(1, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 1; }));
  world.boot(1);
  world.wire.disconnect(0, 1);
  ASSERT_TRUE(world.run_until([&] { return world.group(1) != nullptr; }));
  ASSERT_TRUE(expand(world, 0, 4, 1).ok());
  ASSERT_TRUE(world.run_until([&] { return moved(world, 0, 6); }));
  world.group(0)->disk_failed(2);
  ASSERT_TRUE(world.run_until([&] { return state(world, 0, 2) == DiskState::kFailed; }));
  ASSERT_TRUE(is_expanding(label(world, 0)));
  world.wire.connect(0, 1);
  ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
  model.verify(1);
  EXPECT_EQ(label(world, 1).disks, 5U);
}

TEST(Expand, AMirrorIsRefused) {
  World world(68,
              options({.level = Level::kMirror, .disks = 2, .chunk_blocks = 4, .stripes = 6}, 1));
  boot_all(world);
  EXPECT_EQ(expand(world, 0, 2, 1).error().code, Errc::kNotSupported);
}

TEST(Expand, AVirtualDiskKeepsItsBlocksAndAnotherGetsTheRoom) {
  WorldOptions with = options(kSingle, 1);
  with.virtual_disks = {{"a", {0, kSingle.block_count()}}};
  World world(69, with);
  Model model(world);
  boot_all(world);
  model.fill(0);
  EXPECT_EQ(world.run(world.group(1)->add_virtual_disk("b", 1)).error().code, Errc::kNoSpace);
  EXPECT_EQ(world.run(world.group(1)->add_virtual_disk("a", 1)).error().code, Errc::kExists);
  EXPECT_EQ(world.run(world.group(1)->add_virtual_disk("b b", 1)).error().code, Errc::kInvalid);
  ASSERT_TRUE(expand(world, 1, 4, 1).ok());
  EXPECT_EQ(world.run(world.group(1)->add_virtual_disk("b", 1)).error().code, Errc::kNoSpace);
  ASSERT_TRUE(world.run_until([&] { return over(world, 5); }));
  ASSERT_TRUE(world.run(world.group(1)->add_virtual_disk("b", 10)).ok());
  const std::vector<VirtualDiskEntry> entries = virtual_disks_of(label(world, 0));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0], with.virtual_disks[0]);
  EXPECT_EQ(entries[1], (VirtualDiskEntry{"b", {kSingle.block_count(), 16}}));
  EXPECT_TRUE(reads(world, 0, kSingle.block_count(), 16, 0));
  VirtualDisk there(world.scheduler, *world.group(1), entries[1].part, Answer::kWritten, "b");
  EXPECT_EQ(there.block_count(), 16U);
  verify(world, model, 0);
}

}  // namespace
}  // namespace duet::raid::testing
