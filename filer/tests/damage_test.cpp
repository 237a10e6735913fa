// Damaged metadata below acknowledged requests: consistency points and replay go on.

#include <gtest/gtest.h>

#include <string>

#include "base/bytes.h"
#include "wafl/tree_format.h"
#include "world.h"

namespace duet::filer::testing {
namespace {

constexpr std::uint64_t kDiskBlocks = 32'768;

// Flips a bit in one block of 256 pointers to blocks that begin with `mark`.
bool damage_indirect_block(World& world, std::string_view mark) {
  const auto block_at = [&world](std::uint64_t block) {
    return ConstBytes(world.disks[block / kDiskBlocks]->block(block % kDiskBlocks));
  };
  const auto leads_to_marked = [&](ConstBytes pointers, std::size_t slot) {
    const auto child = load<wafl::BlockPointer>(pointers, slot * sizeof(wafl::BlockPointer));
    return !child.hole() && child.block() < 2 * kDiskBlocks &&
           crc32c(block_at(child.block())) == child.checksum &&
           same_bytes(block_at(child.block()).first(mark.size()), bytes_of_text(mark));
  };
  for (std::uint64_t block = 256; block < 2 * kDiskBlocks; ++block) {
    if (leads_to_marked(block_at(block), 0) && leads_to_marked(block_at(block), 255)) {
      world.disks[block / kDiskBlocks]->flip_bit(block % kDiskBlocks, 100, 1);
      return true;
    }
  }
  return false;
}

class DamageOfSize : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(DamageOfSize, OfAFilesIndirectBlockFailsNeitherCpNorReplay) {
  World world;
  const Handle root = world.root();
  const Handle file = world.create(root, "file");
  const Handle other = world.create(root, "other");
  const std::uint64_t mib = GetParam();
  for (std::uint64_t i = 0; i < mib; ++i) {
    std::string data(1U << 20U, static_cast<char>('a' + i));
    EXPECT_FALSE(world.write(file, i << 20U, data).error.has_value());
  }
  world.stop_and_open();
  EXPECT_TRUE(world.run(world.filer->stop()).ok());
  world.filer.reset();
  ASSERT_TRUE(damage_indirect_block(world, std::string(4, static_cast<char>('a' + mib - 1))));
  world.open();
  // Acknowledged, and nothing of them needed the damaged block.
  EXPECT_FALSE(world.write(file, (mib << 20U) - 4096, std::string(4096, 'n')).error.has_value());
  SetAttributes cut;
  cut.size_bytes = (mib << 20U) - (1U << 19U);
  EXPECT_FALSE(world.setattr(file, cut).error.has_value());
  world.crash();
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  EXPECT_GT(world.filer->aggregate().cp_statistics().lost_subtrees +
                world.filer->aggregate().cp_statistics().leaked_subtrees,
            0U);
  EXPECT_FALSE(world.remove(root, "file").error.has_value());
  world.crash(true);
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  EXPECT_FALSE(world.write(other, 0, "goes on").error.has_value());
  EXPECT_FALSE(world.filer->failed());
}

INSTANTIATE_TEST_SUITE_P(Sizes, DamageOfSize, ::testing::Values(1, 3));

TEST(Damage, OfARemovedFilesIndirectBlockFailsNeitherCpNorReplay) {
  World world;
  const Handle root = world.root();
  const Handle file = world.create(root, "file");
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(world.write(file, i << 20U, std::string(1U << 20U, 'x')).error.has_value());
  }
  EXPECT_TRUE(world.run(world.filer->stop()).ok());
  world.filer.reset();
  ASSERT_TRUE(damage_indirect_block(world, "xxxx"));
  world.open();
  EXPECT_FALSE(world.remove(root, "file").error.has_value());
  world.crash();
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  EXPECT_TRUE(world.run(world.filer->consistency_point()).ok());
  EXPECT_EQ(world.filer->aggregate().cp_statistics().leaked_subtrees, 1U);
  world.crash();
}

}  // namespace
}  // namespace duet::filer::testing
