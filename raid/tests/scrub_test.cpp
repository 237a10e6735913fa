// Bits that turn on the disks: a scrub finds them; a layer with checksums has
// them put right.

#include <gtest/gtest.h>

#include "model.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

constexpr Geometry kSingle = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kDouble = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kThree = {.level = Level::kMirror, .disks = 3, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kTwo = {.level = Level::kMirror, .disks = 2, .chunk_blocks = 2, .stripes = 24};

// Turns a bit of one cell, on its disk.
void turn_a_bit(World& world, std::uint64_t stripe, std::uint32_t column, std::uint32_t row) {
  const Geometry& g = world.options_.geometry;
  world.disks[g.disk_of(Stripe{stripe}, column)]->flip_bit(g.disk_block(Stripe{stripe}, row),
                                                           100 + row, 3);
}
ScrubStatus scrubbed(World& world, std::size_t node) {
  EXPECT_TRUE(world.group(node)->start_scrub().ok());
  EXPECT_TRUE(world.run_until([&] {
    for (std::size_t other = 0; other < world.options_.nodes; ++other) {
      if (world.alive(other) &&
          (world.group(other)->status().scrub.running ||
           world.group(other)->status().scrub.done != world.options_.geometry.stripes)) {
        return false;
      }
    }
    return true;
  })) << "the scrub does not end";
  return world.group(node)->status().scrub;
}
void fill_and_flush(World& world, Model& model) {
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
}

TEST(Scrub, OfSoundDisksFindsNothingAndBothNodesDoAShare) {
  for (const Geometry& g : {kSingle, kDouble, kTwo, kThree}) {
    World world(41, {.geometry = g, .step_stripes = 1});
    Model model(world);
    fill_and_flush(world, model);
    const ScrubStatus status = scrubbed(world, 1);
    EXPECT_EQ(status.counts, ScrubCounts());
    EXPECT_EQ(status.shares[0] + status.shares[1], g.stripes);
    EXPECT_GT(status.shares[0], 0U);
    EXPECT_GT(status.shares[1], 0U);
  }
}

TEST(Scrub, WhereTwoCheckColumnsTellWhatIsWrongItIsPutRight) {
  for (const Geometry& g : {kDouble, kThree}) {
    for (std::uint32_t column = 0; column < g.disks; ++column) {
      World world(42, {.geometry = g, .step_stripes = 1});
      Model model(world);
      fill_and_flush(world, model);
      turn_a_bit(world, 7, column, 1);
      turn_a_bit(world, 20, column, 0);
      const ScrubStatus status = scrubbed(world, 0);
      EXPECT_EQ(status.counts, (ScrubCounts{.repaired = 2}));
      const std::vector<ScrubFinding> found = {{Stripe{7}, 1, column}, {Stripe{20}, 0, column}};
      EXPECT_TRUE(std::ranges::is_permutation(status.found, found));
      model.verify(1);
      model.verify_disks();
    }
  }
}

TEST(Scrub, WhereItCannotBeToldNothingIsChanged) {
  for (const Geometry& g : {kSingle, kTwo, kDouble}) {
    World world(43, {.geometry = g, .step_stripes = 1});
    Model model(world);
    fill_and_flush(world, model);
    turn_a_bit(world, 7, 0, 1);
    if (g == kDouble) {
      world.disks[g.disk_of(Stripe{7}, 1)]->flip_bit(g.disk_block(Stripe{7}, 1), 9, 1);
    }
    const auto before = world.cell(world.present_labels().front(), {Stripe{7}, g.disks}, 0, 1);
    const ScrubStatus status = scrubbed(world, 0);
    EXPECT_EQ(status.counts, (ScrubCounts{.unsure = 1}));
    EXPECT_EQ(status.found, (std::vector<ScrubFinding>{{Stripe{7}, 1}}));
    EXPECT_EQ(world.cell(world.present_labels().front(), {Stripe{7}, g.disks}, 0, 1), before);
  }
}

TEST(Scrub, WithADiskLostDoubleParityStillSeesThatSomethingIsWrong) {
  World world(44, {.geometry = kDouble, .step_stripes = 1});
  Model model(world);
  fill_and_flush(world, model);
  world.group(0)->disk_failed(1);
  ASSERT_TRUE(
      world.run_until([&] { return world.group(1)->status().label.members[1].state == 2; }));
  EXPECT_EQ(scrubbed(world, 0).counts, ScrubCounts());
  const std::uint32_t column = kDouble.disk_of(Stripe{3}, 0) == 1 ? 1 : 0;
  turn_a_bit(world, 3, column, 0);
  EXPECT_EQ(scrubbed(world, 1).counts, (ScrubCounts{.unsure = 1}));
}

TEST(Scrub, WhatCannotBeReadIsWrittenAgain) {
  World world(45, {.geometry = kSingle, .nodes = 1, .step_stripes = 1});
  Model model(world);
  fill_and_flush(world, model);
  const std::uint64_t block = kSingle.disk_block(Stripe{5}, 0);
  sim::FaultyBlockDevice& disk = *world.processes[0]->connections.faulty[2];
  disk.arm({.fault = sim::Fault::kReadError, .block = block});
  EXPECT_EQ(scrubbed(world, 0).counts, (ScrubCounts{.unreadable = 2}));
  model.verify_disks();
}

TEST(Scrub, GoesOnWhenANodeDiesAndWhenOneComes) {
  World world(
      46, {.geometry = kDouble, .nodes = 3, .step_stripes = 1, .background_blocks_per_s = 20'000});
  Model model(world);
  fill_and_flush(world, model);
  turn_a_bit(world, 20, 1, 1);
  ASSERT_TRUE(world.group(2)->start_scrub().ok());
  EXPECT_EQ(world.group(2)->start_scrub().error().code, Errc::kExists);
  ASSERT_TRUE(world.run_until([&] { return world.group(1)->status().scrub.done > 3; }));
  model.kill(2);
  world.fence(2, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 3; }));
  world.boot(2);
  ASSERT_TRUE(world.run_until([&] { return members(world, 0) == 7; }));
  ASSERT_TRUE(world.run_until([&] {
    return world.group(2)->status().scrub.done == 24 && world.group(0)->status().scrub.done == 24;
  })) << "the scrub does not end";
  EXPECT_EQ(world.group(0)->status().scrub.counts.repaired, 1U);
  model.verify_disks();
}

TEST(Scrub, StopsWhenItIsTold) {
  World world(47, {.geometry = kSingle, .step_stripes = 1, .background_blocks_per_s = 8'000});
  Model model(world);
  fill_and_flush(world, model);
  EXPECT_EQ(world.group(0)->stop_scrub().error().code, Errc::kNotFound);
  ASSERT_TRUE(world.group(0)->start_scrub().ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(1)->status().scrub.done > 3; }));
  ASSERT_TRUE(world.group(1)->stop_scrub().ok());
  ASSERT_TRUE(world.run_until([&] { return !world.group(0)->status().scrub.running; }));
  EXPECT_LT(world.group(0)->status().scrub.done, 24U);
  EXPECT_EQ(scrubbed(world, 1).done, 24U) << "another one";
}

// ---- self-healing ----

Buffer block_at(World& world, std::size_t node, std::uint64_t block) {
  Buffer buffer(1);
  const std::array<MutableBytes, 1> parts = {buffer.bytes()};
  EXPECT_TRUE(world.run(world.group(node)->read(block, parts)).ok());
  return buffer;
}

TEST(Heal, AWrongBlockIsComputedInOtherWaysUntilOneIsRightAndThenPutRight) {
  for (const Geometry& g : {kSingle, kDouble, kTwo, kThree}) {
    const std::uint32_t most = g.check_columns();
    // One column that is wrong, or as many as the level can lose, the one that
    // is read among them.
    for (std::uint32_t wrong = 1; wrong <= most; ++wrong) {
      for (std::uint32_t other = 1; other < g.disks; ++other) {
        World world(48, {.geometry = g});
        Model model(world);
        fill_and_flush(world, model);
        const std::uint64_t block = 5 * std::uint64_t{g.stripe_blocks()} + 1;
        const Buffer good = block_at(world, 0, block);
        turn_a_bit(world, 5, 0, 1);
        if (wrong == 2) {
          turn_a_bit(world, 5, other, 1);
        }
        const Buffer bad = block_at(world, 0, block);
        ASSERT_FALSE(std::ranges::equal(bad.bytes(), good.bytes()));
        const Buffer buffer(1);
        bool healed = false;
        for (std::uint32_t attempt = 0; !healed; ++attempt) {
          const Status read = world.run(world.group(1)->read_other(block, attempt, buffer.bytes()));
          ASSERT_TRUE(read.ok()) << "no way is right";
          if (std::ranges::equal(buffer.bytes(), good.bytes())) {
            ASSERT_TRUE(world.run(world.group(1)->repair(block, buffer.bytes())).ok());
            healed = true;
          }
        }
        EXPECT_EQ(world.group(1)->counters().healed, wrong);
        EXPECT_TRUE(std::ranges::equal(block_at(world, 0, block).bytes(), good.bytes()));
        ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
        model.verify(0);
        model.verify_disks();
        if (HasFailure()) {
          return;
        }
      }
    }
  }
}

TEST(Heal, ThereAreAsManyWaysAsTheLevelHas) {
  for (const auto& [g, ways] : {std::pair(kSingle, 1U), std::pair(kDouble, 4U), std::pair(kTwo, 1U),
                                std::pair(kThree, 2U)}) {
    World world(49, {.geometry = g});
    Model model(world);
    fill_and_flush(world, model);
    const Buffer buffer(1);
    for (std::uint32_t attempt = 0; attempt < ways; ++attempt) {
      EXPECT_TRUE(world.run(world.group(0)->read_other(0, attempt, buffer.bytes())).ok());
    }
    EXPECT_EQ(world.run(world.group(0)->read_other(0, ways, buffer.bytes())).error().code,
              Errc::kNotFound);
    world.fail_disk(1);
    model.write(0, 0, 3, WriteKind::kInPlace);
    if (g == kSingle || g == kTwo) {
      EXPECT_EQ(world.run(world.group(0)->read_other(0, 0, buffer.bytes())).error().code,
                Errc::kNotFound);
    }
  }
}

TEST(Heal, WhatTheDisksDoNotSayIsNotWritten) {
  World world(50, {.geometry = kSingle});
  Model model(world);
  fill_and_flush(world, model);
  const Buffer old = block_at(world, 0, 9);
  model.write(1, 9, 1, WriteKind::kInPlace);
  EXPECT_EQ(world.run(world.group(0)->repair(9, old.bytes())).error().code, Errc::kRefused);
  EXPECT_EQ(world.group(0)->counters().healed, 0U);
  model.verify(0);
}

}  // namespace
}  // namespace duet::raid::testing
