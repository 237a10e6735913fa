// The core under the operations: CPs, volumes, snapshots, space; against a model where it counts.

#include "wafl/aggregate.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>
#include <string>

#include "files.h"
#include "world.h"

namespace duet::wafl {
namespace {

using testing::World;

using testing::Contents;
using testing::Files;

TEST(Aggregate, KeepsWhatACpHoldsAndNothingElse) {
  World world;
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("a", 0, "hello").ok());
  world.cp();
  ASSERT_TRUE(files.put("b", 0, "lost").ok());
  ASSERT_TRUE(files.put("a", 0, "HELLO").ok());
  world.reopen();
  EXPECT_EQ(files.all(), (Contents{{"a", "hello"}}));
}

TEST(Aggregate, GivesBackEveryBlockOfWhatIsDeleted) {
  World world;
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("warm", 0, "x").ok());
  world.cp();
  world.cp();
  const std::uint64_t free_before = world.aggregate->root().free_blocks;
  const std::string chunk(1U << 20U, 'x');
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(files.put("big", std::uint64_t(i) << 20U, chunk).ok());
    world.cp();
  }
  EXPECT_LT(world.aggregate->root().free_blocks, free_before - 20 * 256);
  ASSERT_TRUE(files.erase("big").ok());
  for (int i = 0; i < 4; ++i) {
    world.cp();
  }
  // The owner map keeps a block for each 128 that were ever in use; nothing else may be left.
  EXPECT_GE(world.aggregate->root().free_blocks + 20 * 256 / 128 + 8, free_before);
}

TEST(Aggregate, ADestroyedVolumeGivesBackItsBlocks) {
  World world;
  world.cp();
  const std::uint64_t free_before = world.aggregate->root().free_blocks;
  {
    Files files(world, "gone");
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(files.put("f" + std::to_string(i), 0, std::string(3'000'000, 'y')).ok());
      if (i % 10 == 0) {
        world.cp();
      }
    }
  }
  world.cp();
  ASSERT_TRUE(world.aggregate->destroy_volume("gone").ok());
  for (int i = 0; i < 4; ++i) {
    world.cp();
  }
  EXPECT_FALSE(world.aggregate->dirty());
  // As above, for 300 MB.
  EXPECT_GE(world.aggregate->root().free_blocks + 74'000 / 128 + 32, free_before);
  world.reopen();
  EXPECT_EQ(world.aggregate->find_volume("gone"), nullptr);
}

// Random changes, CPs, crashes, snapshots made, deleted, renamed and restored: the live tree and
// each snapshot read as the model says (I1, I9), and when all is deleted all space is back (I3).
void random_history(std::uint64_t seed, int steps) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  World world(seed, 16'384, 2, 1U << 20U);
  Files files(world, "vol0");
  sim::Random random(seed);
  world.cp();
  Contents live;
  Contents durable;
  std::vector<std::pair<std::string, Contents>> snapshots;
  int made = 0;
  for (int step = 0; step < steps; ++step) {
    const std::string name = "f" + std::to_string(random.below(12));
    switch (random.below(16)) {
      case 0: {
        world.cp();
        durable = live;
        break;
      }
      case 1: {
        const std::string label = "s" + std::to_string(made++);
        ASSERT_TRUE(files.volume().create_snapshot(label, world.now()).ok());
        world.cp();
        durable = live;
        snapshots.emplace_back(label, live);
        break;
      }
      case 2: {
        if (!snapshots.empty()) {
          const std::size_t which = random.below(snapshots.size());
          ASSERT_TRUE(files.volume().delete_snapshot(snapshots[which].first).ok());
          snapshots.erase(snapshots.begin() + std::ptrdiff_t(which));
          if (!snapshots.empty() && random.one_in(3)) {
            ASSERT_TRUE(files.volume().delete_snapshot(snapshots.back().first).ok());
            snapshots.pop_back();
          }
          world.cp();
          durable = live;
        }
        break;
      }
      case 3: {
        if (!snapshots.empty() && random.one_in(2)) {
          const std::size_t which = random.below(snapshots.size());
          while (snapshots.size() > which + 1) {
            ASSERT_TRUE(files.volume().delete_snapshot(snapshots.back().first).ok());
            snapshots.pop_back();
          }
          ASSERT_TRUE(files.volume().restore_snapshot(snapshots.back().first).ok());
          live = snapshots.back().second;
          world.cp();
          durable = live;
        }
        break;
      }
      case 4: {
        if (random.one_in(2)) {
          world.reopen();
          live = durable;
        }
        break;
      }
      case 5: {
        if (!live.empty()) {
          const std::string victim =
              std::next(live.begin(), std::ptrdiff_t(random.below(live.size())))->first;
          ASSERT_TRUE(files.erase(victim).ok());
          live.erase(victim);
        }
        break;
      }
      case 6: {
        if (live.contains(name)) {
          const std::uint64_t size = random.below(live[name].size() + 10'000);
          ASSERT_TRUE(files.truncate(name, size).ok());
          live[name].resize(size);
        }
        break;
      }
      default: {
        const bool far = random.one_in(8);
        const std::uint64_t offset = random.below(far ? 3'000'000 : 20'000);
        const std::string data(1 + random.below(30'000), char('a' + step % 26));
        ASSERT_TRUE(files.put(name, offset, data).ok());
        std::string& text = live[name];
        if (text.size() < offset + data.size()) {
          text.resize(offset + data.size());
        }
        text.replace(offset, data.size(), data);
      }
    }
    if (step % 20 == 19) {
      ASSERT_EQ(files.all(), live);
    }
  }
  ASSERT_EQ(files.all(), live);
  ASSERT_EQ(files.volume().snapshots().size(), snapshots.size());
  for (const auto& [label, contents] : snapshots) {
    ASSERT_EQ(files.all(files.volume().find_snapshot(label)->id), contents) << label;
  }
  world.reopen();
  for (const auto& [label, contents] : snapshots) {
    ASSERT_TRUE(files.volume().delete_snapshot(label).ok());
  }
  world.cp();
  ASSERT_EQ(files.all(), durable);
  ASSERT_TRUE(world.aggregate->destroy_volume("vol0").ok());
  for (int i = 0; i < 6; ++i) {
    world.cp();
  }
  // What is left: the system volume, the maps, the dataset file.
  const DiskRoot& root = world.aggregate->root();
  EXPECT_LT(root.block_count - root.free_blocks, 2 * kReservedBlocks + 600);
  EXPECT_FALSE(world.aggregate->dirty());
}

TEST(Aggregate, MatchesAModelThroughCpsCrashesAndSnapshots) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    random_history(seed, 300);
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(Aggregate, ARestoreNeverLetsAGenerationComeBack) {
  World world;
  Files files(world, "vol0");
  ASSERT_TRUE(files.volume().create_snapshot("s", world.now()).ok());
  world.cp();
  const auto id_of_new = [&](const std::string& name) {
    EXPECT_TRUE(files.put(name, 0, "x").ok());
    const auto id = world.attempt([&](Attempt& attempt) -> Result<FileId> {
      Result<InodeRef> inode = files.volume().find_inode(attempt, kLive, InodeNumber{3});
      return inode.ok() ? Result<FileId>(inode.value()->id()) : Result<FileId>(inode.error());
    });
    return id.value();
  };
  const FileId before = id_of_new("before");
  ASSERT_TRUE(files.volume().restore_snapshot("s").ok());
  world.cp();
  world.reopen();
  const FileId after = id_of_new("after");
  EXPECT_EQ(after.inode, before.inode);
  EXPECT_NE(after.generation, before.generation);
}

TEST(Aggregate, ADiskAddedOnlineGivesItsBlocks) {
  World world(1, 5000, 1);
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("a", 0, "before").ok());
  world.cp();
  const std::uint64_t free_before = world.aggregate->root().free_blocks;
  world.devices.push_back(std::make_unique<testing::MemoryDisk>(world.scheduler, 40'000));
  BlockDevice& added = *world.devices.back();
  ASSERT_TRUE(world.run(world.aggregate->label_new_disk(added, world.entropy)).ok());
  ASSERT_TRUE(world.aggregate->add_disk(added).ok());
  world.cp();
  EXPECT_GT(world.aggregate->root().free_blocks, free_before + 39'000 - kReservedBlocks);
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(files.put("big", std::uint64_t(i) << 20U, std::string(1U << 20U, 'b')).ok());
    world.cp();
  }
  world.reopen();
  EXPECT_EQ(files.all().at("a"), "before");
  EXPECT_EQ(files.all().at("big").size(), 60U << 20U);
}

TEST(Aggregate, AFullAggregateRefusesWritesAndLetsDeletesMakeRoom) {
  World world(1, 6000, 1);
  Files files(world, "vol0");
  Status status = Ok{};
  int written = 0;
  for (; written < 1000; ++written) {
    status = files.put("f" + std::to_string(written), 0, std::string(200'000, 'z'));
    if (!status.ok() && status.error().code == Errc::kTryAgain) {
      world.cp();
      status = files.put("f" + std::to_string(written), 0, std::string(200'000, 'z'));
    }
    if (!status.ok()) {
      break;
    }
  }
  ASSERT_FALSE(status.ok());
  EXPECT_TRUE(status.error().code == Errc::kNoSpace || status.error().code == Errc::kTryAgain);
  EXPECT_GT(written, 50);
  for (int i = 0; i < written; ++i) {
    Status erased = files.erase("f" + std::to_string(i));
    if (!erased.ok() && erased.error().code == Errc::kTryAgain) {
      world.cp();
      erased = files.erase("f" + std::to_string(i));
    }
    ASSERT_TRUE(erased.ok()) << i << " " << erased.error().context;
  }
  world.cp();
  world.cp();
  EXPECT_TRUE(files.put("again", 0, std::string(200'000, 'z')).ok());
  world.cp();
}

TEST(Aggregate, RefusesDisksOfAnotherAggregateAndMissingOnes) {
  World world;
  World other(2);
  world.aggregate.reset();
  std::vector<BlockDevice*> mixed{world.devices[0].get(), other.devices[1].get()};
  other.devices[1]->attach(world.scheduler);
  const auto opened = world.run(Aggregate::open(world.scheduler, world.clock, mixed, {}));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::kForeign);
  std::vector<BlockDevice*> one{world.devices[0].get()};
  const auto missing = world.run(Aggregate::open(world.scheduler, world.clock, one, {}));
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Errc::kNotFound);
}

TEST(Aggregate, OpensFromEitherCopyOfTheRoot) {
  for (const int lost : {0, 1}) {
    World world;
    Files files(world, "vol0");
    ASSERT_TRUE(files.put("a", 0, "hello").ok());
    world.cp();
    world.devices[std::size_t(lost)]->content(lost == 0 ? kRootBlockA : kRootBlockB)[100] ^=
        std::byte{1};
    world.reopen();
    EXPECT_EQ(files.all(), (Contents{{"a", "hello"}}));
  }
}

TEST(Aggregate, ADamagedBlockIsReportedAndNeverServed) {
  World world;
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("a", 0, std::string(4096, 'q')).ok());
  world.cp();
  for (auto& device : world.devices) {
    for (std::uint64_t block = kReservedBlocks; block < device->block_count(); ++block) {
      std::vector<std::byte>& bytes = device->content(block);
      if (bytes[0] == std::byte{'q'}) {
        bytes[17] ^= std::byte{4};
      }
    }
  }
  ASSERT_TRUE(files.volume().create_snapshot("s", world.now()).ok());
  world.cp();
  world.reopen();
  Attempt attempt(*world.aggregate);
  const auto got = world.attempt([&](Attempt& a) -> Result<ReadResult> {
    Result<InodeRef> inode = files.volume().find_inode(a, kLive, InodeNumber{3});
    return inode.ok() ? read(a, *inode.value(), 0, 4096) : Result<ReadResult>(inode.error());
  });
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, Errc::kCorrupt);
  Aggregate::ScrubProgress progress;
  const SnapshotId snapshot = files.volume().find_snapshot("s")->id;
  ASSERT_TRUE(world.run(world.aggregate->scrub(files.volume().id(), snapshot, progress)).ok());
  EXPECT_EQ(progress.errors, 1U);
}

}  // namespace
}  // namespace duet::wafl
