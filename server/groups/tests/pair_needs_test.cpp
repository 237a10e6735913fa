// A filer's aggregate on a group that two nodes manage: a disk fails and is rebuilt by both,
// passing by what is not needed, while the aggregate moves from one node to the other or its node
// is killed.

#include <gtest/gtest.h>

#include "pair_world.h"
#include "wafl/aggregate.h"
#include "wafl/operations.h"

namespace duet::groups {
namespace {

using testing::PairWorld;
using Contents = std::map<std::string, std::string>;

constexpr raid::NodeId kA = PairWorld::kA;
constexpr raid::NodeId kB = PairWorld::kB;
constexpr raid::Geometry kShape = {
    .level = raid::Level::kDoubleParity, .disks = 5, .chunk_blocks = 8, .stripes = 700};

class MovingAggregate {
 public:
  explicit MovingAggregate(std::uint64_t seed) : world(seed) {
    world.disks.push_back(std::make_unique<sim::SimDisk>("spare", PairWorld::kDiskBlocks));
    const raid::GroupId id = {world.entropy.next(), world.entropy.next()};
    std::vector<std::unique_ptr<BlockDevice>> owned;
    std::vector<BlockDevice*> devices;
    std::vector<raid::DiskId> ids;
    for (const auto& disk : world.disks) {
      owned.push_back(std::make_unique<sim::SimBlockDevice>(world.scheduler, *disk));
      devices.push_back(owned.back().get());
      ids.push_back({0xD15C, 1 + ids.size()});
    }
    const std::vector<raid::VirtualDiskEntry> parts = {
        {"a", {0, 600 * kShape.stripe_blocks()}},
        {"b", {600 * kShape.stripe_blocks(), 100 * kShape.stripe_blocks()}}};
    const std::span<BlockDevice* const> all = devices;
    const std::span<const raid::DiskId> all_ids = ids;
    const raid::FormatOptions options = {.virtual_disks = parts,
                                         .spares = all.subspan(5),
                                         .spare_ids = all_ids.subspan(5),
                                         .step_stripes = 2};
    EXPECT_TRUE(world
                    .run(raid::format_group(all.first(5), all_ids.first(5), id, kShape, kPairNodes,
                                            options))
                    .ok());
    const raid::MemoryLayout layout = world.config.groups[0].intents();
    for (const raid::NodeId node : {kA, kB}) {
      EXPECT_TRUE(raid::format_intents(*world.memories[raid::number(node)], id, node, layout.slots,
                                       layout.pages)
                      .ok());
    }
    owned.clear();
    world.start_both();
    EXPECT_TRUE(world.scheduler.run_until(
        [&] { return world.manager(kA).status().members == kPairNodes; }, 10'000'000));
    wafl::FormatOptions format;
    format.filer_name = "a";
    format.log_id = 7;
    EXPECT_TRUE(world.run(wafl::format(world.scheduler, {&disk()}, format, world.entropy)).ok());
    open();
    EXPECT_TRUE(aggregate->create_volume("vol0", 0, wafl::Timestamp{1}).ok());
    cp();
  }
  ~MovingAggregate() { aggregate.reset(); }
  MovingAggregate(const MovingAggregate&) = delete;
  MovingAggregate& operator=(const MovingAggregate&) = delete;

  BlockDevice& disk() { return world.disk_at(host, "a"); }
  void open() {
    auto opened = world.run(wafl::Aggregate::open(world.scheduler, world.clock, {&disk()}, {}));
    ASSERT_TRUE(opened.ok()) << opened.error().context;
    aggregate = std::move(opened.value());
    aggregate->tell_needs();
  }
  // In order: whoever goes says nothing more before the other begins.
  void move() {
    bool silent = false;
    TaskScope scope(world.scheduler);
    scope.spawn(fall_silent(*aggregate, silent));
    ASSERT_TRUE(world.scheduler.run_until([&] { return silent; }, 1'000'000));
    aggregate.reset();
    host = host == kA ? kB : kA;
    open();
  }
  // Its node is killed, and the other one begins with the last CP.
  void take_over() {
    aggregate.reset();
    world.lose_node(host);
    host = host == kA ? kB : kA;
    ASSERT_TRUE(world.scheduler.run_until(
        [&] { return world.manager(host).status().members == raid::only(host); }, 10'000'000));
    open();
    live = committed;
  }
  void cp() {
    const Status written = world.run(aggregate->consistency_point({.epoch = 1, .log_id = 7}));
    ASSERT_TRUE(written.ok()) << written.error().context;
    committed = live;
  }
  void work(int changes) {
    for (int i = 0; i < changes; ++i) {
      const std::string name = "f" + std::to_string(world.random.below(20));
      if (world.random.below(3) == 0 && live.contains(name)) {
        erase(name);
        live.erase(name);
      } else {
        live[name] = std::string(1 + world.random.below(200'000),
                                 static_cast<char>('a' + world.random.below(26)));
        put(name, live[name]);
      }
      if (i % 3 == 2) {
        cp();
      }
    }
    cp();
  }
  void check() {
    for (const auto& [file_name, text] : live) {
      const std::string& name = file_name;
      std::string got;
      const Status read = attempt([&](wafl::Attempt& attempt) -> Status {
        Result<wafl::InodeRef> inode = find(attempt, name);
        if (!inode.ok()) {
          return inode.error();
        }
        const Result<wafl::ReadResult> result = wafl::read(attempt, *inode.value(), 0, 1U << 20U);
        if (!result.ok()) {
          return result.error();
        }
        got.clear();
        for (const wafl::Extent& extent : result.value().extents) {
          got.append(reinterpret_cast<const char*>(extent.buffer.bytes().data()) + extent.offset,
                     extent.bytes);
        }
        return Ok{};
      });
      ASSERT_TRUE(read.ok()) << name << ": " << read.error().context;
      ASSERT_EQ(got, text) << name;
    }
  }
  [[nodiscard]] bool in_sync(std::size_t member) {
    return static_cast<raid::DiskState>(world.manager(host).status().label.members[member].state) ==
           raid::DiskState::kInSync;
  }

  PairWorld world;
  raid::NodeId host = kA;
  std::unique_ptr<wafl::Aggregate> aggregate;
  Contents live, committed;

 private:
  static Task<void> fall_silent(wafl::Aggregate& aggregate, bool& silent) {
    co_await aggregate.tell_no_needs();
    silent = true;
  }
  template <typename Operation>
  Status attempt(Operation operation) {
    wafl::Attempt attempt(*aggregate);
    for (;;) {
      const Status done = operation(attempt);
      if (done.ok() || done.error().code != Errc::kMiss) {
        return done;
      }
      const Status loaded = world.run(attempt.load());
      if (!loaded.ok()) {
        return loaded;
      }
    }
  }
  Result<wafl::InodeRef> root(wafl::Attempt& attempt) {
    return aggregate->find_volume("vol0")->find_inode(attempt, wafl::kLive, wafl::kRootInode);
  }
  Result<wafl::InodeRef> find(wafl::Attempt& attempt, const std::string& name) {
    Result<wafl::InodeRef> directory = root(attempt);
    if (!directory.ok()) {
      return directory;
    }
    const Result<wafl::Entry> entry = wafl::lookup(attempt, *directory.value(), name);
    if (!entry.ok()) {
      return entry.error();
    }
    return aggregate->find_volume("vol0")->find_inode(attempt, wafl::kLive, entry.value().inode);
  }
  void put(const std::string& name, const std::string& text) {
    const wafl::Timestamp now{1};
    const Status written = attempt([&](wafl::Attempt& attempt) -> Status {
      Result<wafl::InodeRef> inode = find(attempt, name);
      if (!inode.ok() && inode.error().code == Errc::kNotFound) {
        Result<wafl::InodeRef> directory = root(attempt);
        if (!directory.ok()) {
          return directory.error();
        }
        inode = wafl::create(attempt, *directory.value(), name, {.mode = 0644}, now);
      }
      if (!inode.ok()) {
        return inode.error();
      }
      const std::array<ConstBytes, 1> parts{std::as_bytes(std::span(text))};
      return wafl::write(attempt, *inode.value(), 0, parts, false, now);
    });
    ASSERT_TRUE(written.ok()) << written.error().context;
    const Status cut = attempt([&](wafl::Attempt& attempt) -> Status {
      Result<wafl::InodeRef> inode = find(attempt, name);
      if (!inode.ok()) {
        return inode.error();
      }
      return wafl::set_attributes(attempt, *inode.value(), {.size_bytes = text.size()}, now);
    });
    ASSERT_TRUE(cut.ok()) << cut.error().context;
  }
  void erase(const std::string& name) {
    const Status erased = attempt([&](wafl::Attempt& attempt) -> Status {
      Result<wafl::InodeRef> directory = root(attempt);
      if (!directory.ok()) {
        return directory.error();
      }
      return wafl::remove(attempt, *directory.value(), name, wafl::Timestamp{1});
    });
    ASSERT_TRUE(erased.ok()) << erased.error().context;
  }
};

class Moving : public ::testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, Moving, ::testing::Range(std::uint64_t{1}, std::uint64_t{9}));

TEST_P(Moving, WhatARebuildPassedByIsNeverMissed) {
  const std::uint64_t seed = GetParam();
  MovingAggregate moving(seed);
  PairWorld& world = moving.world;
  moving.work(20);
  const auto lost = static_cast<std::uint32_t>(world.random.below(kShape.disks));
  world.manager(moving.host).disk_failed(lost);  // the spare takes its place at once
  moving.work(static_cast<int>(world.random.below(6)));
  if (seed % 2 == 0) {
    ASSERT_NO_FATAL_FAILURE(moving.move());
  } else {
    ASSERT_NO_FATAL_FAILURE(moving.take_over());
  }
  moving.work(10);
  ASSERT_TRUE(world.scheduler.run_until([&] { return moving.in_sync(lost); }, 100'000'000));
  std::uint64_t passed_by = 0;
  for (const auto& manager : world.managers) {
    passed_by += manager != nullptr ? manager->group->counters().passed_by : 0;
  }
  EXPECT_GT(passed_by, 50U);
  moving.work(40);
  // Two others go: what the new disk has must be right.
  world.manager(moving.host).disk_failed((lost + 1) % kShape.disks);
  world.manager(moving.host).disk_failed((lost + 3) % kShape.disks);
  ASSERT_TRUE(world.scheduler.run_until(
      [&] {
        return !moving.in_sync((lost + 1) % kShape.disks) &&
               !moving.in_sync((lost + 3) % kShape.disks);
      },
      100'000'000));
  moving.aggregate.reset();
  moving.open();
  ASSERT_NO_FATAL_FAILURE(moving.check());
}

}  // namespace
}  // namespace duet::groups
