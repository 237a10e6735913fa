// A filer's way to a virtual disk: through the gate and the port to the group, and back.

#include "groups/virtual_port.h"

#include <gtest/gtest.h>

#include "failover/gated_disk.h"
#include "world.h"

namespace duet::groups {
namespace {

using testing::Blocks;
using testing::flush;
using testing::World;

Task<Status> read_other(BlockDevice& device, std::uint64_t at, std::uint32_t attempt,
                        const Blocks& into) {
  const MutableBytes bytes = into.parts()[0];
  const Status status = co_await device.redundancy()->read_other(at, attempt, bytes);
  co_return status;
}
Task<Status> repair(BlockDevice& device, std::uint64_t at, const Blocks& good) {
  const MutableBytes bytes = good.parts()[0];
  const Status status = co_await device.redundancy()->repair(at, bytes);
  co_return status;
}

TEST(VirtualPort, OfAGroupThatIsNotManagedHereKnowsNoOtherWayAndListensToNobody) {
  World world("raid5", 4, 1024);
  ASSERT_EQ(world.format(), "");
  VirtualPort port(world.scheduler, world.tank(), world.memory, "all");
  ASSERT_NE(port.redundancy(), nullptr);
  port.redundancy()->set_needed([](std::uint64_t, std::uint64_t) { return false; });
  const Blocks block(1);
  const Status other = world.run(read_other(port, 3, 0, block));
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Errc::kNotFound);
  EXPECT_FALSE(world.run(repair(port, 3, block)).ok());
}

TEST(VirtualPort, ABlockThatADiskTurnedIsPutRightThroughAnOpenGateOnly) {
  World world("raid5", 4, 1024);
  ASSERT_EQ(world.format_and_open(), "");
  VirtualPort port(world.scheduler, world.tank(), world.memory, "all");
  failover::GatedDisk gate(world.scheduler, port, /*shared=*/true);
  gate.open(1);
  Blocks good(1);
  good.fill(5);
  ASSERT_TRUE(world.run(write(gate, 0, good)).ok());
  ASSERT_TRUE(world.run(flush(gate)).ok());
  // Stripe 0, column 0, row 0.
  world.disks["d0"]->flip_bit(raid::kDataStartBlock, 77, 2);
  const Blocks wrong(1);
  ASSERT_TRUE(world.run(read(gate, 0, wrong)).ok());
  ASSERT_FALSE(wrong == good);
  gate.end();
  const Blocks other(1);
  ASSERT_TRUE(world.run(read_other(gate, 0, 0, other)).ok()) << "who is about to open looks";
  EXPECT_EQ(other, good);
  const Status refused = world.run(repair(gate, 0, other));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kFenced);
  EXPECT_EQ(world.tank().group().counters().healed, 0U);
  gate.open(2);
  const Status beyond = world.run(read_other(gate, 0, 1, other));
  ASSERT_FALSE(beyond.ok());
  EXPECT_EQ(beyond.error().code, Errc::kNotFound);
  ASSERT_TRUE(world.run(repair(gate, 0, good)).ok());
  EXPECT_EQ(world.tank().group().counters().healed, 1U);
  EXPECT_EQ(world.tank().group().counters().put_right[0], 1U);
  ASSERT_TRUE(world.run(read(gate, 0, wrong)).ok());
  EXPECT_EQ(wrong, good);
  gate.end();
  world.close();
}

}  // namespace
}  // namespace duet::groups
