// Which disks are taken back by themselves.

#include "path_watch.h"

#include <gtest/gtest.h>

#include "sim/sim_block_device.h"
#include "sim/sim_scheduler.h"

namespace duet::groups {
namespace {

using std::chrono::seconds;
using Numbers = std::vector<std::uint32_t>;

struct Paths : ::testing::Test {
  Paths() {
    slot.device = std::make_unique<HeldDisk>(
        scheduler, std::make_unique<sim::SimBlockDevice>(scheduler, disk));
    view.slot = &slot;
    view.number = 3;
    view.state = raid::DiskState::kInSync;
  }
  Numbers look() { return watch.look(std::span(&view, 1), Instant{} + now); }
  void fail() { view.state = raid::DiskState::kFailed; }
  void connect() {
    health.connected = true;
    ++health.reconnects;
  }

  sim::SimScheduler scheduler{1};
  sim::SimDisk disk{"d", 512};
  Slot slot;
  DiskView view;
  shelf::DiskHealth health;
  Duration now{};
  PathWatch watch{[this](const Slot& /*slot*/) { return health; }};
};

TEST_F(Paths, OneThatWasOutOfReachIsTakenBackWhenItCanBeReached) {
  EXPECT_EQ(look(), Numbers());
  health.connected = false;
  EXPECT_EQ(look(), Numbers());
  fail();
  EXPECT_EQ(look(), Numbers());
  connect();
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, AlsoIfNobodyLookedBetween) {
  EXPECT_EQ(look(), Numbers());
  fail();
  ++health.reconnects;
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, OneThatWasNeverThereComes) {
  fail();
  health.connected = false;
  EXPECT_EQ(look(), Numbers());
  connect();
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, OneThatGaveErrorsOrThatAnOperatorFailedStaysOut) {
  health.reconnects = 7;
  EXPECT_EQ(look(), Numbers());
  fail();
  EXPECT_EQ(look(), Numbers());
  now += seconds(100);
  EXPECT_EQ(look(), Numbers());
  ++health.reconnects;  // whatever becomes of its path
  EXPECT_EQ(look(), Numbers());
}

TEST_F(Paths, OneThatAnOperatorKeepsOutStaysOutWhateverItsPathDoes) {
  health.connected = false;
  fail();
  view.kept_out = true;
  EXPECT_EQ(look(), Numbers());
  connect();
  EXPECT_EQ(look(), Numbers());
}

TEST_F(Paths, OneThatIsRefusedIsTriedAgainAfterAWhile) {
  health.connected = false;
  EXPECT_EQ(look(), Numbers());
  fail();
  connect();
  EXPECT_EQ(look(), Numbers({3}));
  now += seconds(1);
  EXPECT_EQ(look(), Numbers());
  now += PathWatch::kAgain;
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, OneThatCameBackAndThenGivesErrorsStaysOut) {
  health.connected = false;
  EXPECT_EQ(look(), Numbers());
  fail();
  connect();
  EXPECT_EQ(look(), Numbers({3}));
  view.state = raid::DiskState::kRebuilding;
  EXPECT_EQ(look(), Numbers());
  fail();
  now += seconds(100);
  EXPECT_EQ(look(), Numbers());
}

}  // namespace
}  // namespace duet::groups
