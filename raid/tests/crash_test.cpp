// Every point at which a node, or everything, may end while one stripe is updated: normal,
// degraded, and with a disk that fails at the same moment.

#include <gtest/gtest.h>

#include <iostream>

#include "model.h"
#include "seeds.h"

namespace duet::raid::testing {
namespace {

struct Case {
  std::string name;
  Geometry geometry;
  std::optional<std::size_t> failed_before;
  std::optional<std::size_t> fails_then;  // at the moment of the crash
  std::uint64_t block = 0;
  std::size_t blocks = 1;
  WriteKind kind = WriteKind::kInPlace;
  bool everything = false;  // both nodes and the power of all disks and memories
  Answer answer = Answer::kWritten;
};

class CrashPoint {
 public:
  CrashPoint(const Case& c, std::uint64_t seed, std::uint64_t turns)
      : case_(c), turns_(turns), world_(seed, {.geometry = c.geometry}), model_(world_) {}

  // Whether the write had been settled before the crash: no later point is worth a try.
  bool run() {
    world_.boot(0);
    world_.boot(1);
    EXPECT_TRUE(world_.run_until([&] { return world_.active(0) && world_.active(1); }));
    model_.fill(0);
    if (case_.failed_before.has_value()) {
      world_.fail_disk(*case_.failed_before);
      model_.write(0, 0, 1, WriteKind::kInPlace);  // somebody has to notice
    }
    EXPECT_TRUE(world_.run(world_.group(0)->flush()).ok());
    model_.answer = case_.answer;
    bool acknowledged = false;
    model_.begin_write(0, case_.block, case_.blocks, case_.kind,
                       [&acknowledged](const Status& status) {
                         EXPECT_TRUE(status.ok());
                         acknowledged = true;
                       });
    std::uint64_t left = turns_;
    const bool rested = world_.scheduler.run_until(
        [&] { return left-- == 0 || (acknowledged && world_.group(0)->status().intents == 0); });
    EXPECT_TRUE(rested);
    const bool over = acknowledged && world_.group(0)->status().intents == 0;
    crash();
    recover();
    return over;
  }

 private:
  void crash() {
    model_.kill(0);
    const std::uint64_t dead = world_.dead_incarnation;
    if (case_.everything) {
      model_.kill(1);
      model_.lose_power();
    }
    if (case_.fails_then.has_value()) {
      world_.fail_disk(*case_.fails_then);
    }
    if (case_.everything) {
      world_.boot(world_.scheduler.random().below(2));
      world_.boot(world_.alive(0) ? 1 : 0);
    } else {
      world_.fence(0, dead);
    }
  }
  void recover() {
    ASSERT_TRUE(world_.run_until([&] {
      return world_.active(1) &&
             (world_.group(1)->status().members & 1U) == (case_.everything ? 1U : 0U);
    })) << "node 1 does not get on";
    model_.verify(1);
    ASSERT_TRUE(world_.run(world_.group(1)->flush()).ok());
    model_.verify_disks();
    // And life goes on.
    model_.answer = Answer::kWritten;
    model_.write(1, case_.block, case_.blocks, WriteKind::kInPlace);
    model_.verify(1);
  }

  Case case_;
  std::uint64_t turns_;
  World world_;
  Model model_;
};

// A dead node's cells were in the cache of a disk, whose power goes at any turn of the takeover and
// is back before anybody sees it.
TEST(Crash, ADiskMayLoseWhatADeadNodeDidNotFlushAtEveryTurnOfTheTakeover) {
  for (const Geometry& g :
       {Geometry{.level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 2},
        Geometry{.level = Level::kMirror, .disks = 2, .chunk_blocks = 2, .stripes = 4}}) {
    bool over = false;
    for (std::uint64_t turns = 0; !over && turns < 2'000; ++turns) {
      SCOPED_TRACE(::testing::Message() << "turn " << turns);
      World world(turns, {.geometry = g});
      Model model(world);
      world.boot(0);
      world.boot(1);
      ASSERT_TRUE(world.run_until([&] { return world.active(0) && world.active(1); }));
      model.fill(0);
      ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
      model.write(0, 0, 1, WriteKind::kFresh);
      model.kill(0);
      world.fence(0, world.dead_incarnation);
      std::uint64_t left = turns;
      const auto alone = [&] { return world.active(1) && world.group(1)->status().members == 2; };
      ASSERT_TRUE(world.scheduler.run_until([&] { return left-- == 0 || alone(); }));
      over = alone();
      world.blink_disk(g.disk_of(Stripe{0}, 0), sim::SimDisk::Keep::kNothing);
      ASSERT_TRUE(world.run_until(alone));
      model.verify(1);
      ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
      model.verify_disks();
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_TRUE(over);
  }
}

struct Mode {
  std::string_view name;
  WriteKind kind;
  Answer answer;
};
constexpr std::array<Mode, 5> kModes = {{
    {"", WriteKind::kInPlace, Answer::kWritten},
    {" fresh", WriteKind::kFresh, Answer::kWritten},
    {" synchronous", WriteKind::kInPlace, Answer::kSynchronous},
    {" pseudo-synchronous", WriteKind::kInPlace, Answer::kPseudoSynchronous},
    {" asynchronous", WriteKind::kInPlace, Answer::kAsynchronous},
}};

std::vector<Case> cases() {
  const Geometry single = {
      .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 2};
  const Geometry dual = {
      .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 2};
  const Geometry mirror = {.level = Level::kMirror, .disks = 2, .chunk_blocks = 2, .stripes = 4};
  struct Shape {
    std::string name;
    std::uint64_t block;
    std::size_t blocks;
  };
  const std::vector<Shape> shapes = {
      {"small", 1, 1}, {"across", 1, 2}, {"long", 1, 4}, {"whole", 0, 6}};
  std::vector<Case> all;
  for (const auto& [name, geometry] :
       {std::pair("single", single), std::pair("double", dual), std::pair("mirror", mirror)}) {
    for (const Shape& shape : shapes) {
      if (shape.block + shape.blocks > geometry.stripe_blocks()) {
        continue;
      }
      for (const Mode& mode : kModes) {
        for (const bool everything : {false, true}) {
          const std::string base = std::string(name) + " " + shape.name + std::string(mode.name) +
                                   (everything ? ", power" : "");
          Case c = {.name = base,
                    .geometry = geometry,
                    .block = shape.block,
                    .blocks = shape.blocks,
                    .kind = mode.kind,
                    .everything = everything,
                    .answer = mode.answer};
          all.push_back(c);
          c.name = base + ", a disk fails then";
          c.fails_then = 1;
          all.push_back(c);
          c.name = base + ", degraded";
          c.fails_then.reset();
          c.failed_before = 0;
          all.push_back(c);
          if (geometry.check_columns() > 1) {
            c.name = base + ", degraded, a disk fails then";
            c.fails_then = 2;
            all.push_back(c);
          }
        }
      }
    }
  }
  return all;
}

TEST(Crash, AtEveryTurnOfOneUpdateTheStripeIsWhole) {
  std::uint64_t points = 0;
  const std::uint64_t seed = seeds(0, 1).front();
  std::cout << "seed " << seed << '\n';
  for (const Case& c : cases()) {
    bool over = false;
    for (std::uint64_t turns = 0; !over && turns < 2000; ++turns) {
      SCOPED_TRACE(::testing::Message() << c.name << ", turn " << turns);
      over = CrashPoint(c, seed + turns, turns).run();
      ++points;
      if (::testing::Test::HasFailure()) {
        std::cout << c.name << ", turn " << turns << ", seed " << seed << '\n';
        return;
      }
    }
    EXPECT_TRUE(over) << c.name;
  }
  std::cout << points << " points of crash\n";
}

TEST(Crash, ATakeoverByANodeThatLosesADiskMayEndAtAnyTurn) {
  const Geometry geometry = {
      .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 2};
  const std::uint64_t seed = seeds(0, 1).front();
  for (std::uint64_t turns = 0; turns < 400; ++turns) {
    SCOPED_TRACE(::testing::Message() << "turn " << turns << ", seed " << seed);
    World world(seed + turns, {.geometry = geometry, .nodes = 3});
    Model model(world);
    for (std::size_t node = 0; node < 3; ++node) {
      world.boot(node);
    }
    ASSERT_TRUE(world.run_until(
        [&] { return world.active(2) && std::popcount(world.group(2)->status().members) == 3; }));
    model.fill(2);
    model.begin_write(2, 0, 6, WriteKind::kInPlace, [](const Status&) {});
    const auto run_turns = [&world](std::uint64_t left) {
      ASSERT_TRUE(world.scheduler.run_until([&left] { return left-- == 0; }));
    };
    run_turns(world.scheduler.random().below(150));
    model.kill(2);
    world.fence(2, world.dead_incarnation);
    // Of node 0 alone, at some moment of its takeover.
    const std::uint64_t sound = world.scheduler.random().below(turns + 1);
    run_turns(sound);
    world.processes[0]->fail(1);
    world.failed_disks.insert(1);
    world.only_seen_failed.insert(1);
    run_turns(turns - sound);
    model.kill(0);
    world.fence(0, world.dead_incarnation);
    ASSERT_TRUE(world.run_until([&] {
      return world.active(1) && world.group(1)->status().members == 2;
    })) << "node 1 does not get on";
    model.verify(1);
    ASSERT_TRUE(world.run(world.group(1)->flush()).ok());
    model.verify_disks();
    if (::testing::Test::HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace duet::raid::testing
