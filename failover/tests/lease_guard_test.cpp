// The lease: rule 5.

#include "failover/lease_guard.h"

#include <gtest/gtest.h>

#include "platform/task_scope.h"
#include "sim/sim_scheduler.h"

namespace duet::failover {
namespace {

using namespace std::chrono_literals;

class TestClock final : public BootClock {
 public:
  [[nodiscard]] Instant now() const override { return time; }
  Instant time{1000s};
};

class Guard : public ::testing::Test {
 protected:
  static Task<void> wait(WaitList& list, int& woken) {
    co_await list.wait();
    ++woken;
  }
  sim::SimScheduler scheduler{1};
  TestClock clock;
  LeaseGuard guard{scheduler, clock, 500ms};
};

TEST_F(Guard, BeforeTheFirstRenewalNobodyIsAnswered) {
  EXPECT_FALSE(guard.may_answer());
  EXPECT_EQ(guard.lapsed(), 0ms);
}

TEST_F(Guard, ALeaseCountsFromTheStartOfTheRenewal) {
  const Instant started = clock.time;
  clock.time = clock.time + 300ms;  // it took that long
  guard.renewed(started);
  EXPECT_TRUE(guard.may_answer());
  clock.time = started + 499ms;
  EXPECT_TRUE(guard.may_answer());
  clock.time = started + 500ms;
  EXPECT_FALSE(guard.may_answer());
  clock.time = started + 800ms;
  EXPECT_EQ(guard.lapsed(), 300ms);
}

TEST_F(Guard, ARenewalThatEndsAfterItsLeaseIsWorthNothing) {
  const Instant started = clock.time;
  clock.time = clock.time + 501ms;
  guard.renewed(started);
  EXPECT_FALSE(guard.may_answer());
}

TEST_F(Guard, AnOlderRenewalDoesNotShortenIt) {
  guard.renewed(clock.time);
  guard.renewed(clock.time + -400ms);
  clock.time = clock.time + 450ms;
  EXPECT_TRUE(guard.may_answer());
}

TEST_F(Guard, ALapsedLeasePausesAndALaterSuccessResumes) {
  guard.renewed(clock.time);
  clock.time = clock.time + 2s;
  EXPECT_FALSE(guard.may_answer());
  int woken = 0;
  TaskScope scope(scheduler);
  scope.spawn(wait(guard.resumed(), woken));
  guard.renewed(clock.time);
  ASSERT_TRUE(scheduler.run());
  EXPECT_EQ(woken, 1);
  EXPECT_TRUE(guard.may_answer());
}

TEST_F(Guard, HeldMeansNoWhateverIsRenewed) {
  guard.renewed(clock.time);
  guard.hold();
  EXPECT_FALSE(guard.may_answer());
  guard.renewed(clock.time + 10ms);
  EXPECT_FALSE(guard.may_answer());
  guard.release();
  EXPECT_TRUE(guard.may_answer());
}

}  // namespace
}  // namespace duet::failover
