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
  Numbers look() { return watch.look(std::span(&view, 1), alone, Instant{} + now); }
  void fail() { view.state = raid::DiskState::kFailed; }
  void connect() {
    path.connected = true;
    ++path.sessions;
  }

  sim::SimScheduler scheduler{1};
  sim::SimDisk disk{"d", 512};
  Slot slot;
  DiskView view;
  PathWatch::Path path;
  bool alone = false;
  Duration now{};
  PathWatch watch{[this](const Slot& /*slot*/) { return path; }};
};

TEST_F(Paths, OneThatWasOutOfReachIsTakenBackWhenItCanBeReached) {
  EXPECT_EQ(look(), Numbers());
  path.connected = false;
  EXPECT_EQ(look(), Numbers());
  fail();
  EXPECT_EQ(look(), Numbers());
  connect();
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, AlsoIfNobodyLookedBetween) {
  EXPECT_EQ(look(), Numbers());
  fail();
  ++path.sessions;
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, OneThatWasNeverThereComes) {
  fail();
  path.connected = false;
  EXPECT_EQ(look(), Numbers());
  connect();
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, OneThatGaveErrorsOrThatAnOperatorFailedStaysOut) {
  path.sessions = 7;
  alone = true;
  EXPECT_EQ(look(), Numbers());
  ++path.errors;
  fail();
  EXPECT_EQ(look(), Numbers());
  now += seconds(100);
  EXPECT_EQ(look(), Numbers());
  ++path.sessions;  // whatever becomes of its path
  EXPECT_EQ(look(), Numbers());
}

TEST_F(Paths, OneThatAnOperatorKeepsOutStaysOutWhateverItsPathDoes) {
  path.connected = false;
  fail();
  view.kept_out = true;
  EXPECT_EQ(look(), Numbers());
  connect();
  EXPECT_EQ(look(), Numbers());
}

TEST_F(Paths, OneThatThePartnerAloneDidNotReachIsTakenBackWhenThatIsGone) {
  path.errors = 2;
  EXPECT_EQ(look(), Numbers());
  fail();
  EXPECT_EQ(look(), Numbers());
  now += seconds(100);
  EXPECT_EQ(look(), Numbers());
  alone = true;
  EXPECT_EQ(look(), Numbers({3}));
}

TEST_F(Paths, OneThatHadFailedBeforeThisProcessBeganStaysOut) {
  alone = true;
  fail();
  EXPECT_EQ(look(), Numbers());
  ++path.sessions;
  EXPECT_EQ(look(), Numbers());
}

TEST_F(Paths, OneThatIsRefusedIsTriedAgainAfterAWhile) {
  path.connected = false;
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
  path.connected = false;
  EXPECT_EQ(look(), Numbers());
  fail();
  connect();
  EXPECT_EQ(look(), Numbers({3}));
  view.state = raid::DiskState::kRebuilding;
  EXPECT_EQ(look(), Numbers());
  ++path.errors;
  alone = true;
  fail();
  now += seconds(100);
  EXPECT_EQ(look(), Numbers());
}

}  // namespace
}  // namespace duet::groups
