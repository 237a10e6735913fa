// The simulated shelf: late writes, cut paths, kills; and I10, that no byte of a fenced node lands.

#include "shelf/testing/sim_target.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "fixture.h"
#include "shelf/fence.h"
#include "shelf/label_format.h"

namespace duet::shelf::testing {
namespace {

using namespace std::chrono_literals;

constexpr Reservation kWe = Reservation::kWriteExclusive;

// A node that writes without end: its name and a number, each to a block of its choice.
class Writer {
 public:
  Writer(sim::SimScheduler& scheduler, std::unique_ptr<SharedDisk> disk, std::uint8_t name)
      : scheduler_(scheduler), disk_(std::move(disk)), name_(name), scope_(scheduler) {}

  void start(int at_once) {
    for (int i = 0; i < at_once; ++i) {
      scope_.spawn(write_on(std::make_unique<TestBlock>(name_)));
    }
  }
  SharedDisk& disk() { return *disk_; }
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] std::uint64_t fenced() const { return fenced_; }
  [[nodiscard]] std::uint64_t failed() const { return failed_; }
  [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& written() const { return written_; }

 private:
  Task<void> write_on(std::unique_ptr<TestBlock> block) {
    for (;;) {
      const std::uint64_t number = ++number_;
      const std::uint64_t at = number % kBlocks;
      store(block->part, 8, number);
      const Status written = co_await disk_->write(at, block->parts());
      if (written.ok()) {
        ++acknowledged_;
        written_[at] = number;
      } else {
        ++(written.error().code == Errc::kFenced ? fenced_ : failed_);
        co_await sleep(scheduler_, 1ms);
      }
    }
  }

  sim::SimScheduler& scheduler_;
  std::unique_ptr<SharedDisk> disk_;
  const std::uint8_t name_;
  std::uint64_t number_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t fenced_ = 0;
  std::uint64_t failed_ = 0;
  std::map<std::uint64_t, std::uint64_t> written_;  // block: the last number acknowledged
  TaskScope scope_;
};

class SimTargetTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  template <typename T>
  T now(Task<T> task) {
    return run(scheduler_, std::move(task));
  }
  void pass(Duration time) { ASSERT_TRUE(scheduler_.run_for(time, 10'000'000)); }
  std::uint64_t blocks_of(std::uint8_t name) {
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < kBlocks; ++i) {
      count += data_.block(i)[0] == std::byte{name} ? 1 : 0;
    }
    return count;
  }

  sim::SimScheduler scheduler_{GetParam()};
  sim::SimDisk data_{"d0", kBlocks};
  sim::SimDisk label_{"d0.label", kLabelBlocks};
  SimPath path_a_{scheduler_};
  SimPath path_b_{scheduler_};
};
INSTANTIATE_TEST_SUITE_P(Seeds, SimTargetTest, ::testing::Range<std::uint64_t>(1, 41));

TEST_P(SimTargetTest, ReadsWhatWasWritten) {
  SimTarget shelf(scheduler_, data_, label_);
  const auto disk = shelf.connect(path_a_, kA1);
  EXPECT_OK(now(do_register(*disk)));
  EXPECT_OK(now(do_write(*disk, 5, TestBlock(7))));
  EXPECT_OK(now(do_durable(*disk, 6, TestBlock(8))));
  EXPECT_OK(now(do_swap(*disk, 7, TestBlock(0), TestBlock(9))));
  TestBlock block;
  for (const std::uint64_t at : {5U, 6U, 7U}) {
    EXPECT_OK(now(do_read(*disk, at, block)));
    EXPECT_EQ(block.bytes[4095], std::byte(at + 2));
  }
  EXPECT_EQ(now(do_state(*disk)).value().keys, std::vector{kA1});
}

TEST_P(SimTargetTest, ACutPathStallsAndAWholeOneGoesOn) {
  SimTarget shelf(scheduler_, data_, label_, {.late_one_in = 0});
  Writer a(scheduler_, shelf.connect(path_a_, kA1), 1);
  a.start(4);
  pass(20ms);
  path_a_.cut();
  pass(10ms);
  const std::uint64_t before = a.acknowledged();
  pass(500ms);
  EXPECT_EQ(a.acknowledged(), before);
  EXPECT_FALSE(a.disk().health().connected);
  EXPECT_EQ(a.disk().health().operations, 4U);
  path_a_.heal();
  pass(200ms);
  EXPECT_GT(a.acknowledged(), before);
  EXPECT_TRUE(a.disk().health().connected);
  EXPECT_GT(a.disk().health().reconnects, 0U);
  EXPECT_EQ(a.failed() + a.fenced(), 0U);
}

TEST_P(SimTargetTest, AnswersMayBeLostAloneAndWorkIsNotDoneTwice) {
  SimTarget shelf(scheduler_, data_, label_, {.late_one_in = 0});
  const auto disk = shelf.connect(path_a_, kA1);
  EXPECT_OK(now(do_write(*disk, 3, TestBlock(1))));
  const TestBlock expected(1);
  const TestBlock desired(2);
  std::optional<Status> swapped;
  TaskScope scope(scheduler_);
  path_a_.cut_back();
  scope.spawn(store_result(do_swap(*disk, 3, expected, desired), swapped));
  pass(200ms);
  EXPECT_FALSE(swapped.has_value());
  EXPECT_EQ(data_.block(3)[0], std::byte{2}) << "it has happened";
  path_a_.heal();
  pass(200ms);
  ASSERT_TRUE(swapped.has_value());
  EXPECT_OK(*swapped);
}

TEST_P(SimTargetTest, ALostShelfFailsAfterItsTime) {
  SimTarget shelf(scheduler_, data_, label_);
  Writer a(scheduler_, shelf.connect(path_a_, kA1), 1);
  a.start(3);
  pass(20ms);
  shelf.kill();
  pass(1900ms);
  EXPECT_EQ(a.failed(), 0U);
  pass(400ms);
  EXPECT_GE(a.failed(), 3U);
  shelf.start();
  const std::uint64_t before = a.acknowledged();
  pass(500ms);
  EXPECT_GT(a.acknowledged(), before);
}

// Random cuts, kills and restarts; then a fence, and whatever was late arrives.
TEST_P(SimTargetTest, NoByteOfAFencedNodeLands) {
  SimTarget shelf(scheduler_, data_, label_, {.late_one_in = 20, .slow_one_in = 4});
  auto a = std::make_unique<Writer>(scheduler_, shelf.connect(path_a_, kA1), 1);
  const auto b = shelf.connect(path_b_, kB1);
  ASSERT_TRUE(now(join_disk(a->disk(), kWe)).ok());
  ASSERT_TRUE(now(join_disk(*b, kWe)).ok());
  ASSERT_TRUE(now(do_raise(a->disk(), 3)).ok());
  a->disk().use_epoch(3);
  a->start(8);
  sim::Random& random = scheduler_.random();
  for (int step = 0; step < 12; ++step) {
    pass(std::chrono::milliseconds(random.below(80)));
    switch (random.below(6)) {
      case 0:
        path_a_.cut();
        break;
      case 1:
        random.one_in(2) ? path_a_.cut_there() : path_a_.cut_back();
        break;
      case 2:
        shelf.kill();
        pass(std::chrono::milliseconds(random.below(20)));
        shelf.start();
        break;
      case 3:
        if (random.one_in(3)) {
          a.reset();  // the process dies; what it sent is on its way
          a = std::make_unique<Writer>(scheduler_, shelf.connect(path_a_, kA1), 1);
          a->disk().use_epoch(3);
          a->start(8);
        }
        break;
      default:
        path_a_.heal();
        break;
    }
  }
  const bool by_epoch = random.one_in(3);
  const Status fenced = now(by_epoch ? do_raise(*b, 4) : fence_disk(*b, kWe));
  ASSERT_TRUE(fenced.ok()) << fenced.error().context;
  const sim::SimDisk image(data_);
  path_a_.heal();
  pass(50ms);
  if (random.one_in(2)) {
    shelf.kill();
    shelf.start();
  }
  pass(1s);
  for (std::uint64_t i = 0; i < kBlocks; ++i) {
    ASSERT_EQ(data_.block(i), image.block(i)) << "block " << i << (by_epoch ? " epoch" : " key");
  }
  EXPECT_GT(a->fenced(), 0U);
}

// What was acknowledged, flushed or not, is there as long as the machine keeps its power.
TEST_P(SimTargetTest, KillsAndCutsLoseNothingThatWasAcknowledged) {
  SimTarget shelf(scheduler_, data_, label_, {.late_one_in = 20});
  Writer a(scheduler_, shelf.connect(path_a_, kA1), 1);
  a.start(1);
  sim::Random& random = scheduler_.random();
  for (int step = 0; step < 20; ++step) {
    pass(std::chrono::milliseconds(random.below(60)));
    if (random.one_in(2)) {
      shelf.kill();
      shelf.start();
    } else {
      path_a_.cut();
      pass(std::chrono::milliseconds(random.below(200)));
      path_a_.heal();
    }
    for (const auto& [at, number] : a.written()) {
      ASSERT_GE(load<std::uint64_t>(data_.block(at), 8), number);
    }
  }
  EXPECT_GT(a.acknowledged(), 0U);
  EXPECT_EQ(a.failed(), 0U);
}

TEST_P(SimTargetTest, ANewIncarnationShutsTheOlderOneOut) {
  SimTarget shelf(scheduler_, data_, label_, {.late_one_in = 20, .slow_one_in = 4});
  Writer old(scheduler_, shelf.connect(path_a_, kA1), 1);
  ASSERT_TRUE(now(join_disk(old.disk(), kWe)).ok());
  old.start(8);
  pass(50ms);
  const auto young = shelf.connect(path_a_, kA2);
  ASSERT_TRUE(now(join_disk(*young, kWe)).ok());
  const sim::SimDisk image(data_);
  pass(500ms);
  for (std::uint64_t i = 0; i < kBlocks; ++i) {
    ASSERT_EQ(data_.block(i), image.block(i));
  }
  EXPECT_GT(old.fenced(), 0U);
  EXPECT_OK(now(do_write(*young, 1, TestBlock(3))));
  EXPECT_ERRC(now(do_register(old.disk())), Errc::kFenced);
}

// The scheduler of one process, which may be paused: its turns wait meanwhile.
class PausedScheduler final : public Scheduler {
 public:
  explicit PausedScheduler(Scheduler& world) : world_(world) {}
  [[nodiscard]] Instant now() const override { return world_.now(); }
  void post(Continuation& c) override { paused_ ? waiting_.push_back(c) : world_.post(c); }
  void post_last(Continuation& c) override { post(c); }
  void post_at(Continuation& c, Instant due) override {
    paused_ ? waiting_.push_back(c) : world_.post_at(c, due);
  }
  void post_all(ContinuationList& list) override {
    while (!list.empty()) {
      post(list.pop_front());
    }
  }
  void pause() { paused_ = true; }
  void resume() {
    paused_ = false;
    world_.post_all(waiting_);
  }

 private:
  Scheduler& world_;
  bool paused_ = false;
  ContinuationList waiting_;
};

TEST_P(SimTargetTest, APausedProcessTakesNothingInAndWhatItSentArrives) {
  SimTarget shelf(scheduler_, data_, label_, {.late_one_in = 0});
  PausedScheduler process(scheduler_);
  const auto disk = shelf.connect(path_a_, kA1, &process);
  EXPECT_OK(now(do_write(*disk, 3, TestBlock(1))));
  std::optional<Status> written;
  TaskScope scope(scheduler_);
  const TestBlock block(2);
  scope.spawn(store_result(do_write(*disk, 3, block), written));
  process.pause();
  pass(5s);
  EXPECT_EQ(data_.block(3)[0], std::byte{2});
  EXPECT_FALSE(written.has_value());
  process.resume();
  pass(100ms);
  ASSERT_TRUE(written.has_value());
  EXPECT_OK(*written);
}

TEST_P(SimTargetTest, ATargetMayForgetAndOfferLess) {
  DiskFeatures poor;
  SimTarget shelf(scheduler_, data_, label_, {.features = poor});
  const auto a = shelf.connect(path_a_, kA1);
  const auto b = shelf.connect(path_b_, kB1);
  EXPECT_OK(now(join_disk(*a, kWe)));
  EXPECT_ERRC(now(do_swap(*a, 3, TestBlock(0), TestBlock(1))), Errc::kNotSupported);
  EXPECT_ERRC(now(do_raise(*a, 3)), Errc::kNotSupported);
  EXPECT_ERRC(now(do_reserve(*a, Reservation::kExclusiveAccess)), Errc::kNotSupported);
  EXPECT_ERRC(now(fence_disk(*a, kWe)), Errc::kRefused);
  EXPECT_OK(now(fence_disk(*a, kWe, true)));
  EXPECT_ERRC(now(do_write(*b, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_ERRC(now(exclude_processes(*a, node_of(kB1), incarnation_of(kB1))), Errc::kRefused);
  EXPECT_OK(now(exclude_processes(*a, node_of(kB1), incarnation_of(kB1), true)));
  shelf.kill();
  shelf.start();
  EXPECT_TRUE(now(do_state(*a)).value().keys.empty());
  EXPECT_OK(now(do_write(*b, 3, TestBlock(1))));
}

// B fenced A's process elsewhere, and this disk was out of reach.
TEST_P(SimTargetTest, OldProcessesAreExcludedAndANewerOneStays) {
  SimTarget shelf(scheduler_, data_, label_);
  const auto old = shelf.connect(path_a_, kA1);
  const auto b = shelf.connect(path_b_, kB1);
  EXPECT_OK(now(join_disk(*old, kWe)));
  EXPECT_OK(now(join_disk(*b, kWe)));
  const std::uint8_t node = node_of(kA1);
  EXPECT_OK(now(exclude_processes(*b, node, incarnation_of(kA1) - 1)));  // older ones
  EXPECT_OK(now(do_write(*old, 3, TestBlock(1))));
  EXPECT_OK(now(exclude_processes(*b, node, incarnation_of(kA1))));
  EXPECT_ERRC(now(do_write(*old, 3, TestBlock(2))), Errc::kFenced);
  const auto newer = shelf.connect(path_a_, make_key(node, incarnation_of(kA1) + 1));
  EXPECT_OK(now(join_disk(*newer, kWe)));
  EXPECT_OK(now(exclude_processes(*b, node, incarnation_of(kA1))));  // again
  EXPECT_OK(now(do_write(*newer, 3, TestBlock(3))));
  EXPECT_OK(now(do_write(*b, 3, TestBlock(4))));
  // Who was shut out himself has no say, nor is a disk without a reservation of any help.
  EXPECT_OK(now(fence_disk(*newer, kWe)));
  EXPECT_ERRC(now(exclude_processes(*b, node, incarnation_of(kA1))), Errc::kFenced);
  EXPECT_OK(now(do_release(*newer)));
  EXPECT_ERRC(now(exclude_processes(*newer, node_of(kB1), incarnation_of(kB1))), Errc::kRefused);
}

TEST_P(SimTargetTest, PowerLossKeepsTheFence) {
  SimTarget shelf(scheduler_, data_, label_);
  const auto a = shelf.connect(path_a_, kA1);
  const auto b = shelf.connect(path_b_, kB1);
  EXPECT_OK(now(join_disk(*a, kWe)));
  EXPECT_OK(now(join_disk(*b, kWe)));
  EXPECT_OK(now(fence_disk(*b, kWe)));
  const DiskState before = shelf.target()->state();
  shelf.lose_power();
  shelf.start();
  EXPECT_ERRC(now(do_write(*a, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_EQ(shelf.target()->state(), before);
}

TEST(SimTarget, IsTheSameRunForTheSameSeed) {
  const auto run_once = [](std::uint64_t seed) {
    sim::SimScheduler scheduler(seed);
    sim::SimDisk data("d0", kBlocks);
    sim::SimDisk label("d0.label", kLabelBlocks);
    SimPath path(scheduler);
    SimTarget shelf(scheduler, data, label);
    Writer a(scheduler, shelf.connect(path, kA1), 1);
    a.start(4);
    EXPECT_TRUE(scheduler.run_for(50ms));
    return scheduler.digest();
  };
  EXPECT_EQ(run_once(3), run_once(3));
  EXPECT_NE(run_once(3), run_once(4));
}

}  // namespace
}  // namespace duet::shelf::testing
