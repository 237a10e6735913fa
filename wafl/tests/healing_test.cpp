// Blocks that a disk of a redundancy group turned: readers get what is right, and so does the disk.

#include <gtest/gtest.h>

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

constexpr raid::Geometry kSingle = {
    .level = raid::Level::kSingleParity, .disks = 4, .chunk_blocks = 8, .stripes = 400};
constexpr raid::Geometry kDouble = {
    .level = raid::Level::kDoubleParity, .disks = 5, .chunk_blocks = 8, .stripes = 400};
constexpr raid::Geometry kTwo = {
    .level = raid::Level::kMirror, .disks = 2, .chunk_blocks = 8, .stripes = 1200};
constexpr raid::Geometry kThree = {
    .level = raid::Level::kMirror, .disks = 3, .chunk_blocks = 8, .stripes = 1200};

std::string content(int i) {
  const auto size = static_cast<std::size_t>(40'000 + 5'000 * (i % 7));
  return std::to_string(i) + std::string(size, static_cast<char>('a' + i % 26));
}

// Files, and a snapshot that holds what they were before.
Contents fill(GroupWorld& world) {
  Files files(world, "vol0");
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(files.put("f" + std::to_string(i), 0, content(i)).ok());
  }
  EXPECT_TRUE(files.volume().create_snapshot("s", world.now()).ok());
  world.cp();
  for (int i = 0; i < 20; i += 2) {
    EXPECT_TRUE(files.erase("f" + std::to_string(i)).ok());
    EXPECT_TRUE(files.put("g" + std::to_string(i), 0, content(101 + i)).ok());
  }
  world.cp();
  EXPECT_TRUE(world.run(world.group->flush()).ok());
  return files.all();
}

SnapshotId snapshot_of(Files& files) { return files.volume().find_snapshot("s")->id; }

Contents all_of_snapshot(GroupWorld& world) {
  Files files(world, "vol0");
  return files.all(snapshot_of(files));
}

bool blank(const sim::SimDisk& disk, std::uint64_t block) { return all_zero(disk.block(block)); }

// A bit in every block of this disk that is not blank; its labels as a member stay.
std::uint64_t turn_all(GroupWorld& world, std::uint32_t disk) {
  std::uint64_t turned = 0;
  for (std::uint64_t at = raid::kDataStartBlock; at < world.shape.disk_blocks(); ++at) {
    if (!blank(*world.disks[disk], at)) {
      world.flip({disk, at});
      ++turned;
    }
  }
  return turned;
}

// Blocks of the aggregate that a file's content filled with `letter` lies in.
std::vector<std::uint64_t> blocks_of(GroupWorld& world, char letter) {
  std::vector<std::uint64_t> found;
  for (std::uint64_t block = kReservedBlocks; block < world.shape.block_count(); ++block) {
    const GroupWorld::Spot spot = world.spot_of(block);
    const auto& bytes = world.disks[spot.disk]->block(spot.block);
    if (std::ranges::all_of(bytes, [&](std::byte b) { return b == std::byte(letter); })) {
      found.push_back(block);
    }
  }
  return found;
}

TEST(Healing, OfADiskWithEveryBlockWrongReadersSeeNothing) {
  for (const raid::Geometry& shape : {kDouble, kThree}) {
    for (std::uint32_t disk = 0; disk < shape.disks; ++disk) {
      GroupWorld world(shape, 0, disk + 1);
      const Contents expected = fill(world);
      const Contents before = all_of_snapshot(world);
      const std::uint64_t turned = turn_all(world, disk);
      ASSERT_GT(turned, 100U);
      world.reopen();  // root and labels are wrong, too
      EXPECT_EQ(Files(world, "vol0").all(), expected);
      EXPECT_EQ(all_of_snapshot(world), before);
      world.cp();
      const HealStatistics heals = world.aggregate->heal_statistics();
      EXPECT_GT(heals.healed, 10U);
      EXPECT_EQ(heals.left, 0U);
      EXPECT_EQ(heals.failed, 0U);
      // What nobody has read is the group's to find, and with more than one check column to mend.
      EXPECT_EQ(world.scrub_group().counts.unsure, 0U);
      EXPECT_EQ(world.scrub_group().counts, raid::ScrubCounts());
      EXPECT_GT(world.group->counters().put_right[disk], turned / 2);
      // The disk is as good as the others now: they may go.
      world.fail((disk + 1) % shape.disks);
      world.fail((disk + 2) % shape.disks);
      world.reopen();
      EXPECT_EQ(Files(world, "vol0").all(), expected);
      EXPECT_EQ(all_of_snapshot(world), before);
    }
  }
}

TEST(Healing, WithOneCheckColumnADataBlockIsPutRightAndAScrubFindsNothing) {
  for (const raid::Geometry& shape : {kSingle, kTwo}) {
    GroupWorld world(shape);
    const Contents expected = fill(world);
    ASSERT_EQ(world.scrub_group().counts, raid::ScrubCounts());
    std::map<std::uint32_t, std::uint64_t> turned;
    std::set<std::uint64_t> rows;  // one block of each
    for (const std::uint64_t block : blocks_of(world, 'b')) {
      const GroupWorld::Spot spot = world.spot_of(block);
      if (rows.insert(spot.block).second) {
        world.flip(spot);
        ++turned[spot.disk];
      }
    }
    ASSERT_GT(rows.size(), 5U);
    world.reopen();
    EXPECT_EQ(Files(world, "vol0").all(), expected);
    EXPECT_EQ(world.aggregate->heal_statistics(), (HealStatistics{.healed = rows.size()}));
    for (const auto& [disk, count] : turned) {
      EXPECT_EQ(world.group->counters().put_right[disk], count);
    }
    EXPECT_EQ(world.scrub_group().counts, raid::ScrubCounts());
    world.reopen();
    EXPECT_EQ(Files(world, "vol0").all(), expected);
    EXPECT_EQ(world.aggregate->heal_statistics(), HealStatistics());
  }
}

TEST(Healing, OfTooMuchDamageGivesTheErrorAndMakesNothingWorse) {
  GroupWorld world(kSingle);
  Contents expected = fill(world);
  const std::uint64_t block = blocks_of(world, 'b').front();
  const GroupWorld::Spot first = world.spot_of(block);
  world.flip(first);
  world.flip({kSingle.disk_of(kSingle.place_of(block).stripe, kSingle.data_columns()),
              first.block});  // and the check data
  const auto image = [&] {
    std::vector<sim::SimDisk::Block> row;
    for (const auto& disk : world.disks) {
      row.push_back(disk->block(first.block));
    }
    return row;
  };
  const auto before = image();
  world.reopen();
  Files files(world, "vol0");
  std::size_t failed = 0;
  for (const auto& [file_name, text] : expected) {
    const std::string& name = file_name;
    const Status read = world.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> root = files.volume().find_inode(attempt, kLive, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      Result<Entry> entry = lookup(attempt, *root.value(), name);
      if (!entry.ok()) {
        return entry.error();
      }
      Result<InodeRef> inode = files.volume().find_inode(attempt, kLive, entry.value().inode);
      if (!inode.ok()) {
        return inode.error();
      }
      const Result<ReadResult> got = wafl::read(attempt, *inode.value(), 0, 64U << 20U);
      return got.ok() ? Status(Ok{}) : got.error();
    });
    if (!read.ok()) {
      ++failed;
      EXPECT_EQ(read.error().code, Errc::kCorrupt);
    } else {
      EXPECT_EQ(files.get(kLive, name), text);
    }
  }
  EXPECT_EQ(failed, 1U);
  EXPECT_GT(world.aggregate->heal_statistics().failed, 0U);
  EXPECT_EQ(world.aggregate->heal_statistics().healed, 0U);
  EXPECT_EQ(world.group->counters().healed, 0U);
  EXPECT_TRUE(image() == before);
}

TEST(Healing, AScrubOfASnapshotHeals) {
  GroupWorld world(kSingle);
  fill(world);
  const std::vector<std::uint64_t> blocks = blocks_of(world, 'c');  // of a file that was removed
  ASSERT_FALSE(blocks.empty());
  world.flip(world.spot_of(blocks.front()));
  Files files(world, "vol0");
  Aggregate::ScrubProgress progress;
  ASSERT_TRUE(
      world.run(world.aggregate->scrub(files.volume().id(), snapshot_of(files), progress)).ok());
  EXPECT_EQ(progress.errors, 0U);
  EXPECT_EQ(progress.healed, 1U);
  EXPECT_EQ(world.scrub_group().counts, raid::ScrubCounts());
}

TEST(Healing, GoesOnThroughCrashesWhileADiskTurnsBits) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    GroupWorld world(kDouble, 0, seed);
    Contents expected = fill(world);
    sim::Random& random = world.scheduler.random();
    const auto bad = static_cast<std::uint32_t>(random.below(kDouble.disks));
    for (int round = 0; round < 6; ++round) {
      for (int i = 0; i < 60; ++i) {
        const std::uint64_t at =
            raid::kDataStartBlock + random.below(world.shape.disk_blocks() - raid::kDataStartBlock);
        if (!blank(*world.disks[bad], at)) {
          world.flip({bad, at});
        }
      }
      world.crash(round % 2 == 0);
      ASSERT_EQ(Files(world, "vol0").all(), expected) << "seed " << seed << " round " << round;
      Files files(world, "vol0");
      const std::string name = "h" + std::to_string(round % 3);
      ASSERT_TRUE(files.put(name, 0, content(round)).ok());
      ASSERT_TRUE(files.truncate(name, content(round).size()).ok());
      world.cp();
      expected[name] = content(round);
    }
    EXPECT_EQ(world.scrub_group().counts.unsure, 0U);
    EXPECT_EQ(world.scrub_group().counts, raid::ScrubCounts());
  }
}

// ---- disks that say by themselves what they are asked ----

// The one block of the aggregate that holds `letter` in every byte.
std::uint64_t block_of(MemoryDisk& disk, char letter) {
  for (std::uint64_t block = kReservedBlocks; block < disk.block_count(); ++block) {
    if (disk.holds(block) && std::ranges::all_of(disk.content(block), [&](std::byte b) {
          return b == std::byte(letter);
        })) {
      return block;
    }
  }
  return 0;
}

TEST(Healing, BelievesNoWayThatHasAnotherChecksum) {
  World world(1, 65'536, 1);
  MemoryDisk& disk = *world.devices[0];
  disk.redundant = true;
  ASSERT_TRUE(Files(world, "vol0").put("f", 0, std::string(kBlockBytes, 'x')).ok());
  world.cp();
  const std::uint64_t block = block_of(disk, 'x');
  ASSERT_NE(block, 0U);
  disk.content(block)[7] ^= std::byte{1};
  std::vector<std::uint32_t> asked;
  std::vector<std::byte> repaired;
  disk.on_other = [&](MemoryDisk::Other& other) {
    EXPECT_EQ(other.block, block);
    if (other.kind == MemoryDisk::Other::Kind::kRepair) {
      repaired.assign(other.bytes.begin(), other.bytes.end());
      disk.answer(other, Ok{});
      return;
    }
    asked.push_back(other.attempt);
    std::ranges::fill(other.bytes, std::byte(other.attempt == 2 ? 'x' : 'w'));
    disk.answer(other, other.attempt == 1 ? Status(Error{Errc::kIo, "not this way"}) : Ok{});
  };
  world.reopen();
  EXPECT_EQ(Files(world, "vol0").get(kLive, "f"), std::string(kBlockBytes, 'x'));
  EXPECT_EQ(asked, (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(repaired, std::vector<std::byte>(kBlockBytes, std::byte{'x'}));
  EXPECT_EQ(world.aggregate->heal_statistics(), (HealStatistics{.healed = 1}));
}

Task<void> load_and_note(Attempt& attempt, bool& done) {
  (void)co_await attempt.load();
  done = true;
}
Task<void> cp_and_note(Aggregate& aggregate, bool& done) {
  LogPosition position;
  position.epoch = 1;
  position.log_id = 7;
  const Status written = co_await aggregate.consistency_point(position);
  EXPECT_TRUE(written.ok());
  done = true;
}

// A way that knows what a block was before must not bring it back over what it is now.
TEST(Healing, ACpWritesNothingWhileABlockIsHealedThatItCouldWrite) {
  World world(1, 65'536, 1);
  MemoryDisk& disk = *world.devices[0];
  disk.redundant = true;
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("f", 0, std::string(kBlockBytes, 'x')).ok());
  world.cp();
  const std::uint64_t block = block_of(disk, 'x');
  disk.content(block)[7] ^= std::byte{1};
  MemoryDisk::Other* held = nullptr;
  disk.on_other = [&](MemoryDisk::Other& other) {
    if (other.kind == MemoryDisk::Other::Kind::kRepair) {
      held = &other;
      return;
    }
    std::ranges::fill(other.bytes, std::byte{'x'});
    disk.answer(other, Ok{});
  };
  world.reopen();
  const std::vector<std::byte> broken = disk.content(block);
  const BlockPointer pointer{block, world.aggregate->root().cp,
                             crc32c(std::vector<std::byte>(kBlockBytes, std::byte{'x'}))};
  Attempt attempt(*world.aggregate);
  (void)attempt.miss(pointer);
  bool loaded = false;
  bool first = false;
  bool second = false;
  TaskScope scope(world.scheduler);
  scope.spawn(load_and_note(attempt, loaded));
  ASSERT_TRUE(world.scheduler.run_until([&] { return held != nullptr; }));
  ASSERT_NE(held, nullptr);
  ASSERT_TRUE(Files(world, "vol0").put("g", 0, std::string(kBlockBytes, 'y')).ok());
  scope.spawn(cp_and_note(*world.aggregate, first));  // it cannot free and give the block
  ASSERT_TRUE(world.scheduler.run_until([&] { return first; }));
  ASSERT_TRUE(first);
  ASSERT_TRUE(Files(world, "vol0").put("h", 0, std::string(kBlockBytes, 'z')).ok());
  const std::uint64_t writes = disk.writes;
  scope.spawn(cp_and_note(*world.aggregate, second));
  EXPECT_TRUE(world.scheduler.run());
  EXPECT_FALSE(second);
  EXPECT_EQ(disk.writes, writes);
  disk.answer(*held, Ok{});
  ASSERT_TRUE(world.scheduler.run_until([&] { return second && loaded; }));
  EXPECT_TRUE(second && loaded);
  // And what was found before the last commit is not healed at all.
  Attempt late(*world.aggregate);
  (void)late.miss(pointer);
  world.cp();
  held = nullptr;
  bool late_loaded = false;
  scope.spawn(load_and_note(late, late_loaded));
  ASSERT_TRUE(world.scheduler.run_until([&] { return late_loaded; }));
  EXPECT_EQ(held, nullptr);
}

}  // namespace
}  // namespace duet::wafl
