// A disk that failed comes back, and gets only what it has missed.

#include <gtest/gtest.h>

#include "model.h"
#include "seeds.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

constexpr Geometry kSingle = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kDouble = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 24};
constexpr Geometry kCopies = {
    .level = Level::kMirror, .disks = 3, .chunk_blocks = 4, .stripes = 24};
constexpr std::uint32_t kDisk = 2;  // the one that comes and goes

LabelDisk member(World& world, std::size_t node, std::uint32_t disk = kDisk) {
  return world.group(node)->status().label.members[disk];
}
DiskState state(World& world, std::size_t node, std::uint32_t disk = kDisk) {
  return static_cast<DiskState>(member(world, node, disk).state);
}
// At all nodes that live.
bool all_in_sync(World& world) {
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    if (!world.alive(node)) {
      continue;
    }
    if (!world.active(node)) {
      return false;
    }
    for (std::uint32_t i = 0; i < world.group(node)->geometry().disks; ++i) {
      if (state(world, node, i) != DiskState::kInSync) {
        return false;
      }
    }
  }
  return true;
}
std::uint64_t rebuilt(World& world) {
  std::uint64_t sum = 0;
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    sum += world.group(node)->counters().rebuilt;
  }
  return sum;
}
void wait_until_failed(World& world) {
  ASSERT_TRUE(world.run_until([&] {
    return state(world, 0) == DiskState::kFailed && state(world, 1) == DiskState::kFailed;
  }));
}
void fail(World& world) {
  world.group(0)->disk_failed(kDisk);
  wait_until_failed(world);
}
// The data and check data of all disks match, and are what was written.
void verify(World& world, Model& model) {
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    if (world.alive(node)) {
      model.verify(node);
      ASSERT_TRUE(world.run(world.group(node)->flush()).ok());
    }
  }
  model.verify_disks();
}

struct Returns : ::testing::TestWithParam<Geometry> {
  World world{71, {.geometry = GetParam(), .step_stripes = 1}};
  Model model{world};
  const std::uint64_t width = GetParam().stripe_blocks();

  void SetUp() override {
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
  }
  void kill_both() {
    model.kill(0);
    model.kill(1);
  }
  void take_back(std::size_t node) {
    const Status done = world.run(world.group(node)->take_back(kDisk));
    ASSERT_TRUE(done.ok()) << done.error().context;
    ASSERT_TRUE(world.run_until([&] { return all_in_sync(world); }));
  }
};

TEST_P(Returns, OneThatAnOperatorFailedGetsOnlyTheStripesThatWereWritten) {
  fail(world);
  EXPECT_EQ(member(world, 1).flags, kRecorded);
  model.write(1, 3 * width, 1, WriteKind::kInPlace);
  model.write(0, 7 * width, 2 * width, WriteKind::kFresh);
  take_back(1);
  EXPECT_EQ(rebuilt(world), 3U) << "of " << GetParam().stripes;
  EXPECT_EQ(member(world, 0).flags, 0U);
  verify(world, model);
}

TEST_P(Returns, NothingIsRebuiltOnOneThatHasMissedNothing) {
  fail(world);
  take_back(0);
  EXPECT_LE(rebuilt(world), 1U);
  verify(world, model);
}

TEST_P(Returns, WhatItHoldsIsReadAtOnceAndTheRestComputed) {
  fail(world);
  model.write(1, 3 * width, width, WriteKind::kInPlace);
  ASSERT_TRUE(world.run(world.group(1)->take_back(kDisk)).ok());
  model.verify(0);
  model.verify(1);
  ASSERT_TRUE(world.run_until([&] { return all_in_sync(world); }));
  verify(world, model);
}

TEST_P(Returns, WhatItLostWithItsPowerIsAmongWhatItMissed) {
  model.write(0, 5 * width, width, WriteKind::kInPlace);  // not flushed
  world.cut_disk(kDisk);
  model.write(1, 9 * width, width, WriteKind::kInPlace);  // somebody has to notice
  wait_until_failed(world);
  world.mend_disk(kDisk);
  take_back(0);
  EXPECT_LE(rebuilt(world), 2U);
  verify(world, model);
}

TEST_P(Returns, WhatIsWrittenWhileItCatchesUpGetsThereToo) {
  fail(world);
  for (std::uint64_t stripe = 0; stripe < GetParam().stripes; stripe += 2) {
    model.write(0, stripe * width, 1, WriteKind::kInPlace);
  }
  ASSERT_TRUE(world.run(world.group(1)->take_back(kDisk)).ok());
  sim::Random random(5);
  while (!all_in_sync(world)) {
    model.write(random.below(2), random.below(GetParam().block_count() - 3), 1 + random.below(3),
                random.one_in(2) ? WriteKind::kFresh : WriteKind::kInPlace);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_LE(rebuilt(world), 13U);
  verify(world, model);
}

TEST_P(Returns, OneThatFailsAgainMeanwhileStillKnowsWhatItMissed) {
  fail(world);
  for (std::uint64_t stripe = 0; stripe < 12; ++stripe) {
    model.write(0, stripe * width, 1, WriteKind::kInPlace);
  }
  ASSERT_TRUE(world.run(world.group(1)->take_back(kDisk)).ok());
  fail(world);
  EXPECT_EQ(member(world, 1).flags, kRecorded);
  model.write(0, 20 * width, 1, WriteKind::kInPlace);
  const std::uint64_t before = rebuilt(world);
  take_back(0);
  EXPECT_LE(rebuilt(world) - before, 13U);
  EXPECT_GT(rebuilt(world) - before, 0U);
  verify(world, model);
}

TEST_P(Returns, OneThatOnlyWasAwayComesBackByItself) {
  kill_both();
  world.fail_disk(kDisk);
  boot_all(world);
  wait_until_failed(world);
  EXPECT_EQ(member(world, 0).flags, kAway | kRecorded);
  model.write(0, 4 * width, 1, WriteKind::kInPlace);
  kill_both();
  world.mend_disk(kDisk);
  boot_all(world);
  ASSERT_TRUE(world.run_until([&] { return all_in_sync(world); }));
  EXPECT_LE(rebuilt(world), 2U);
  EXPECT_GT(rebuilt(world), 0U);
  verify(world, model);
}

// Somebody has put it in the place of the disk.
void put_image(World& world, const sim::SimDisk& image) {
  sim::SimBlockDevice raw(world.scheduler, *world.disks[kDisk]);
  for (std::uint64_t at = 0; at < image.block_count(); ++at) {
    const Buffer buffer(1);
    copy_bytes(image.block(at), buffer.bytes());
    const std::array<MutableBytes, 1> parts = {buffer.bytes()};
    const auto put = [](BlockDevice& to, std::uint64_t block,
                        std::span<const MutableBytes> what) -> Task<Status> {
      const Status written = co_await to.write(block, what);
      co_return written;
    };
    ASSERT_TRUE(world.run(put(raw, at, parts)).ok());
  }
}
// For labels after the image was made.
void start_anew(World& world, Model& model) {
  model.kill(1);
  world.fence(1, world.dead_incarnation);
  world.boot(1);
  ASSERT_TRUE(world.run_until([&] { return world.active(1); }));
}

// Nor when it was away already.
TEST_P(Returns, OneThatAnOperatorKeepsOutDoesNotComeBackByItself) {
  kill_both();
  world.fail_disk(kDisk);
  boot_all(world);
  wait_until_failed(world);
  ASSERT_TRUE(world.run(world.group(1)->keep_out(kDisk)).ok());
  EXPECT_EQ(member(world, 1).flags, kAway | kRecorded | kKeptOut);
  kill_both();
  world.mend_disk(kDisk);
  boot_all(world);
  EXPECT_FALSE(world.run_until([&] { return all_in_sync(world); }));
  take_back(0);
  EXPECT_EQ(member(world, 1).flags, 0U);
  verify(world, model);
}

TEST_P(Returns, AnOlderImageInItsPlaceIsNotBelieved) {
  const sim::SimDisk old = *world.disks[kDisk];
  model.write(0, 2 * width, width, WriteKind::kInPlace);
  start_anew(world, model);
  fail(world);
  put_image(world, old);
  take_back(0);
  EXPECT_EQ(rebuilt(world), GetParam().stripes);
  verify(world, model);
}

// A device was added, and all that are not used were looked at.
TEST_P(Returns, NorIfItsLabelWasReadBetween) {
  const sim::SimDisk old = *world.disks[kDisk];
  model.write(0, 2 * width, width, WriteKind::kInPlace);
  start_anew(world, model);
  fail(world);
  sim::SimDisk disk("x", GetParam().disk_blocks());
  sim::SimBlockDevice device(world.scheduler, disk);
  world.group(0)->add_device(device);
  run_turns(world, 100);
  put_image(world, old);
  take_back(1);
  EXPECT_EQ(rebuilt(world), GetParam().stripes);
  verify(world, model);
  kill_both();  // before the device goes
}

TEST_P(Returns, AnotherDiskInItsPlaceIsRefused) {
  fail(world);
  world.fail_disk(kDisk);
  EXPECT_EQ(world.run(world.group(0)->take_back(kDisk)).error().code, Errc::kNotFound);
  EXPECT_EQ(world.run(world.group(1)->take_back(0)).error().code, Errc::kExists);
  EXPECT_EQ(world.run(world.group(1)->take_back(9)).error().code, Errc::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(All, Returns, ::testing::Values(kCopies, kSingle, kDouble));

// Two at the same time: what one missed alone is rebuilt on both, or computed from the others.
TEST(Return, TwoMayBeAwayForDifferentTimes) {
  World world(72, {.geometry = kDouble, .step_stripes = 1});
  Model model(world);
  boot_all(world);
  const std::uint64_t width = kDouble.stripe_blocks();
  model.fill(0);
  ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
  fail(world);
  model.write(0, 2 * width, 1, WriteKind::kInPlace);
  world.group(1)->disk_failed(0);
  ASSERT_TRUE(world.run_until([&] { return state(world, 1, 0) == DiskState::kFailed; }));
  model.write(1, 8 * width, width, WriteKind::kInPlace);
  ASSERT_TRUE(world.run(world.group(0)->take_back(kDisk)).ok());
  ASSERT_TRUE(world.run_until([&] { return state(world, 0) == DiskState::kInSync; }));
  model.write(1, 11 * width, width, WriteKind::kFresh);
  ASSERT_TRUE(world.run(world.group(1)->take_back(0)).ok());
  ASSERT_TRUE(world.run_until([&] { return all_in_sync(world); }));
  EXPECT_LE(rebuilt(world), 8U);
  verify(world, model);
}

// Whatever was planned when it was not there yet.
TEST(Return, ADiskMayComeBackAtEveryTurnOfAnUpdate) {
  const std::uint64_t seed = seeds(0, 1).front();
  std::cout << "seed " << seed << '\n';
  for (std::uint64_t turns = 0; turns < 400; ++turns) {
    SCOPED_TRACE(::testing::Message() << "turn " << turns << ", seed " << seed);
    Geometry geometry = kSingle;
    geometry.stripes = 8;
    World world(seed + turns, {.geometry = geometry, .step_stripes = 1});
    Model model(world);
    boot_all(world);
    model.fill(0);
    ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
    fail(world);
    bool back = false;
    const auto take_back = [](Group& group, bool& done) -> Task<void> {
      const Status status = co_await group.take_back(kDisk);
      EXPECT_TRUE(status.ok());
      done = true;
    };
    world.processes[0]->scope.spawn(take_back(*world.group(0), back));
    run_turns(world, turns);
    int left = 4;
    const auto over = [&left](const Status& status) {
      EXPECT_TRUE(status.ok());
      --left;
    };
    const std::uint64_t width = geometry.stripe_blocks();
    model.begin_write(1, 1, 1, WriteKind::kInPlace, over);
    model.begin_write(0, 2 * width, 2, WriteKind::kFresh, over);
    model.begin_write(1, 4 * width, width, WriteKind::kInPlace, over);
    // The disk has the check data of this one: there is none to compute while it is away.
    model.begin_write(0, 5 * width + 1, 1, WriteKind::kInPlace, over);
    ASSERT_TRUE(world.run_until([&] { return back && left == 0 && all_in_sync(world); }));
    verify(world, model);
    if (::testing::Test::HasFailure()) {
      return;
    }
  }
}

// A disk goes at any moment of an update by two nodes, with what it had not flushed; a node may die
// then, or everything; it comes back, and every row must match.
class Gone {
 public:
  Gone(const Geometry& geometry, int who_dies, std::uint64_t seed, std::uint64_t turns)
      : dies_(who_dies), turns_(turns), world_(seed, {.geometry = geometry}), model_(world_) {}

  // Whether there was nothing left to disturb.
  bool run() {
    boot_all(world_);
    model_.fill(0);
    const std::uint64_t width = world_.options_.geometry.stripe_blocks();
    int left = 3;
    const auto done = [&left](const Status& status) {
      EXPECT_TRUE(status.ok());
      --left;
    };
    model_.begin_write(0, 0, width, WriteKind::kInPlace, done);
    model_.begin_write(1, width, 1, WriteKind::kFresh, done);
    model_.begin_write(1, 3 * width, 2, WriteKind::kInPlace, done);
    const auto over = [&] {
      return left == 0 && world_.group(0)->status().intents == 0 &&
             world_.group(1)->status().intents == 0;
    };
    std::uint64_t turn = 0;
    const bool ran = world_.scheduler.run_until([&] { return turn++ == turns_ || over(); });
    EXPECT_TRUE(ran);
    const bool rested = over();
    world_.cut_disk(kDisk);
    kill_some();
    notice();
    world_.mend_disk(kDisk);
    // An error of the time before that is heard of late makes it fail again.
    for (int tries = 0; tries < 5 && !all_in_sync(world_); ++tries) {
      const Status back = world_.run(world_.group(0)->take_back(kDisk));
      EXPECT_TRUE(back.ok()) << (back.ok() ? "" : back.error().context);
      EXPECT_TRUE(world_.run_until(
          [&] { return all_in_sync(world_) || state(world_, 0) == DiskState::kFailed; }));
    }
    EXPECT_TRUE(all_in_sync(world_)) << what(world_);
    if (!::testing::Test::HasFailure()) {
      verify(world_, model_);
    }
    return rested;
  }

 private:
  void kill_some() {
    if (dies_ == 1 || dies_ == 2) {
      model_.kill(1);
    }
    if (dies_ == 1) {
      world_.fence(1, world_.dead_incarnation);
    }
    if (dies_ == 2) {
      model_.kill(0);
      model_.lose_power();
      boot_all(world_);
    }
  }
  // Its failure gets into the label, some turns after others.
  void notice() {
    std::uint64_t some = world_.scheduler.random().below(200);
    ASSERT_TRUE(world_.scheduler.run_until([&some] { return some-- == 0; }));
    for (std::size_t node = 0; node < 2; ++node) {
      if (world_.group(node) != nullptr) {
        world_.group(node)->disk_failed(kDisk);
      }
    }
    ASSERT_TRUE(world_.run_until([&] {
      for (std::size_t node = 0; node < 2; ++node) {
        if (world_.group(node) != nullptr &&
            (!world_.active(node) || state(world_, node) != DiskState::kFailed)) {
          return false;
        }
      }
      return true;
    }));
  }

  const int dies_;  // 0: nobody; 1: a node; 2: both, and all power is lost
  const std::uint64_t turns_;
  World world_;
  Model model_;
};

TEST(Return, ADiskMayGoAtEveryTurnOfAnUpdateAndMatchesWhenItIsBack) {
  std::uint64_t points = 0;
  const std::uint64_t seed = seeds(0, 1).front();
  std::cout << "seed " << seed << '\n';
  for (const Geometry& g : {kCopies, kSingle, kDouble}) {
    for (const int dies : {0, 1, 2}) {
      Geometry geometry = g;
      geometry.stripes = 6;
      bool over = false;
      for (std::uint64_t turns = 0; !over && turns < 2000; ++turns) {
        SCOPED_TRACE(::testing::Message() << geometry.disks << " disks, " << dies << " dies, turn "
                                          << turns << ", seed " << seed);
        over = Gone(geometry, dies, seed + turns, turns).run();
        ++points;
        if (::testing::Test::HasFailure()) {
          return;
        }
      }
      EXPECT_TRUE(over);
    }
  }
  std::cout << points << " points\n";
}

// The leader dies at any moment of a change of view, and the disk goes at the same time, while it
// is written: who takes over finds perhaps a view in the labels that nobody has told it of, and
// dies soon after, too.
TEST(Return, ALeaderMayDieAtEveryTurnOfAChangeOfViewWhileADiskGoes) {
  const std::uint64_t seed = seeds(0, 1).front();
  std::cout << "seed " << seed << '\n';
  for (std::uint64_t turns = 0; turns < 400; ++turns) {
    SCOPED_TRACE(::testing::Message() << "turn " << turns << ", seed " << seed);
    Geometry geometry = kSingle;
    geometry.stripes = 8;
    World world(seed + turns, {.geometry = geometry, .step_stripes = 1});
    Model model(world);
    boot_all(world);
    model.fill(1);
    ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
    const std::uint64_t width = geometry.stripe_blocks();
    for (std::uint64_t stripe = 0; stripe < 4; ++stripe) {
      model.begin_write(1, stripe * width, width, WriteKind::kInPlace,
                        [](const Status& /*status*/) {});
    }
    // The locks are told again, in a new view; somewhere on the way the other loses its path.
    world.wire.disconnect(0, 1);
    world.wire.connect(0, 1);
    const std::uint64_t lost = world.scheduler.random().below(turns + 1);
    run_turns(world, lost);
    world.processes[1]->fail(kDisk);
    run_turns(world, turns - lost);
    const std::uint64_t first = world.processes[0]->incarnation;
    model.kill(0);
    world.cut_disk(kDisk);
    world.fence(0, first);
    model.begin_flush(1, [](const Status& /*status*/) {});
    world.group(1)->disk_failed(kDisk);
    const Generation view = world.group(1)->status().view;
    std::uint64_t most = 2000;
    ASSERT_TRUE(world.scheduler.run_until(
        [&] { return most-- == 0 || world.group(1)->status().view != view; }));
    run_turns(world, world.scheduler.random().below(30));
    model.kill(1);
    world.boot(1);
    ASSERT_TRUE(world.run_until([&] {
      return world.active(1) && members(world, 1) == only(World::node_id(1)) &&
             state(world, 1) == DiskState::kFailed;
    }));
    model.write(1, 6 * width, 1, WriteKind::kInPlace);
    ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
    world.mend_disk(kDisk);
    const Status back = world.run(world.group(1)->take_back(kDisk));
    ASSERT_TRUE(back.ok()) << back.error().context;
    ASSERT_TRUE(world.run_until([&] { return all_in_sync(world); }));
    verify(world, model);
    if (::testing::Test::HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace duet::raid::testing
