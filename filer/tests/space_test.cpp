// Aggregates that are full, and what grows them.  What each test does once took the filer down.

#include <gtest/gtest.h>

#include "platform/task_scope.h"
#include "world.h"

namespace duet::filer::testing {
namespace {

constexpr std::uint32_t kInodesPerBlock = 32;

// One file in each of `count` blocks of the inode file.
std::vector<Handle> spread_files(World& world, const Handle& root, std::size_t count) {
  std::vector<Handle> spread;
  for (std::size_t i = 0; spread.size() < count; ++i) {
    const std::string name = "f" + std::to_string(i);
    CreateRequest request{root.bytes(), name, CreateMode::kGuarded, {}, 0};
    request.attributes.size_bytes = 1;
    request.attributes.mode = 0644;
    const Caller from = world.caller();
    const CreateReply reply = world.run(world.filer->create(from, request));
    EXPECT_FALSE(reply.error.has_value());
    if (i % kInodesPerBlock == 5) {
      spread.push_back(reply.handle.value_or(Handle{}));
    }
  }
  return spread;
}

// Writes until nothing fits any more.
void fill(World& world, const Handle& file) {
  const std::string data(1U << 20U, 'x');
  std::uint64_t at = 0;
  for (std::size_t size = data.size(); size >= kBlockBytes; size /= 4) {
    while (!world.write(file, at, std::string_view(data).substr(0, size)).error.has_value()) {
      at += size;
    }
  }
}

FilerOptions slow_timer() {
  FilerOptions options = World::quick_options();
  options.cp_interval = std::chrono::hours(1000);
  return options;
}

TEST(Space, ReadingNeedsNoneOnAFullAggregate) {
  World world(1, slow_timer(), 8'192);
  const Handle root = world.root();
  const std::vector<Handle> files = spread_files(world, root, 1'150);
  fill(world, world.create(root, "big"));
  ASSERT_TRUE(world.run(world.filer->consistency_point()).ok());
  for (const Handle& file : files) {
    Failure error;
    world.read(file, 0, 1, &error);
    ASSERT_FALSE(error.has_value());
  }
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  EXPECT_FALSE(world.filer->failed());
}

TEST(Space, DailySnapshotsOfAFullAggregateEndBeforeTheReserveDoes) {
  World world(1, slow_timer(), 8'192);
  const Handle root = world.root();
  const std::vector<Handle> files = spread_files(world, root, 200);
  fill(world, world.create(root, "big"));
  std::size_t next = 0;
  bool refused = false;
  for (int day = 0; day < 60; ++day) {
    const Status made = world.run(world.filer->create_snapshot("vol0", "d" + std::to_string(day)));
    refused = refused || (!made.ok() && made.error().code == Errc::kNoSpace);
    for (int i = 0; i < 50; ++i) {
      world.read(files[next++ % files.size()], 0, 1);
    }
    ASSERT_TRUE(world.run(world.filer->consistency_point()).ok()) << "day " << day;
    EXPECT_TRUE(world.scheduler.run_for(std::chrono::hours(25)));
  }
  EXPECT_TRUE(refused);
  EXPECT_FALSE(world.remove(root, "f7").error.has_value());
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
}

TEST(Space, TheWholeReplyCacheFitsBesideWhatFreesSpace) {
  FilerOptions options = slow_timer();
  options.reply_cache_entries = 16'384;
  World world(1, options, 8'192);
  const Handle root = world.root();
  world.create(root, "a");
  fill(world, world.create(root, "big"));
  // Removing is allowed to use half of the reserve; in the same CP every reply is new.
  for (int i = 0; i < 14'000; ++i) {
    const bool there = i % 2 == 0;
    const RenameReply renamed = world.rename(root, there ? "a" : "b", root, there ? "b" : "a");
    ASSERT_FALSE(renamed.error.has_value());
  }
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  world.crash();
  EXPECT_FALSE(world.filer->failed());
}

TEST(Space, OfTwoDisksAddedAtOnceEachIsInTheTableOrRefused) {
  World world;
  const Handle root = world.root();
  for (const char* name : {"x", "y"}) {
    world.disks.push_back(std::make_unique<sim::SimDisk>(name, 32'768));
    world.devices.push_back(
        std::make_unique<sim::SimBlockDevice>(world.scheduler, *world.disks.back()));
  }
  const Handle other = world.create(root, "other");
  const std::string data(1U << 20U, 'y');
  for (std::uint64_t i = 0; i < 30; ++i) {
    world.write(other, i << 20U, data);
  }
  std::optional<Status> first;
  std::optional<Status> second;
  std::optional<Status> cp;
  {
    TaskScope scope(world.scheduler);
    scope.spawn(keep_result(world.filer->consistency_point(), cp));
    (void)world.scheduler.run_until([&] { return world.filer->aggregate().cp_running(); }, 1000);
    scope.spawn(keep_result(world.filer->add_disk(*world.devices[2]), first));
    scope.spawn(keep_result(world.filer->add_disk(*world.devices[3]), second));
    EXPECT_TRUE(world.scheduler.run_until(
        [&] { return cp.has_value() && first.has_value() && second.has_value(); }, 50'000'000));
  }
  EXPECT_TRUE(first->ok());
  ASSERT_FALSE(second->ok());
  EXPECT_EQ(second->error().code, Errc::kRefused);
  EXPECT_TRUE(world.run(world.filer->add_disk(*world.devices[3])).ok());
  const Handle big = world.create(root, "big");
  for (std::uint64_t i = 0; i < 300; ++i) {
    ASSERT_FALSE(world.write(big, i << 20U, data).error.has_value());
  }
  EXPECT_TRUE(world.run(world.filer->stop()).ok());
  world.filer.reset();
  world.open();
  EXPECT_EQ(world.read(big, 299U << 20U, 1U << 20U), data);
}

TEST(Space, ADiskTooSmallForItsOwnReservedBlocksIsRefused) {
  World world;
  world.disks.push_back(std::make_unique<sim::SimDisk>("tiny", 64));
  world.devices.push_back(
      std::make_unique<sim::SimBlockDevice>(world.scheduler, *world.disks.back()));
  const Status added = world.run(world.filer->add_disk(*world.devices.back()));
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().code, Errc::kRefused);
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
}

TEST(Space, RepliesStayWhenTheirCacheIsMadeSmallerAndLargerAgain) {
  FilerOptions options = World::quick_options();
  options.reply_cache_entries = 128;
  World world(1, options);
  const Handle root = world.root();
  const auto reopen = [&world](std::uint32_t entries) {
    EXPECT_TRUE(world.run(world.filer->stop()).ok());
    world.filer.reset();
    world.options.reply_cache_entries = entries;
    world.open();
  };
  reopen(64);
  for (int i = 0; i < 100; ++i) {
    world.create(root, "a" + std::to_string(i));
  }
  std::vector<std::pair<Caller, std::string>> sent;
  for (int i = 0; i < 60; ++i) {
    const std::string name = "k" + std::to_string(i);
    const Caller from = world.caller();
    const CreateRequest request{root.bytes(), name, CreateMode::kGuarded, {}, 0};
    EXPECT_FALSE(world.run(world.filer->create(from, request)).error.has_value());
    sent.emplace_back(from, name);
  }
  reopen(128);
  for (int i = 0; i < 8; ++i) {
    world.create(root, "z" + std::to_string(i));
  }
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  world.crash();
  for (const auto& [from, name] : sent) {
    const CreateRequest request{root.bytes(), name, CreateMode::kGuarded, {}, 0};
    EXPECT_FALSE(world.run(world.filer->create(from, request)).error.has_value()) << name;
  }
}

}  // namespace
}  // namespace duet::filer::testing
