// Blocks that cannot be read: each costs itself, and no other block of its column.

#include <gtest/gtest.h>

#include "scrubs.h"

namespace duet::raid::testing {
namespace {

constexpr std::uint64_t kStripe = 5;

void turn_check_data(World& world, std::uint32_t row) {
  turn_a_bit(world, kStripe, world.options_.geometry.data_columns(), row);
}
ConstBytes cell(World& world, std::uint32_t column, std::uint32_t row) {
  const Geometry& g = world.options_.geometry;
  return world.disks[g.disk_of(Stripe{kStripe}, column)]->block(g.disk_block(Stripe{kStripe}, row));
}
std::vector<std::byte> copy(ConstBytes bytes) { return {bytes.begin(), bytes.end()}; }
void read_whole_stripe(World& world, Model& model) {
  const std::size_t width = world.options_.geometry.stripe_blocks();
  bool over = false;
  model.begin_read(0, kStripe * width, width, [&over](const Status& status) {
    EXPECT_TRUE(status.ok());
    over = true;
  });
  ASSERT_TRUE(world.run_until([&over] { return over; }));
}

TEST(Unreadable, IsWrittenAgainByAScrub) {
  for (const Geometry& g : {kSingle, kDouble, kTwo, kThree}) {
    for (std::uint32_t column = 0; column < g.disks; ++column) {
      World world(45, {.geometry = g, .nodes = 1, .step_stripes = 1});
      Model model(world);
      fill_and_flush(world, model);
      make_unreadable(world, kStripe, column, 1);
      const ScrubStatus status = scrubbed(world, 0);
      EXPECT_EQ(status.counts, (ScrubCounts{.unreadable = 1}));
      EXPECT_EQ(status.found, (std::vector<ScrubFinding>{{Stripe{kStripe}, 1, column}}));
      EXPECT_EQ(scrubbed(world, 0).counts, ScrubCounts());
      model.verify_disks();
    }
  }
}

// What is wrong there stays in its row: the column's other blocks are not computed from it.
TEST(Unreadable, DoesNotPutWhatIsWrongInAnotherRowOverWhatIsRight) {
  for (const Geometry& g : {kSingle, kDouble, kThree}) {
    World world(46, {.geometry = g, .nodes = 1, .step_stripes = 1});
    Model model(world);
    fill_and_flush(world, model);
    turn_check_data(world, 0);  // of the mirror: the copy that is taken when the first is not there
    make_unreadable(world, kStripe, 0, 1);
    const std::vector<std::byte> right = copy(cell(world, 0, 0));
    EXPECT_EQ(scrubbed(world, 0).counts, g == kSingle
                                             ? (ScrubCounts{.unreadable = 1, .unsure = 1})
                                             : (ScrubCounts{.repaired = 1, .unreadable = 1}));
    EXPECT_EQ(copy(cell(world, 0, 0)), right);
    model.verify(0);
    if (g != kSingle) {
      model.verify_disks();
    }
    ASSERT_FALSE(HasFailure());
  }
}

TEST(Unreadable, InSeveralColumnsIsWrittenAgainRowByRow) {
  World world(47, {.geometry = kSingle, .nodes = 1, .step_stripes = 1});
  Model model(world);
  fill_and_flush(world, model);
  make_unreadable(world, kStripe, 1, 0);
  make_unreadable(world, kStripe, 2, 1);
  EXPECT_EQ(scrubbed(world, 0).counts, (ScrubCounts{.unreadable = 2}));
  model.verify(0);
  model.verify_disks();
}

TEST(Unreadable, MoreThanARowCanLoseIsCountedAndAScrubGoesOn) {
  World world(48, {.geometry = kSingle, .nodes = 2, .step_stripes = 8});
  Model model(world);
  fill_and_flush(world, model);
  make_unreadable(world, kStripe, 1, 0);
  make_unreadable(world, kStripe, 2, 0);
  make_unreadable(world, kStripe, 2, 1);
  turn_check_data(world, 0);
  turn_a_bit(world, 3, 0, 1);
  const std::vector<std::byte> before = copy(cell(world, 1, 0));
  const ScrubStatus status = scrubbed(world, 0);
  EXPECT_EQ(status.counts, (ScrubCounts{.unreadable = 1, .unsure = 2})) << "each once";
  const std::vector<ScrubFinding> found = {
      {Stripe{3}, 1}, {Stripe{kStripe}, 1, 2}, {Stripe{kStripe}, 0, 1}};
  EXPECT_TRUE(std::ranges::is_permutation(status.found, found));
  EXPECT_EQ(copy(cell(world, 1, 0)), before) << "nothing is written there";
}

// Disks that only were away are no damage.
TEST(Unreadable, WhatCanBeReadAgainSoonIsNotCounted) {
  World world(49, {.geometry = kSingle, .nodes = 1, .step_stripes = 1});
  Model model(world);
  fill_and_flush(world, model);
  make_unreadable(world, kStripe, 1, 0);
  make_unreadable(world, kStripe, 2, 0);
  ASSERT_TRUE(world.group(0)->start_scrub().ok());
  ASSERT_TRUE(world.run_until([&] { return world.group(0)->status().scrub.trouble.has_value(); }));
  for (const auto& disk : world.processes[0]->connections.faulty) {
    disk->disarm();
  }
  ASSERT_TRUE(world.run_until([&] { return scrub_is_over(world, 0); }));
  EXPECT_EQ(world.group(0)->status().scrub.counts, ScrubCounts());
}

TEST(Unreadable, IsComputedForAReaderAndNoOther) {
  for (const Geometry& g : {kSingle, kDouble, kTwo, kThree}) {
    World world(50, {.geometry = g, .nodes = 1});
    Model model(world);
    fill_and_flush(world, model);
    turn_check_data(world, 0);
    make_unreadable(world, kStripe, 0, 1);
    read_whole_stripe(world, model);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(Unreadable, InDifferentRowsCanBeReadAtOnce) {
  World world(51, {.geometry = kSingle, .nodes = 1});
  Model model(world);
  fill_and_flush(world, model);
  make_unreadable(world, kStripe, 1, 0);
  make_unreadable(world, kStripe, 2, 1);
  read_whole_stripe(world, model);
}

// Of an update that goes over both rows: what it keeps is computed, row by row.
TEST(Unreadable, InDifferentRowsDoesNotStopAnUpdate) {
  for (const WriteKind kind : {WriteKind::kInPlace, WriteKind::kFresh}) {
    World world(52, {.geometry = kSingle, .nodes = 1});
    Model model(world);
    fill_and_flush(world, model);
    make_unreadable(world, kStripe, 1, 0);
    make_unreadable(world, kStripe, 2, 1);
    model.write(0, kStripe * kSingle.stripe_blocks(), 2, kind);
    model.verify(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    model.verify_disks();
    ASSERT_FALSE(HasFailure());
  }
}

TEST(Unreadable, AnUpdateTakesWhatItKeepsFromTheDisksWhereItCanBeRead) {
  World world(53, {.geometry = kSingle, .nodes = 1});
  Model model(world);
  fill_and_flush(world, model);
  turn_check_data(world, 0);
  make_unreadable(world, kStripe, 1, 1);
  model.write(0, kStripe * kSingle.stripe_blocks(), 2, WriteKind::kInPlace);
  model.verify(0);
  ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
  model.verify_disks();
}

TEST(Unreadable, WhatAnUpdateReplacesNeedNotBeReadable) {
  World world(54, {.geometry = kSingle, .nodes = 1});
  Model model(world);
  fill_and_flush(world, model);
  make_unreadable(world, kStripe, 0, 0);
  make_unreadable(world, kStripe, 1, 0);
  model.write(0, kStripe * kSingle.stripe_blocks(), 3, WriteKind::kInPlace);
  model.verify(0);
  ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
  model.verify_disks();
}

}  // namespace
}  // namespace duet::raid::testing
