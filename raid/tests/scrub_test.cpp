// Bits that turn on the disks: a scrub finds them; a layer with checksums has
// them put right.

#include <gtest/gtest.h>

#include "scrubs.h"

namespace duet::raid::testing {
namespace {

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

// ---- who knows that the data is right ----

TEST(TrustingScrub, WrongCheckDataStaysUnsureUntilTheDataIsSaidToBeRight) {
  for (const Geometry& g : {kSingle, kDouble, kTwo, kThree}) {
    World world(60, {.geometry = g, .step_stripes = 1});
    Model model(world);
    fill_and_flush(world, model);
    const auto columns = static_cast<std::uint32_t>(g.data_columns());
    for (std::uint32_t column = columns; column < g.disks; ++column) {
      for (const std::uint64_t stripe : {7U, 20U}) {
        world.disks[g.disk_of(Stripe{stripe}, column)]->flip_bit(g.disk_block(Stripe{stripe}, 1),
                                                                 column, 2);
      }
    }
    EXPECT_EQ(scrubbed(world, 1).counts, (ScrubCounts{.unsure = 2}));
    EXPECT_EQ(scrubbed(world, 0).counts, (ScrubCounts{.unsure = 2})) << "nothing was changed";
    const ScrubStatus status = scrubbed(world, 1, ScrubKind::kTrustData);
    EXPECT_EQ(status.kind, ScrubKind::kTrustData);
    EXPECT_EQ(status.counts, (ScrubCounts{.trusted = 2}));
    const std::vector<ScrubFinding> found = {{Stripe{7}, 1, columns}, {Stripe{20}, 1, columns}};
    EXPECT_TRUE(std::ranges::is_permutation(status.found, found));
    std::uint64_t put_right = 0;
    for (std::size_t node = 0; node < 2; ++node) {
      for (const std::uint64_t blocks : world.group(node)->counters().put_right) {
        put_right += blocks;
      }
    }
    EXPECT_EQ(put_right, 2 * g.check_columns());
    EXPECT_EQ(scrubbed(world, 0).counts, ScrubCounts());
    model.verify(0);
    model.verify_disks();
  }
}

TEST(TrustingScrub, CheckDataThatIsWrongForSureAndACopyThatIsOutvotedArePutRightAsEver) {
  for (const auto& [g, column] : {std::pair(kDouble, 3U), std::pair(kThree, 0U)}) {
    World world(61, {.geometry = g, .step_stripes = 1});
    Model model(world);
    fill_and_flush(world, model);
    turn_a_bit(world, 7, column, 1);
    EXPECT_EQ(scrubbed(world, 0, ScrubKind::kTrustData).counts, (ScrubCounts{.repaired = 1}));
    model.verify(0);
    model.verify_disks();
  }
}

// To the syndromes it is the data that is wrong.
TEST(TrustingScrub, DataThatIsSaidToBeRightIsNotChangedWhenAllCheckDataMissedAnUpdate) {
  World world(64, {.geometry = kDouble, .nodes = 1, .step_stripes = 1});
  Model model(world);
  fill_and_flush(world, model);
  for (const std::uint32_t column : {3U, 4U}) {
    world.processes[0]->fail_once(kDouble.disk_of(Stripe{7}, column), sim::Fault::kLostWrite, 0);
  }
  model.write(0, 7 * std::uint64_t{kDouble.stripe_blocks()} + 1, 1, WriteKind::kInPlace);
  EXPECT_EQ(scrubbed(world, 0, ScrubKind::kTrustData).counts, (ScrubCounts{.trusted = 1}));
  model.verify(0);
  model.verify_disks();
}

TEST(TrustingScrub, DoesNotBeginWhileADiskIsNotInSync) {
  World world(62, {.geometry = kDouble, .step_stripes = 1});
  Model model(world);
  fill_and_flush(world, model);
  world.group(0)->disk_failed(1);
  ASSERT_TRUE(world.run_until([&] { return !in_sync(world, 1, 1); }));
  EXPECT_EQ(world.group(1)->start_scrub(ScrubKind::kTrustData).error().code, Errc::kRefused);
  EXPECT_FALSE(world.group(1)->status().scrub.running);
  EXPECT_EQ(scrubbed(world, 1).counts, ScrubCounts()) << "the other kind does";
}

// Its data was computed from check data since then, which may have been what was wrong.
TEST(TrustingScrub, LeavesRowsAsTheyAreOnceADiskWasRebuilt) {
  World world(
      63, {.geometry = kDouble, .spares = 1, .step_stripes = 1, .background_blocks_per_s = 20'000});
  Model model(world);
  fill_and_flush(world, model);
  ASSERT_TRUE(world.group(1)->start_scrub(ScrubKind::kTrustData).ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(0)->status().scrub.done > 3; }));
  const std::uint32_t failing = kDouble.disk_of(Stripe{20}, 0);
  world.group(0)->disk_failed(failing);
  ASSERT_TRUE(world.run_until([&] { return !in_sync(world, 1, failing); }));
  ASSERT_TRUE(
      world.run_until([&] { return in_sync(world, 0, failing) && in_sync(world, 1, failing); }));
  ASSERT_LT(world.group(0)->status().scrub.done, 20U);
  turn_a_bit(world, 20, 3, 1);
  world.disks[kDouble.disk_of(Stripe{20}, 4)]->flip_bit(kDouble.disk_block(Stripe{20}, 1), 9, 1);
  ASSERT_TRUE(world.run_until([&] { return scrub_is_over(world, 0) && scrub_is_over(world, 1); }));
  EXPECT_EQ(world.group(0)->status().scrub.counts, (ScrubCounts{.unsure = 1}));
  EXPECT_EQ(scrubbed(world, 0, ScrubKind::kTrustData).counts, (ScrubCounts{.trusted = 1}))
      << "a new one";
}

TEST(TrustingScrub, BesideWritersNothingIsLost) {
  for (const Geometry& g : {kSingle, kDouble, kTwo}) {
    for (std::uint64_t seed = 64; seed < 84; ++seed) {
      World world(seed, {.geometry = g, .step_stripes = 2, .background_blocks_per_s = 40'000});
      Model model(world);
      fill_and_flush(world, model);
      for (std::uint64_t stripe = 0; stripe < g.stripes; stripe += 3) {
        for (auto column = static_cast<std::uint32_t>(g.data_columns()); column < g.disks;
             ++column) {
          world.disks[g.disk_of(Stripe{stripe}, column)]->flip_bit(
              g.disk_block(Stripe{stripe}, stripe % 2), column, 2);
        }
      }
      ASSERT_TRUE(world.group(seed % 2)->start_scrub(ScrubKind::kTrustData).ok());
      sim::Random random(seed);
      while (!scrub_is_over(world, 0) || !scrub_is_over(world, 1)) {
        const std::uint64_t at = random.below(g.block_count() - 2);
        model.write(random.below(2), at, 1 + random.below(2),
                    random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace);
      }
      EXPECT_EQ(world.group(0)->status().scrub.counts.unsure, 0U);
      EXPECT_GT(world.group(0)->status().scrub.counts.trusted, 0U);
      ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
      ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
      model.verify(0);
      model.verify_disks();
      ASSERT_FALSE(HasFailure());
    }
  }
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
        ASSERT_FALSE(same_bytes(bad.bytes(), good.bytes()));
        const Buffer buffer(1);
        bool healed = false;
        for (std::uint32_t attempt = 0; !healed; ++attempt) {
          const Status read = world.run(world.group(1)->read_other(block, attempt, buffer.bytes()));
          ASSERT_TRUE(read.ok()) << "no way is right";
          if (same_bytes(buffer.bytes(), good.bytes())) {
            ASSERT_TRUE(world.run(world.group(1)->repair(block, buffer.bytes())).ok());
            healed = true;
          }
        }
        EXPECT_EQ(world.group(1)->counters().healed, wrong);
        EXPECT_TRUE(same_bytes(block_at(world, 0, block).bytes(), good.bytes()));
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

// Whoever tries one way after the other must come to an end.
TEST(Heal, AGroupThatHasLostTooManyDisksHasNoOtherWays) {
  World world(
      77,
      {.geometry = {.level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 4}});
  Model model(world);
  boot_all(world);
  model.fill(0);
  world.fail_disk(1);
  world.fail_disk(2);
  EXPECT_FALSE(write(world, 0, 0, 6, 5).ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(0)->status().ended.has_value(); }));
  const Buffer block(1);
  const auto other = [&](std::uint32_t attempt) {
    return world.run(world.group(0)->read_other(0, attempt, block.bytes()));
  };
  std::uint32_t attempt = 0;
  for (Status read = Error{Errc::kIo, ""}; !read.ok() && read.error().code == Errc::kIo;) {
    read = other(attempt++);
    ASSERT_LT(attempt, 20U);
  }
}

}  // namespace
}  // namespace duet::raid::testing
