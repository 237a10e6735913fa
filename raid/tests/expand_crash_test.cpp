// Every point at which a node, or everything, may end while a small group is expanded; with a disk
// that fails at the same moment, and with a writer.

#include <gtest/gtest.h>

#include <iostream>

#include "model.h"
#include "seeds.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

struct Case {
  Geometry geometry;
  std::optional<std::size_t> node;        // that is lost; none: all, and power
  std::optional<std::size_t> fails_then;  // a disk, at the moment of the crash
  bool writes = false;
};

constexpr std::size_t kMore = 1;

class CrashPoint {
 public:
  CrashPoint(const Case& c, std::uint64_t seed, std::uint64_t turns)
      : case_(c),
        turns_(turns),
        world_(seed, {.geometry = c.geometry,
                      .pages = 2 * (c.geometry.disks + 1) * c.geometry.chunk_blocks,
                      .blank = kMore + 1}),
        model_(world_) {}

  // Whether it had come to its end before the crash: no later point is worth a try.
  bool run() {
    boot_all(world_);
    model_.fill(0);
    EXPECT_TRUE(world_.run(world_.group(0)->flush()).ok());
    begin(0, {0xADD, 1});
    std::uint64_t left = turns_;
    std::uint64_t next = 0;
    const bool rested = world_.scheduler.run_until([&] {
      if (case_.writes && left % 16 == 0 && world_.group(1) != nullptr) {
        const std::uint64_t at = next++ % model_.block_count();
        if (!model_.writing(at, 1)) {
          model_.begin_write(next % 2, at, 1,
                             next % 3 == 0 ? WriteKind::kFresh : WriteKind::kInPlace,
                             [](const Status&) {});
        }
      }
      return left-- == 0 || over();
    });
    EXPECT_TRUE(rested);
    const bool done = over();
    crash();
    recover();
    return done;
  }

 private:
  [[nodiscard]] std::size_t disks() const { return case_.geometry.disks; }
  [[nodiscard]] bool over() {
    bool all = true;
    for (std::size_t node = 0; node < 2; ++node) {
      if (world_.alive(node)) {
        const GroupLabel label = world_.group(node)->status().label;
        all = all && world_.active(node) && label.disks > disks() && !is_expanding(label);
      }
    }
    return all;
  }
  void begin(std::size_t node, DiskId id) {
    world_.named[id] = disks();
    const auto task = [](Group& group, BlockDevice* device, DiskId name) -> Task<void> {
      const std::array<BlockDevice*, 1> devices = {device};
      const std::array<DiskId, 1> ids = {name};
      const Status done = co_await group.expand(devices, ids, true);
      static_cast<void>(done);
    };
    world_.processes[node]->scope.spawn(
        task(*world_.group(node), world_.processes[node]->connections.devices[disks()], id));
  }
  void crash() {
    if (case_.node.has_value()) {
      model_.kill(*case_.node);
    } else {
      model_.kill(0);
      model_.kill(1);
      model_.lose_power();
    }
    const std::uint64_t dead = world_.dead_incarnation;
    if (case_.fails_then.has_value()) {
      world_.fail_disk(*case_.fails_then);
    }
    if (case_.node.has_value()) {
      world_.fence(*case_.node, dead);
    } else {
      world_.boot(world_.scheduler.random().below(2));
      world_.boot(world_.alive(0) ? 1 : 0);
    }
  }
  void recover() {
    const std::size_t left = case_.node.has_value() ? 1 - *case_.node : 1;
    ASSERT_TRUE(world_.run_until([&] {
      return world_.active(left) &&
             (!case_.node.has_value() || members(world_, left) == 1U << left);
    })) << "those who are left do not get on";
    model_.verify(left);
    ASSERT_FALSE(::testing::Test::HasFailure()) << what(world_);
    if (case_.fails_then.has_value()) {
      replace(left);
    }
    if (world_.group(left)->status().label.disks == disks()) {
      begin(left, {0xADD, 2});  // it had not begun
    }
    ASSERT_TRUE(world_.run_until([&] { return over(); }))
        << "the expansion does not end" << what(world_);
    model_.grow(world_.group(left)->geometry().block_count());
    model_.verify(left);
    ASSERT_TRUE(world_.run(world_.group(left)->flush()).ok());
    model_.verify_disks();
    write_everything(left);
    model_.verify(left);
  }
  void write_everything(std::size_t node) {
    ASSERT_TRUE(world_.run_until([&] { return !model_.writing(0, model_.block_count()); }))
        << "a write does not end";
    model_.write(node, 0, model_.block_count(), WriteKind::kInPlace);
  }
  // The disk that failed gets another in its place, if it was a member.
  void replace(std::size_t node) {
    write_everything(node);  // somebody has to notice
    const auto failed = [&] {
      const GroupLabel label = world_.group(node)->status().label;
      std::optional<std::uint32_t> found;
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        if (static_cast<DiskState>(label.members[i].state) != DiskState::kInSync) {
          found = i;
        }
      }
      return found;
    };
    if (!failed().has_value()) {
      ASSERT_EQ(world_.run_until([&] { return failed().has_value(); }), true)
          << "nobody sees that a disk has failed";
    }
    const DiskId id = {0xADD, 9};
    world_.named[id] = disks() + 1;
    BlockDevice& device = *world_.processes[node]->connections.devices[disks() + 1];
    const Status replaced = world_.run(world_.group(node)->replace(*failed(), device, id, true));
    ASSERT_TRUE(replaced.ok()) << replaced.error().context;
    ASSERT_TRUE(world_.run_until([&] { return !failed().has_value(); })) << "it is not rebuilt";
  }

  Case case_;
  std::uint64_t turns_;
  World world_;
  Model model_;
};

TEST(ExpandCrash, AtEveryTurnOfAnExpansionNothingIsLostAndItComesToItsEnd) {
  std::vector<Case> cases;
  for (const Geometry& g :
       {Geometry{.level = Level::kSingleParity, .disks = 3, .chunk_blocks = 1, .stripes = 6},
        Geometry{.level = Level::kDoubleParity, .disks = 4, .chunk_blocks = 2, .stripes = 5}}) {
    for (const auto node : {std::optional<std::size_t>(0), std::optional<std::size_t>(1),
                            std::optional<std::size_t>()}) {
      cases.push_back({.geometry = g, .node = node});
      cases.push_back({.geometry = g, .node = node, .writes = true});
      cases.push_back({.geometry = g, .node = node, .fails_then = 1, .writes = true});
    }
  }
  const std::uint64_t seed = seeds(0, 1).front();
  std::cout << "seed " << seed << '\n';
  // Every turn of one case is a second: every thirtieth, from another one on each time, or all of
  // them.
  const std::uint64_t stride = std::getenv("DUET_FRESH") != nullptr ? 1 : 30;
  std::uint64_t points = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    bool over = false;
    for (std::uint64_t turns = (seed + i) % stride; !over && turns < 20'000; turns += stride) {
      SCOPED_TRACE(::testing::Message() << "case " << i << ", turn " << turns);
      over = CrashPoint(cases[i], seed + turns, turns).run();
      ++points;
      if (::testing::Test::HasFailure()) {
        std::cout << "case " << i << ", turn " << turns << ", seed " << seed << '\n';
        return;
      }
    }
    EXPECT_TRUE(over) << "case " << i;
  }
  std::cout << points << " points of crash\n";
}

}  // namespace
}  // namespace duet::raid::testing
