#include "groups/overlay.h"

#include "world.h"

namespace duet::groups {
namespace {

using testing::Blocks;
using testing::World;

TEST(Overlay, ReadsWhatWasWrittenAndLeavesTheDiskAlone) {
  World world("raid5", 3, 1024);
  sim::SimDisk& disk = *world.disks["d0"];
  Blocks old(4);
  old.fill(1);
  for (std::uint64_t i = 0; i < 4; ++i) {
    disk.put(i, old.bytes().subspan(i * kBlockBytes, kBlockBytes));
  }
  Overlay overlay(world.scheduler, std::make_unique<sim::SimBlockDevice>(world.scheduler, disk));
  Blocks fresh(2);
  fresh.fill(2);
  ASSERT_TRUE(world.run(write(overlay, 1, fresh)).ok());
  EXPECT_EQ(overlay.blocks(), 2U);
  const Blocks found(4);
  ASSERT_TRUE(world.run(read(overlay, 0, found)).ok());
  const auto block = [](const Blocks& of, std::size_t number) {
    const ConstBytes bytes = of.bytes().subspan(number * kBlockBytes, kBlockBytes);
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(block(found, 0), block(old, 0));
  EXPECT_EQ(block(found, 1), block(fresh, 0));
  EXPECT_EQ(block(found, 2), block(fresh, 1));
  EXPECT_EQ(block(found, 3), block(old, 3));
  EXPECT_EQ(std::memcmp(disk.block(1).data(), old.bytes().data() + kBlockBytes, kBlockBytes), 0);
}

// As `duet check` does it: the group is recovered in memory, and can be looked at degraded.
TEST(Overlay, AGroupThatCrashedIsLookedAtWithoutAChange) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world("raid6", 5, 1024, seed);
    ASSERT_EQ(world.format_and_open(), "");
    Blocks blocks(60);
    blocks.fill(seed);
    ASSERT_TRUE(world.run(write(world.device(), 9, blocks)).ok());
    Blocks more(7);
    more.fill(seed + 100);
    struct Write final : BlockOperation {
      void run() override {}
    } under_way;
    under_way.kind = BlockOperation::Kind::kWrite;
    under_way.block = 72;  // beside what was answered, in the same stripe
    under_way.parts = more.parts();
    world.device().start(under_way);
    static_cast<void>(world.scheduler.run(world.random.below(40)));
    world.kill(/*power=*/seed % 2 == 0);
    std::map<std::string, sim::SimDisk> before;
    for (const auto& [name, disk] : world.disks) {
      before.emplace(name, *disk);
    }
    const std::vector<std::byte> memory(world.memory.bytes().begin(), world.memory.bytes().end());
    world.away = {"d" + std::to_string(seed % 5), "d" + std::to_string((seed + 2) % 5)};
    ASSERT_EQ(world.open(/*overlaid=*/true), "") << seed;
    const Blocks found(60);
    ASSERT_TRUE(world.run(read(world.device(), 9, found)).ok());
    ASSERT_EQ(found, blocks) << seed;
    world.kill();
    for (const auto& [name, disk] : world.disks) {
      for (std::uint64_t block = 0; block < disk->block_count(); ++block) {
        ASSERT_EQ(disk->block(block), before.at(name).block(block)) << seed;
      }
    }
    ASSERT_TRUE(same_bytes(memory, world.memory.bytes()));
  }
}

}  // namespace
}  // namespace duet::groups
