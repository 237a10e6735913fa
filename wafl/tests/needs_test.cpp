// What an aggregate tells its disks that it needs: never too little, and not everything.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "files.h"
#include "group_world.h"

namespace duet::wafl {
namespace {

using testing::Contents;
using testing::Files;
using testing::GroupWorld;
using testing::MemoryDisk;
using testing::World;

// ---- asked at any moment; what is not needed is garbage from then on ----

// A volume that changes as the seed says, and what all of it must hold.
class Story {
 public:
  Story(World& world, std::uint64_t seed) : world_(world), random_(seed) {
    Files files(world_, "vol0");
  }

  void change() {
    Files files(world_, "vol0");
    const std::string name = "f" + std::to_string(random_.below(12));
    const std::uint64_t choice = random_.below(10);
    if (choice < 6) {
      const std::string text(1 + random_.below(120'000),
                             static_cast<char>('a' + random_.below(26)));
      ASSERT_TRUE(files.put(name, 0, text).ok());
      ASSERT_TRUE(files.truncate(name, text.size()).ok());
      live_[name] = text;
    } else if (choice < 8 && live_.contains(name)) {
      ASSERT_TRUE(files.erase(name).ok());
      live_.erase(name);
    } else if (choice == 8 && snapshots_.size() < 4) {
      const std::string snapshot = "s" + std::to_string(next_++);
      if (files.volume().create_snapshot(snapshot, world_.now()).ok()) {
        snapshots_[snapshot] = live_;
        cp();
      }
    } else if (choice == 9 && !snapshots_.empty()) {
      const auto victim = std::next(snapshots_.begin(),
                                    static_cast<std::ptrdiff_t>(random_.below(snapshots_.size())));
      if (files.volume().delete_snapshot(victim->first).ok()) {
        snapshots_.erase(victim);
        cp();
      }
    }
  }
  void cp() {
    world_.cp();
    committed_ = live_;
    committed_snapshots_ = snapshots_;
  }
  // Only what the last CP holds is there.
  void was_reopened() {
    live_ = committed_;
    snapshots_ = committed_snapshots_;
  }
  void check() {
    Files files(world_, "vol0");
    ASSERT_EQ(files.all(), live_);
    for (const auto& [name, contents] : snapshots_) {
      const auto snapshot = files.volume().find_snapshot(name);
      ASSERT_TRUE(snapshot.has_value());
      ASSERT_EQ(files.all(snapshot->id), contents) << name;
    }
  }
  sim::Random& random() { return random_; }

 private:
  World& world_;
  sim::Random random_;
  Contents live_, committed_;
  std::map<std::string, Contents> snapshots_, committed_snapshots_;
  int next_ = 0;
};

// Asks about pieces of a disk, and fills those with garbage that nobody needs.
class Asker {
 public:
  static constexpr std::uint64_t kPiece = 16;

  Asker(MemoryDisk& disk, sim::Random& random) : disk_(disk), random_(random) {}

  void ask_some() {
    for (int i = 0; i < 6; ++i) {
      ask(random_.below(disk_.block_count() / kPiece) * kPiece);
    }
  }
  void ask_all() {
    for (std::uint64_t first = 0; first + kPiece <= disk_.block_count(); first += kPiece) {
      ask(first);
    }
  }
  std::uint64_t spared = 0;     // pieces that nobody needed
  std::uint64_t scribbled = 0;  // of those, that held something once

 private:
  void ask(std::uint64_t first) {
    if (!disk_.needed || disk_.needed(first, kPiece)) {
      return;
    }
    ++spared;
    for (std::uint64_t block = first; block < first + kPiece; ++block) {
      if (disk_.holds(block)) {
        std::ranges::fill(disk_.content(block), std::byte{0xDB});
        ++scribbled;
      }
    }
  }

  MemoryDisk& disk_;
  sim::Random& random_;
};

TEST(Needs, NothingIsLostThatItSaysIsNotNeeded) {
  std::uint64_t scribbled = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed, seed % 3 == 0 ? 20'000 : 8'192, 2, 4U << 20U);
    for (const auto& disk : world.devices) {
      disk->redundant = true;
      disk->stripe = seed % 2 == 0 ? 24 : 1;
    }
    world.reopen();
    world.aggregate->tell_needs();
    Story story(world, seed);
    std::vector<Asker> askers;
    for (const auto& disk : world.devices) {
      askers.emplace_back(*disk, story.random());
    }
    const auto ask = [&](const BlockOperation& /*operation*/) {
      for (Asker& asker : askers) {
        asker.ask_some();
      }
    };
    for (int step = 0; step < 120; ++step) {
      // In the middle of a CP, too.
      world.devices[static_cast<std::size_t>(step % 2)]->on_start = ask;
      story.change();
      if (step % 3 == 0) {
        story.cp();
      }
      for (Asker& asker : askers) {
        asker.ask_some();
      }
      if (step % 20 == 19) {
        for (const auto& disk : world.devices) {
          disk->on_start = nullptr;
        }
        for (Asker& asker : askers) {
          asker.ask_all();
        }
        if (step % 40 == 39) {
          ASSERT_NO_FATAL_FAILURE(world.reopen()) << "seed " << seed;  // a crash
          story.was_reopened();
          EXPECT_FALSE(world.devices[0]->needed) << "whoever is gone speaks no more";
          world.aggregate->tell_needs();
        }
        ASSERT_NO_FATAL_FAILURE(story.check()) << "seed " << seed << " step " << step;
      }
    }
    for (const Asker& asker : askers) {
      scribbled += asker.scribbled;
    }
  }
  EXPECT_GT(scribbled, 1'000U) << "nothing was spared that had been written";
}

TEST(Needs, OfAnEmptyAggregateHardlyAnything) {
  World world(1, 65'536, 1);
  MemoryDisk& disk = *world.devices[0];
  disk.redundant = true;
  world.aggregate->tell_needs();
  EXPECT_TRUE(disk.needed(0, 8)) << "label and root";
  EXPECT_TRUE(world.scheduler.run()) << "the map is read";
  EXPECT_TRUE(disk.needed(0, 8));
  EXPECT_FALSE(disk.needed(40'000, 1'000));
  EXPECT_TRUE(disk.needed(65'500, 100)) << "behind the end";
  TaskScope scope(world.scheduler);
  scope.spawn(world.aggregate->tell_no_needs());
  EXPECT_FALSE(disk.needed) << "in that turn";
}

TEST(Needs, WhatIsNotInMemoryIsNeededUntilItWasRead) {
  World world(1, 4 * 32'768, 1);
  MemoryDisk& disk = *world.devices[0];
  disk.redundant = true;
  ASSERT_TRUE(Files(world, "vol0").put("f", 0, std::string(1U << 20U, 'x')).ok());
  world.cp();
  world.reopen();
  world.aggregate->tell_needs();
  const auto free_piece = [&] {
    std::uint64_t count = 0;
    for (std::uint64_t first = 0; first < disk.block_count(); first += 512) {
      count += disk.needed(first, 512) ? 0 : 1;
    }
    return count;
  };
  const std::uint64_t before = free_piece();
  EXPECT_TRUE(world.scheduler.run());
  EXPECT_GT(free_piece(), 200U);
  EXPECT_LT(before, 200U);
}

TEST(Needs, AfterAFailedCpEverythingIsNeeded) {
  World world(1, 65'536, 1);
  MemoryDisk& disk = *world.devices[0];
  disk.redundant = true;
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("f", 0, std::string(kBlockBytes, 'x')).ok());
  world.cp();
  world.aggregate->tell_needs();
  ASSERT_FALSE(disk.needed(40'000, 16));
  disk.fail_writes_of = kRootBlockB;  // the root of the new CP is on the disk, once
  ASSERT_TRUE(files.put("g", 0, std::string(kBlockBytes, 'y')).ok());
  EXPECT_FALSE(world.run(world.aggregate->consistency_point({.epoch = 1, .log_id = 7})).ok());
  EXPECT_TRUE(disk.needed(40'000, 16));
}

// ---- a group that is rebuilt ----

constexpr raid::Geometry kSingle = {
    .level = raid::Level::kSingleParity, .disks = 4, .chunk_blocks = 8, .stripes = 400};
constexpr raid::Geometry kDouble = {
    .level = raid::Level::kDoubleParity, .disks = 5, .chunk_blocks = 8, .stripes = 400};

class Rebuilt : public ::testing::TestWithParam<std::uint64_t> {};

// What was spared is written later, and then another disk fails.
TEST_P(Rebuilt, WhatIsSparedIsSafeWhenItIsWrittenLater) {
  const std::uint64_t seed = GetParam();
  const raid::Geometry shape = seed % 2 == 0 ? kSingle : kDouble;
  GroupWorld world(shape, 2, seed);
  world.aggregate->tell_needs();
  Story story(world, seed);
  const auto work = [&](int changes) {
    for (int i = 0; i < changes; ++i) {
      story.change();
      if (i % 4 == 0) {
        story.cp();
      }
    }
    story.cp();
  };
  work(30);
  const std::size_t first = story.random().below(shape.disks);
  world.fail(first);
  work(5);
  for (std::uint64_t s = 0; s < shape.stripes; ++s) {
    for (std::uint32_t row = 0; row < shape.chunk_blocks; ++row) {  // it held something else
      world.disks[shape.disks]->flip_bit(shape.disk_block(raid::Stripe{s}, row), row, 1);
    }
  }
  world.replace(first, shape.disks);
  work(10);  // while it is rebuilt
  if (seed % 3 == 0) {
    world.crash(seed % 2 == 0);
    story.was_reopened();
    world.aggregate->tell_needs();
    work(5);
  }
  world.wait_for_rebuild(first);
  if (seed % 3 != 0) {
    EXPECT_GT(world.group->counters().passed_by, 20U);
    EXPECT_GT(world.group->counters().rebuilt, 20U);
  }
  story.check();
  if (seed % 5 != 0) {
    // What was passed by is made to match meanwhile, but for what may be needed.
    const auto kind = seed % 5 < 3 ? raid::ScrubKind::kCompare : raid::ScrubKind::kTrustData;
    ASSERT_TRUE(world.group->start_scrub(kind).ok());
    work(10);
    ASSERT_TRUE(world.until([&] { return !world.group->status().scrub.running; }));
    const raid::ScrubCounts counts = world.group->status().scrub.counts;
    EXPECT_EQ(counts.repaired + counts.unreadable + counts.unsure + counts.trusted, 0U);
    EXPECT_GT(counts.loose, 0U);
    if (counts.loose_left == 0) {
      EXPECT_TRUE(world.until([&] {
        const raid::GroupLabel label = world.group->status().label;
        return std::ranges::all_of(label.loose, [](std::uint64_t word) { return word == 0; });
      })) << "it stays loose";
    }
    story.check();
  }
  work(60);  // in stripes that were passed by, among others
  if (seed % 4 == 0) {
    world.crash(true);
    story.was_reopened();
    world.aggregate->tell_needs();
  }
  // As many as the level allows, and none of them the new one: it must say what it has.
  std::size_t others = shape.check_columns();
  for (std::size_t disk = 0; disk < shape.disks && others > 0; ++disk) {
    if (disk != first) {
      world.fail(disk);
      --others;
    }
  }
  world.reopen();
  story.was_reopened();
  story.check();
  EXPECT_EQ(world.aggregate->heal_statistics().failed, 0U);
  // And once more: rebuilt from what was rebuilt.
  if (shape.check_columns() == 1) {
    const std::size_t second = first == 0 ? 1 : 0;
    world.aggregate->tell_needs();
    world.replace(second, shape.disks + 1);
    world.wait_for_rebuild(second);
    world.fail(first);
    world.reopen();
    story.check();
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, Rebuilt, ::testing::Range(std::uint64_t{1}, std::uint64_t{13}));

TEST(Needs, ASnapshotsBlocksAreRebuilt) {
  GroupWorld world(kSingle, 1);
  world.aggregate->tell_needs();
  Contents expected;
  {
    Files files(world, "vol0");
    for (int i = 0; i < 10; ++i) {
      const std::string name = "f" + std::to_string(i);
      expected[name] = std::string(100'000, static_cast<char>('a' + i));
      ASSERT_TRUE(files.put(name, 0, expected[name]).ok());
    }
    ASSERT_TRUE(files.volume().create_snapshot("s", world.now()).ok());
    world.cp();
    for (const auto& [name, text] : expected) {
      ASSERT_TRUE(files.erase(name).ok());
    }
    world.cp();
    world.cp();
  }
  world.fail(2);
  world.replace(2, kSingle.disks);
  world.wait_for_rebuild(2);
  EXPECT_GT(world.group->counters().passed_by, 100U);
  world.fail(0);
  world.reopen();
  Files files(world, "vol0");
  EXPECT_EQ(files.all(files.volume().find_snapshot("s")->id), expected);
}

}  // namespace
}  // namespace duet::wafl
