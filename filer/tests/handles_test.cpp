#include "world.h"

namespace duet::filer::testing {
namespace {

Handle flipped(Handle handle, std::size_t bit) {
  handle.data[bit / 8] ^= std::byte(1U << (bit % 8));
  return handle;
}

TEST(Handles, EverySingleBitFlipIsRefused) {
  World world;
  const Handle root = world.root();
  const Handle file = world.create(root, "f");
  for (const Handle& handle : {root, file, world.lookup(root, ".snapshot").handle}) {
    ASSERT_FALSE(world.getattr(handle).error.has_value());
    for (std::size_t bit = 0; bit < handle.size * 8; ++bit) {
      const auto error = world.getattr(flipped(handle, bit)).error;
      EXPECT_TRUE(error == Errc::kBadHandle || error == Errc::kStaleHandle) << bit;
    }
  }
}

TEST(Handles, OtherSizesAreRefused) {
  World world;
  Handle handle = world.root();
  for (const std::uint32_t size : {0U, 1U, 32U, 39U, 41U, 64U}) {
    handle.size = size;
    EXPECT_EQ(world.getattr(handle).error, Errc::kBadHandle) << size;
  }
}

// After a forced takeover the filer's own handles are such; a client drops what it kept of them.
TEST(Handles, OfAnotherKeyIsStale) {
  World world;
  World other(2);
  EXPECT_EQ(world.getattr(other.root()).error, Errc::kStaleHandle);
}

TEST(Handles, GoStaleWhenTheFileIsRemovedAndItsNumberUsedAgain) {
  World world;
  const Handle root = world.root();
  const Handle first = world.create(root, "f");
  EXPECT_FALSE(world.remove(root, "f").error.has_value());
  EXPECT_EQ(world.getattr(first).error, Errc::kStaleHandle);
  const Handle second = world.create(root, "g");
  EXPECT_EQ(world.getattr(second).attributes.fileid, 3U) << "the number should be used again";
  EXPECT_EQ(world.getattr(first).error, Errc::kStaleHandle);
}

TEST(Handles, GoStaleWithTheirVolume) {
  World world;
  const Handle root = world.root();
  ASSERT_TRUE(world.run(world.filer->destroy_volume("vol0")).ok());
  EXPECT_EQ(world.getattr(root).error, Errc::kStaleHandle);
}

TEST(Handles, SurviveRestartsAndCrashes) {
  World world;
  const Handle root = world.root();
  const Handle file = world.create(root, "f");
  world.stop_and_open();
  EXPECT_FALSE(world.getattr(file).error.has_value());
  world.crash();
  EXPECT_FALSE(world.getattr(file).error.has_value());
  EXPECT_EQ(world.lookup(root, "f").handle.data, file.data);
}

}  // namespace
}  // namespace duet::filer::testing
