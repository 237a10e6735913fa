// Stripes that a rebuild has passed by, and what makes them match again.

#include <gtest/gtest.h>

#include "scrubs.h"

namespace duet::raid::testing {
namespace {

bool any_loose(const GroupLabel& label) {
  return std::ranges::any_of(label.loose, [](std::uint64_t word) { return word != 0; });
}
bool all_tight(World& world) {
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    if (world.active(node) && any_loose(world.group(node)->status().label)) {
      return false;
    }
  }
  return true;
}
void ask_the_model(World& world, Model& model) {
  world.needed = [&model](std::uint64_t first, std::uint64_t count) {
    return model.needed(first, count);
  };
}
// Its disk fails, and a spare is rebuilt in its place.
void rebuild_disk(World& world, std::uint32_t disk) {
  const std::size_t asked = world.alive(0) ? 0 : 1;
  world.group(asked)->disk_failed(disk);
  ASSERT_TRUE(world.run_until([&] { return !in_sync(world, asked, disk); }));
  ASSERT_TRUE(world.run_until([&] {
    for (std::size_t node = 0; node < world.options_.nodes; ++node) {
      if (world.alive(node) && (!world.active(node) || !in_sync(world, node, disk))) {
        return false;
      }
    }
    return true;
  })) << "it is not rebuilt";
}
// Nobody needs stripes 6 to 16, and steps of 2 are passed by: stripes 6 to 15.
void make_loose(World& world, Model& model) {
  for (std::uint64_t stripe = 6; stripe < 17; ++stripe) {
    model.discard(stripe);
  }
  rebuild_disk(world, 1);
  for (std::uint64_t stripe = 0; stripe < 24; ++stripe) {
    ASSERT_EQ(is_loose(world.group(1)->status().label, Stripe{stripe}), stripe >= 6 && stripe < 16);
  }
}
void write_here_and_there(World& world, Model& model, std::uint64_t seed) {
  sim::Random random(seed);
  for (int i = 0; i < 60; ++i) {
    const std::uint64_t at = random.below(model.block_count() - 2);
    std::size_t node = random.below(world.options_.nodes);
    node = world.active(node) ? node : 1 - node;
    model.write(node, at, 1 + random.below(2),
                random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace);
  }
}
void verify_all(World& world, Model& model, std::size_t node) {
  model.verify(node);
  for (std::size_t other = 0; other < world.options_.nodes; ++other) {
    if (world.active(other)) {
      ASSERT_TRUE(world.run(world.group(other)->flush()).ok());
    }
  }
  model.verify_disks();
}

TEST(LooseStripes, AScrubMakesThemMatchAndTheLabelSaysSo) {
  constexpr Geometry kWide = {
      .level = Level::kSingleParity, .disks = 7, .chunk_blocks = 2, .stripes = 24};
  for (const Geometry& g : {kSingle, kDouble, kTwo, kThree, kWide}) {
    World world(90, {.geometry = g, .spares = 1, .step_stripes = 2});
    Model model(world);
    ask_the_model(world, model);
    fill_and_flush(world, model);
    make_loose(world, model);
    EXPECT_EQ(scrubbed(world, 1).counts, (ScrubCounts{.loose = 20})) << "ten stripes of two rows";
    ASSERT_TRUE(world.run_until([&] { return all_tight(world); }));
    EXPECT_FALSE(any_loose(world.present_labels().front()));
    EXPECT_EQ(scrubbed(world, 0).counts, ScrubCounts());
    model.verify_disks();
    // Small updates modify check data there again.
    const std::uint64_t before = world.group(0)->counters().read_modify;
    model.write(0, 10 * g.stripe_blocks(), 1, WriteKind::kInPlace);
    EXPECT_EQ(world.group(0)->counters().read_modify - before, g == kWide ? 1U : 0U);
    write_here_and_there(world, model, 90);
    verify_all(world, model, 0);
    world.fail_disk(g == kTwo ? 0 : 2);
    model.verify(1);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(LooseStripes, AnOldScrubSaysNothingOfWhatIsPassedByLater) {
  World world(91, {.geometry = kSingle, .spares = 1, .step_stripes = 2});
  Model model(world);
  ask_the_model(world, model);
  fill_and_flush(world, model);
  EXPECT_EQ(scrubbed(world, 0).counts, ScrubCounts());
  make_loose(world, model);
  ASSERT_TRUE(world.scheduler.run_for(std::chrono::seconds(1), 300'000));
  EXPECT_FALSE(all_tight(world));
  write_here_and_there(world, model, 91);
  verify_all(world, model, 0);
}

// A row that is needed matches, so it has gone wrong: its check data can be what heals it.
TEST(LooseStripes, WhatMayBeNeededIsLeftAsItIsAndTheRegionStaysLoose) {
  for (const ScrubKind kind : {ScrubKind::kCompare, ScrubKind::kTrustData}) {
    World world(92, {.geometry = kSingle, .spares = 1, .step_stripes = 2});
    Model model(world);
    ask_the_model(world, model);
    fill_and_flush(world, model);
    make_loose(world, model);
    const std::uint64_t block = 9 * std::uint64_t{kSingle.stripe_blocks()} + 1;
    model.write(0, block, 1, WriteKind::kInPlace);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    const Buffer good(1);
    const std::array<MutableBytes, 1> parts = {good.bytes()};
    ASSERT_TRUE(world.run(world.group(0)->read(block, parts)).ok());
    turn_a_bit(world, 9, 0, 1);
    if (kind == ScrubKind::kTrustData) {
      EXPECT_EQ(scrubbed(world, 0, ScrubKind::kTrustData).counts, (ScrubCounts{.loose = 20}));
      ASSERT_TRUE(world.run_until([&] { return all_tight(world); }));
      continue;
    }
    EXPECT_EQ(scrubbed(world, 0).counts, (ScrubCounts{.loose = 19, .loose_left = 1}));
    ASSERT_TRUE(
        world.run_until([&] { return !is_loose(world.group(0)->status().label, Stripe{6}); }));
    for (std::uint64_t stripe = 0; stripe < 24; ++stripe) {
      EXPECT_EQ(is_loose(world.group(0)->status().label, Stripe{stripe}),
                stripe == 8 || stripe == 9);
    }
    const Buffer other(1);
    ASSERT_TRUE(world.run(world.group(1)->read_other(block, 0, other.bytes())).ok());
    EXPECT_TRUE(same_bytes(other.bytes(), good.bytes())) << "it heals";
    ASSERT_TRUE(world.run(world.group(1)->repair(block, other.bytes())).ok());
    EXPECT_EQ(scrubbed(world, 1).counts, ScrubCounts());
    ASSERT_TRUE(world.run_until([&] { return all_tight(world); }));
    verify_all(world, model, 0);
  }
}

// At any time while a scrub runs another disk is rebuilt, and passes them by again.
TEST(LooseStripes, WhatARebuildPassesByMeanwhileStaysLoose) {
  for (std::uint64_t reached = 2; reached < 24; reached += 2) {
    SCOPED_TRACE(::testing::Message() << "after " << reached << " stripes");
    World world(
        100 + reached,
        {.geometry = kSingle, .spares = 2, .step_stripes = 2, .background_blocks_per_s = 20'000});
    Model model(world);
    ask_the_model(world, model);
    fill_and_flush(world, model);
    make_loose(world, model);
    ASSERT_TRUE(world.group(reached / 2 % 2)->start_scrub().ok());
    ASSERT_TRUE(world.run_until([&] { return world.group(1)->status().scrub.done >= reached; }));
    rebuild_disk(world, 2);
    ASSERT_TRUE(
        world.run_until([&] { return scrub_is_over(world, 0) && scrub_is_over(world, 1); }));
    ASSERT_TRUE(world.scheduler.run_for(std::chrono::seconds(1), 300'000));
    for (std::uint64_t stripe = 6; stripe < 16; ++stripe) {
      EXPECT_TRUE(is_loose(world.group(0)->status().label, Stripe{stripe})) << stripe;
    }
    write_here_and_there(world, model, reached);
    verify_all(world, model, 0);
    EXPECT_EQ(scrubbed(world, 0).counts.loose_left, 0U);
    ASSERT_TRUE(world.run_until([&] { return all_tight(world); })) << "the next one does it";
    write_here_and_there(world, model, 50 + reached);
    verify_all(world, model, 1);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(LooseStripes, ARowThatIsLostLeavesItsRegionLooseAndNoOther) {
  World world(95, {.geometry = kSingle, .spares = 1, .step_stripes = 2});
  Model model(world);
  ask_the_model(world, model);
  fill_and_flush(world, model);
  make_loose(world, model);
  std::uint32_t lost = 0;
  for (std::uint32_t column = 0; lost < 2; ++column) {
    if (kSingle.disk_of(Stripe{9}, column) != 1) {  // where the spare is now
      make_unreadable(world, 9, column, 1);
      ++lost;
    }
  }
  const ScrubStatus status = scrubbed(world, 0);
  EXPECT_EQ(status.counts.unsure, 1U);
  EXPECT_EQ(status.counts.unreadable, 0U);
  ASSERT_TRUE(
      world.run_until([&] { return !is_loose(world.group(1)->status().label, Stripe{14}); }));
  for (std::uint64_t stripe = 0; stripe < 24; ++stripe) {
    EXPECT_EQ(is_loose(world.group(1)->status().label, Stripe{stripe}), stripe == 8 || stripe == 9)
        << stripe;
  }
}

TEST(LooseStripes, AWriteThatFailsMeanwhileLeavesThemLoose) {
  for (const sim::Fault fault : {sim::Fault::kWriteError, sim::Fault::kFlushError}) {
    for (std::uint64_t skip = 0; skip < 3; ++skip) {
      World world(93, {.geometry = kSingle, .spares = 1, .step_stripes = 2});
      Model model(world);
      ask_the_model(world, model);
      fill_and_flush(world, model);
      make_loose(world, model);
      world.processes[1]->fail_once(0, fault, skip);  // where check data of its steps is
      EXPECT_EQ(scrubbed(world, 0).done, 24U);
      ASSERT_TRUE(world.run_until([&] { return !in_sync(world, 0, 0); }));
      ASSERT_TRUE(world.scheduler.run_for(std::chrono::seconds(1), 300'000));
      EXPECT_FALSE(all_tight(world));
      write_here_and_there(world, model, 93);
      verify_all(world, model, 0);
      ASSERT_FALSE(HasFailure());
    }
  }
}

// At every turn, and at last when the label is written.
TEST(LooseStripes, WhoeverDiesMeanwhileTheOtherBringsItToItsEnd) {
  for (const std::size_t victim : {0U, 1U}) {
    bool over = false;
    for (std::uint64_t turns = 0; !over && turns < 5'000; turns += 3) {
      SCOPED_TRACE(::testing::Message() << "node " << victim << ", turn " << turns);
      World world(300 + turns, {.geometry = kSingle, .spares = 1, .step_stripes = 2});
      Model model(world);
      ask_the_model(world, model);
      fill_and_flush(world, model);
      make_loose(world, model);
      ASSERT_TRUE(world.group(1)->start_scrub().ok());
      std::uint64_t left = turns;
      ASSERT_TRUE(world.scheduler.run_until([&] { return left-- == 0 || all_tight(world); }));
      over = all_tight(world);
      const bool known = world.group(1 - victim)->status().scrub.began != Instant{};
      model.kill(victim);
      world.fence(victim, world.dead_incarnation);
      const NodeSet alone = NodeSet{1} << (1 - victim);
      ASSERT_TRUE(world.run_until([&] { return members(world, 1 - victim) == alone; }));
      if (known) {
        ASSERT_TRUE(world.run_until([&] { return all_tight(world); })) << "it does not end";
      }
      write_here_and_there(world, model, turns);
      verify_all(world, model, 1 - victim);
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_TRUE(over);
  }
}

TEST(LooseStripes, PowerMayBeLostAtEveryTurn) {
  for (const ScrubKind kind : {ScrubKind::kCompare, ScrubKind::kTrustData}) {
    bool over = false;
    for (std::uint64_t turns = 0; !over && turns < 5'000; turns += 3) {
      SCOPED_TRACE(::testing::Message() << "turn " << turns);
      World world(400 + turns, {.geometry = kDouble, .spares = 1, .step_stripes = 2});
      Model model(world);
      ask_the_model(world, model);
      fill_and_flush(world, model);
      make_loose(world, model);
      ASSERT_TRUE(world.group(1)->start_scrub(kind).ok());
      std::uint64_t left = turns;
      ASSERT_TRUE(world.scheduler.run_until([&] { return left-- == 0 || all_tight(world); }));
      over = all_tight(world);
      model.kill(0);
      model.kill(1);
      model.lose_power();
      boot_all(world);
      write_here_and_there(world, model, turns);
      verify_all(world, model, 1);
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_TRUE(over);
  }
}

// It leads, and has seen none of the steps that were done before it came.
TEST(LooseStripes, WhoJoinsLateKnowsWhatIsLeft) {
  World world(94, {.geometry = kSingle,
                   .nodes = 3,
                   .spares = 1,
                   .step_stripes = 2,
                   .background_blocks_per_s = 20'000});
  Model model(world);
  ask_the_model(world, model);
  fill_and_flush(world, model);
  model.kill(0);
  world.fence(0, world.dead_incarnation);
  ASSERT_TRUE(world.run_until([&] { return members(world, 1) == 6; }));
  make_loose(world, model);
  model.write(1, 6 * std::uint64_t{kSingle.stripe_blocks()}, 1, WriteKind::kInPlace);
  ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
  turn_a_bit(world, 6, 0, 0);
  ASSERT_TRUE(world.group(2)->start_scrub().ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(1)->status().scrub.done >= 10; }));
  world.boot(0);
  ASSERT_TRUE(world.run_until([&] { return world.active(0) && members(world, 0) == 7; }));
  EXPECT_TRUE(world.group(0)->status().leads);
  EXPECT_FALSE(scrub_is_over(world, 0));
  ASSERT_TRUE(world.run_until([&] { return scrub_is_over(world, 0) && scrub_is_over(world, 1); }));
  ASSERT_TRUE(
      world.run_until([&] { return !is_loose(world.group(1)->status().label, Stripe{14}); }));
  for (std::uint64_t stripe = 0; stripe < 24; ++stripe) {
    EXPECT_EQ(is_loose(world.group(1)->status().label, Stripe{stripe}), stripe == 6 || stripe == 7)
        << stripe;
  }
}

}  // namespace
}  // namespace duet::raid::testing
