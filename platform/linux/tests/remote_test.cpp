// What other threads and signals do to a scheduler.

#include <gtest/gtest.h>

#include <signal.h>

#include <deque>
#include <thread>
#include <vector>

#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/signal_source.h"
#include "platform/task_scope.h"

namespace duet::os {
namespace {

// Counts its turns on the scheduler's thread, without a lock: TSan would see a race.
struct Count final : Continuation {
  Count(EpollScheduler& owner, int& total, int all) : scheduler(owner), ran(total), expected(all) {}
  void run() override {
    EXPECT_TRUE(scheduler.is_current());
    if (++ran == expected) {
      scheduler.stop();
    }
  }
  EpollScheduler& scheduler;
  int& ran;
  int expected;
};

void post_from_threads(Duration spin_max) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  EpollScheduler scheduler(spin_max);
  int ran = 0;
  std::deque<Count> counts;
  for (int i = 0; i < kThreads * kPosts; ++i) {
    counts.emplace_back(scheduler, ran, kThreads * kPosts);
  }
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&counts, &scheduler, thread] {
      for (int i = 0; i < kPosts; ++i) {
        scheduler.post_remote(counts[static_cast<std::size_t>(thread * kPosts + i)]);
      }
    });
  }
  scheduler.run();
  EXPECT_EQ(ran, kThreads * kPosts);
}

TEST(EpollScheduler, RunsEverythingThatOtherThreadsPostWhileItSleeps) {
  post_from_threads(Duration::zero());
}

TEST(EpollScheduler, RunsEverythingThatOtherThreadsPostWhileItPolls) {
  post_from_threads(std::chrono::milliseconds(1));
}

TEST(EpollScheduler, WakesForAPostThatComesAloneEveryTime) {
  // Each post answers the one before, so the scheduler sleeps or is about to each time.
  EpollScheduler ping(Duration::zero());
  EpollScheduler pong(Duration::zero());
  struct Ball final : Continuation {
    Ball(EpollScheduler& from, EpollScheduler& to) : here(from), there(to) {}
    void run() override {
      if (--*left == 0) {
        here.stop();
        there.stop();
        return;
      }
      there.post_remote(*other);
    }
    EpollScheduler& here;
    EpollScheduler& there;
    Ball* other = nullptr;
    int* left = nullptr;
  };
  Ball first(ping, pong);
  Ball second(pong, ping);
  int left = 20'000;
  first.other = &second;
  second.other = &first;
  first.left = second.left = &left;
  ping.post_remote(first);
  std::jthread other([&pong] { pong.run(); });
  ping.run();
  other.join();
  EXPECT_EQ(left, 0);
}

Task<void> visit(EpollScheduler& home, EpollScheduler& away, int& visits) {
  for (int i = 0; i < 1000; ++i) {
    co_await hop_to(away);
    EXPECT_TRUE(away.is_current());
    ++visits;
    co_await hop_to(home);
    EXPECT_TRUE(home.is_current());
  }
  home.stop();
}

TEST(Hop, TakesACoroutineToTheOtherThreadAndBack) {
  EpollScheduler home;
  EpollScheduler away;
  int visits = 0;
  std::jthread other([&away] { away.run(); });
  {
    TaskScope scope(home);
    struct Start final : Continuation {
      Start(TaskScope& s, EpollScheduler& h, EpollScheduler& a, int& v)
          : scope(s), home(h), away(a), visits(v) {}
      void run() override { scope.spawn(visit(home, away, visits)); }
      TaskScope& scope;
      EpollScheduler& home;
      EpollScheduler& away;
      int& visits;
    };
    Start start(scope, home, away, visits);
    home.post(start);
    home.run();
    EXPECT_TRUE(scope.idle());
  }
  away.stop();
  other.join();
  EXPECT_EQ(visits, 1000);
}

TEST(EpollScheduler, StopsFromAnotherThreadWhileItSleeps) {
  for (int i = 0; i < 200; ++i) {
    EpollScheduler scheduler(Duration::zero());
    std::jthread other([&scheduler] { scheduler.stop(); });
    scheduler.run();
  }
}

TEST(EpollScheduler, RunsAgainAfterAStop) {
  EpollScheduler scheduler;
  int ran = 0;
  for (int i = 1; i <= 3; ++i) {
    Count count(scheduler, ran, i);
    scheduler.post(count);
    scheduler.run();
    EXPECT_EQ(ran, i);
  }
}

TEST(EpollScheduler, LetsGoOfWhatOthersPostedAndItNeverRan) {
  int ran = 0;
  EpollScheduler other;
  Count outlives(other, ran, 100);
  {
    EpollScheduler scheduler;
    scheduler.post_remote(outlives);
    Count collected(scheduler, ran, 100);
    scheduler.post_remote(collected);
    scheduler.collect_remote();
  }
  EXPECT_FALSE(outlives.linked());
  EXPECT_EQ(ran, 0);
}

Task<void> yield_until(EpollScheduler& scheduler, const bool& enough) {
  while (!enough) {
    co_await yield(scheduler);
  }
  scheduler.stop();
}

TEST(EpollScheduler, WorkThatAlwaysPostsItselfAgainStarvesNeitherThreadsTimersNorLastWork) {
  EpollScheduler scheduler;
  struct Step final : Continuation {
    Step(EpollScheduler& s, bool& f) : scheduler(s), flag(f) {}
    void run() override { flag = true; }
    EpollScheduler& scheduler;
    bool& flag;
  };
  for (int kind = 0; kind < 3; ++kind) {
    bool done = false;
    Step step(scheduler, done);
    TaskScope scope(scheduler);
    scope.spawn(yield_until(scheduler, done));
    if (kind == 0) {
      scheduler.post_last(step);
    } else if (kind == 1) {
      scheduler.post_at(step, scheduler.now());
    } else {
      scheduler.post_remote(step);
    }
    scheduler.run();
    EXPECT_TRUE(done);
  }
}

Task<void> take_signals(EpollScheduler& scheduler, SignalSource& source, std::vector<int>& taken) {
  while (taken.size() < 2) {
    const int number = co_await source.next();
    taken.push_back(number);
    raise(SIGHUP);
  }
  scheduler.stop();
}

TEST(SignalSource, GivesSignalsToTheOneWhoWaits) {
  EpollScheduler scheduler;
  SignalSource source(scheduler);
  std::vector<int> taken;
  TaskScope scope(scheduler);
  scope.spawn(take_signals(scheduler, source, taken));
  raise(SIGTERM);
  scheduler.run();
  EXPECT_EQ(taken, (std::vector<int>{SIGTERM, SIGHUP}));
  EXPECT_EQ(source.try_take(), SIGHUP);
  EXPECT_EQ(source.try_take(), std::nullopt);
}

}  // namespace
}  // namespace duet::os
