#include "groups/format_pair.h"

#include <gmock/gmock.h>

#include "pair_world.h"
#include "wafl_check/check.h"

namespace duet::groups {
namespace {

using testing::Blocks;
using ::testing::HasSubstr;
using testing::PairWorld;

constexpr raid::NodeId kA = PairWorld::kA;
constexpr raid::NodeId kB = PairWorld::kB;

Blocks filled(std::size_t count, std::uint64_t seed) {
  Blocks blocks(count);
  blocks.fill(seed);
  return blocks;
}

void expect_blocks(PairWorld& world, BlockDevice& device, std::uint64_t at, const Blocks& wanted) {
  const Blocks found(wanted.bytes().size() / kBlockBytes);
  ASSERT_TRUE(world.run(read(device, at, found)).ok());
  EXPECT_EQ(found, wanted);
}

TEST(OfflineGroup, EndsInOrderSoThatBothNodesCanStart) {
  PairWorld world;
  ASSERT_EQ(world.format(), "");
  ASSERT_EQ(world.run(world.group->open(world.entropy)), "");
  EXPECT_EQ(world.group->virtual_disk("c"), nullptr);
  const Blocks first = filled(30, 1);
  ASSERT_TRUE(world.run(write(*world.group->virtual_disk("a"), 7, first)).ok());
  ASSERT_TRUE(world.run(write(*world.group->virtual_disk("b"), 9, first)).ok());
  EXPECT_TRUE(world.group->notes().empty());
  world.close();
  EXPECT_EQ(world.label().holders, 0U);
  EXPECT_EQ(world.label().owed, 0U);
  EXPECT_EQ(world.label().nodes, kPairNodes);

  world.start_both();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  ASSERT_TRUE(world.scheduler.run_until(
      [&] { return world.manager(kA).status().members == kPairNodes; }, 1'000'000));
  EXPECT_EQ(world.manager(kA).counters().recovered, 0U);
  expect_blocks(world, world.disk_at(kB, "a"), 7, first);
  expect_blocks(world, world.disk_at(kA, "b"), 9, first);
  const Blocks second = filled(30, 2);
  ASSERT_TRUE(world.run(write(world.disk_at(kA, "a"), 20, second)).ok());
  expect_blocks(world, world.disk_at(kB, "a"), 20, second);
}

// On two machines each node formats with its own memory.
TEST(OfflineGroup, WhatIsAtRestIsOpenedWithABlankMemory) {
  PairWorld world;
  ASSERT_EQ(world.format(raid::only(kB)), "");
  ASSERT_EQ(world.run(world.group->open(world.entropy)), "");
  const Blocks blocks = filled(3, 1);
  ASSERT_TRUE(world.run(write(*world.group->virtual_disk("b"), 0, blocks)).ok());
  world.close();
  ASSERT_EQ(world.run(world.offline(raid::only(kA)).open(world.entropy)), "");
  expect_blocks(world, *world.group->virtual_disk("b"), 0, blocks);
  world.close();
  world.start_both();
}

TEST(OfflineGroup, AfterACrashOfBothNodesEitherMemoryIsEnoughAndNothingIsChanged) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    PairWorld world(seed);
    ASSERT_EQ(world.format(), "");
    ASSERT_EQ(world.run(world.group->open(world.entropy)), "");
    world.close();
    world.start_both();
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    ASSERT_TRUE(world.scheduler.run_until(
        [&] { return world.manager(kA).status().members == kPairNodes; }, 1'000'000));
    const Blocks answered = filled(60, seed);
    ASSERT_TRUE(world.run(write(world.disk_at(kA, "a"), 9, answered)).ok());
    ASSERT_TRUE(world.run(write(world.disk_at(kB, "b"), 9, answered)).ok());
    const Blocks more = filled(7, seed + 100);
    struct Write final : BlockOperation {
      void run() override {}
    } under_way;
    under_way.kind = BlockOperation::Kind::kWrite;
    under_way.block = 72;  // beside what was answered, in the same stripe
    under_way.parts = more.parts();
    world.disk_at(seed % 3 == 0 ? kA : kB, "a").start(under_way);
    static_cast<void>(world.scheduler.run(world.random.below(60)));
    world.kill(/*power=*/seed % 2 == 0);
    std::vector<sim::SimDisk> before;
    for (const auto& disk : world.disks) {
      before.push_back(*disk);
    }
    const std::vector<std::byte> memory(world.memories[0]->bytes().begin(),
                                        world.memories[0]->bytes().end());
    world.away = {seed % 5, (seed + 2) % 5};
    for (const raid::NodeSet nodes : {kPairNodes, raid::only(kA), raid::only(kB)}) {
      ASSERT_EQ(world.run(world.offline(nodes, /*overlaid=*/true).open(world.entropy)), "");
      expect_blocks(world, *world.group->virtual_disk("a"), 9, answered);
      expect_blocks(world, *world.group->virtual_disk("b"), 9, answered);
      EXPECT_GE(world.group->notes().size(), 2U);
      EXPECT_THAT(world.group->notes().back(), HasSubstr("is not used: gone"));
    }
    world.kill();
    for (std::size_t i = 0; i < world.disks.size(); ++i) {
      for (std::uint64_t block = 0; block < PairWorld::kDiskBlocks; ++block) {
        ASSERT_EQ(world.disks[i]->block(block), before[i].block(block));
      }
    }
    EXPECT_TRUE(same_bytes(memory, world.memories[0]->bytes()));
    world.away = {0, 1, 2};
    EXPECT_THAT(
        world.run(world.offline(kPairNodes, true).open(world.entropy)),
        HasSubstr("sim.yaml:5: redundancy group tank: too few disks of the redundancy group "
                  "are there; start the shelves"));
  }
}

TEST(OfflineGroup, WhatOneNodeWroteAloneNeedsItsMemory) {
  PairWorld world;
  ASSERT_EQ(world.format(), "");
  ASSERT_EQ(world.run(world.group->open(world.entropy)), "");
  world.close();
  world.start_both();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  ASSERT_TRUE(world.scheduler.run_until(
      [&] { return world.manager(kB).status().members == kPairNodes; }, 1'000'000));
  world.lose_node(kA);
  ASSERT_TRUE(world.scheduler.run_until(
      [&] { return world.manager(kB).status().members == raid::only(kB); }, 1'000'000));
  const Blocks blocks = filled(20, 5);
  ASSERT_TRUE(world.run(write(world.disk_at(kB, "a"), 40, blocks)).ok());
  world.kill();
  EXPECT_THAT(world.run(world.offline(raid::only(kA), true).open(world.entropy)),
              HasSubstr("what it was writing when it was last used stands in the mirror memory of "
                        "node b, and that is not here"));
  ASSERT_EQ(world.run(world.offline(kPairNodes, true).open(world.entropy)), "");
  expect_blocks(world, *world.group->virtual_disk("a"), 40, blocks);
  ASSERT_EQ(world.run(world.offline(raid::only(kB), true).open(world.entropy)), "");
  expect_blocks(world, *world.group->virtual_disk("a"), 40, blocks);
}

TEST(OfflineGroup, IsThereAsItIsConfiguredOrNot) {
  PairWorld world;
  EXPECT_FALSE(world.run(world.offline(kPairNodes).is_there()).value());
  EXPECT_THAT(world.run(world.group->open(world.entropy)),
              HasSubstr("none of its disks carries the label of a group"));
  ASSERT_EQ(world.format(), "");
  EXPECT_TRUE(world.run(world.offline(kPairNodes).is_there()).value());
  config::RaidGroup& configured = world.config.groups[0];
  configured.virtual_disks[1].name = "c";
  EXPECT_FALSE(world.run(world.offline(kPairNodes).is_there()).value());
  configured.virtual_disks[1].name = "b";
  configured.chunk_blocks = 16;
  EXPECT_FALSE(world.run(world.offline(kPairNodes).is_there()).value());
  configured.chunk_blocks = 8;
  configured.level = raid::Level::kSingleParity;
  EXPECT_FALSE(world.run(world.offline(kPairNodes).is_there()).value());
}

TEST(OfflineGroup, AGroupOfANodeAloneIsNotAPairs) {
  PairWorld world;
  ASSERT_EQ(world.format(), "");
  for (const auto& disk : world.disks) {
    sim::SimBlockDevice device(world.scheduler, *disk);
    auto label = world.run(raid::read_label(device));
    ASSERT_TRUE(label.ok());
    ++label.value().sequence;
    label.value().nodes = raid::only(kA);
    ASSERT_TRUE(world.run(raid::write_label(device, label.value())).ok());
  }
  EXPECT_FALSE(world.run(world.offline(kPairNodes).is_there()).value());
  EXPECT_THAT(world.run(world.group->open(world.entropy)),
              HasSubstr("it was made for a node alone"));
}

TEST(OfflineGroup, DisksThatAreTooSmallAreRefusedBeforeTheyAreTouched) {
  PairWorld world;
  world.config.groups[0].virtual_disks[0].size_bytes = 1ULL << 30U;
  EXPECT_THAT(world.offline(kPairNodes).check(),
              HasSubstr("sim.yaml:5: redundancy group tank: its virtual disks do not fit on disks "
                        "of 48 MiB"));
  EXPECT_THAT(world.format(), HasSubstr("its virtual disks do not fit"));
  EXPECT_FALSE(world.run(world.offline(kPairNodes).is_there()).value());
}

// As `duet check` looks at a filer after a crash of both nodes.
TEST(OfflineGroup, AFilersAggregateIsCleanAfterACrashOfBothNodes) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    PairWorld world(seed);
    sim::SimPersistentMemory log(64ULL << 20U);
    ASSERT_EQ(world.format(), "");
    ASSERT_EQ(world.run(world.group->open(world.entropy)), "");
    wafl::FormatOptions format;
    format.pair = {11, 12};
    format.filer_name = "a";
    format.log_id = 77;
    ASSERT_TRUE(nvlog::format_area(log, {{11, 12}, 0, 77}, 0).ok());
    BlockDevice* const device = world.group->virtual_disk("a");
    ASSERT_TRUE(world.run(wafl::format(world.scheduler, {device}, format, world.entropy)).ok());
    world.close();
    world.start_both();
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    {
      filer::FilerOptions options;
      options.cache_bytes = 16U << 20U;
      options.dirty_bytes_max = 8U << 20U;
      options.cp_interval = std::chrono::milliseconds(20);
      auto opened = world.run(filer::Filer::open(world.scheduler, world.clock, world.entropy,
                                                 {&world.disk_at(kA, "a")}, log, options));
      ASSERT_TRUE(opened.ok()) << opened.error().context;
      for (int i = 0; i < 20; ++i) {
        const std::string name = "vol" + std::to_string(i);
        ASSERT_TRUE(world.run(opened.value()->create_volume(name, 0)).ok());
      }
      opened.value()->want_consistency_point();
      static_cast<void>(world.scheduler.run(world.random.below(3'000)));
    }
    world.kill(/*power=*/seed % 2 == 0);
    world.away = {seed % 5};
    ASSERT_EQ(world.run(world.offline(kPairNodes, /*overlaid=*/true).open(world.entropy)), "");
    const wafl::CheckReport report = world.run(wafl::check({world.group->virtual_disk("a")}, {}));
    for (const wafl::CheckProblem& problem : report.problems) {
      ADD_FAILURE() << problem.text;
    }
    EXPECT_GE(report.volumes, 1U);
  }
}

}  // namespace
}  // namespace duet::groups
