// Time and order in a simulated world.

#include "sim/sim_scheduler.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "platform/task_scope.h"
#include "sim/sim_clock.h"
#include "sim/sim_entropy.h"

namespace duet::sim {
namespace {

using namespace std::chrono_literals;

struct Append final : Continuation {
  Append(std::string& target, char letter) : order(target), name(letter) {}
  void run() override { order.push_back(name); }
  std::string& order;
  char name;
};

TEST(SimScheduler, RunsWhatIsReadyInEveryOrderForSomeSeed) {
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    SimScheduler scheduler(seed);
    std::string order;
    Append a(order, 'a');
    Append b(order, 'b');
    Append c(order, 'c');
    Append d(order, 'd');
    ContinuationList list;
    scheduler.post(a);
    scheduler.post_last(b);
    list.push_back(c);
    scheduler.post_all(list);
    scheduler.post_at(d, scheduler.now());
    EXPECT_TRUE(scheduler.run());
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 24U);
}

Task<void> tick(Scheduler& scheduler, int& ticks) {
  for (;;) {
    co_await sleep(scheduler, 1s);
    ++ticks;
  }
}

TEST(SimScheduler, RunsForATimeOrUntilDoneWhereTimersNeverEnd) {
  SimScheduler scheduler(1);
  TaskScope scope(scheduler);
  int ticks = 0;
  scope.spawn(tick(scheduler, ticks));
  EXPECT_TRUE(scheduler.run_for(10'500ms));
  EXPECT_EQ(ticks, 10);
  EXPECT_EQ(scheduler.now().since_start, 10'500ms);
  EXPECT_TRUE(scheduler.run_until([&ticks] { return ticks == 20; }));
  EXPECT_EQ(scheduler.now().since_start, 20s);
  EXPECT_FALSE(scheduler.run(5)) << "it never rests";
  EXPECT_FALSE(scheduler.run_for(1000s, 10));
}

TEST(SimScheduler, ForgetsWhatIsDestroyedBeforeItsTurn) {
  SimScheduler scheduler(1);
  std::string order;
  Append kept(order, 'k');
  {
    Append gone(order, 'g');
    scheduler.post(gone);
    scheduler.post(kept);
  }
  EXPECT_TRUE(scheduler.run());
  EXPECT_EQ(order, "k");
}

TEST(SimWallClock, GoesWithTheWorldAndMayBeSetBack) {
  SimScheduler scheduler(1);
  SimWallClock clock(scheduler, 1000s);
  EXPECT_TRUE(scheduler.run_for(5s));
  EXPECT_EQ(clock.since_epoch(), 1005s);
  clock.jump(-10s);
  EXPECT_EQ(clock.since_epoch(), 995s);
}

TEST(SimEntropy, RepeatsItselfWithItsSeed) {
  SimEntropy a(1);
  SimEntropy b(1);
  SimEntropy c(2);
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), c.next());
}

}  // namespace
}  // namespace duet::sim
