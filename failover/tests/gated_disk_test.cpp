// GatedDisk: rule 10's half of a filer's disk.

#include "failover/gated_disk.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "mailbox/sector.h"
#include "platform/task_scope.h"
#include "shelf/fence.h"
#include "shelf/label_format.h"
#include "shelf/testing/sim_target.h"

namespace duet::failover {
namespace {

using namespace std::chrono_literals;

Task<void> store_status(GatedDisk& disk, std::uint64_t block, std::uint8_t fill,
                        std::optional<Status>& into) {
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  std::ranges::fill(buffer->bytes(), std::byte{fill});
  into = co_await disk.write(block, buffer->parts());
}
Task<void> store_durable(GatedDisk& disk, std::uint64_t block, std::optional<Status>& into) {
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  std::ranges::fill(buffer->bytes(), std::byte{9});
  into = co_await disk.write_durable(block, buffer->parts());
}
template <typename T>
Task<void> store_result(Task<T> task, std::optional<T>& into) {
  into = co_await std::move(task);
}
Task<void> store_quiet(GatedDisk& disk, bool& done) {
  co_await disk.quiet();
  done = true;
}

class Gate : public ::testing::Test {
 protected:
  Gate() {
    gate.on_fenced = [this] { ++fenced; };
    run(shelf::join_disk(*a, shelf::Reservation::kWriteExclusive));
    run(shelf::join_disk(*b, shelf::Reservation::kWriteExclusive));
  }
  void run(Task<Status> task) {
    std::optional<Status> result;
    scope.spawn(store_result(std::move(task), result));
    ASSERT_TRUE(scheduler.run_until([&] { return result.has_value(); }));
    ASSERT_TRUE(result->ok()) << result->error().context;
  }
  void pass(Duration time) { ASSERT_TRUE(scheduler.run_for(time)); }

  sim::SimScheduler scheduler{1};
  sim::SimDisk data{"d", 64};
  sim::SimDisk label{"l", shelf::kLabelBlocks};
  shelf::testing::SimPath path_a{scheduler};
  shelf::testing::SimPath path_b{scheduler};
  shelf::testing::SimTarget target{scheduler, data, label, {.late_one_in = 0, .slow_one_in = 0}};
  std::unique_ptr<shelf::SharedDisk> a = target.connect(path_a, shelf::make_key(0, 1));
  std::unique_ptr<shelf::SharedDisk> b = target.connect(path_b, shelf::make_key(1, 1));
  GatedDisk gate{scheduler, *a};
  int fenced = 0;
  TaskScope scope{scheduler};
};

// A disk that counts who begins anew.
class Counting final : public shelf::SharedDisk {
 public:
  explicit Counting(shelf::SharedDisk& disk) : disk_(disk) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override { disk_.start(operation); }
  [[nodiscard]] shelf::DiskKey key() const override { return disk_.key(); }
  [[nodiscard]] shelf::DiskFeatures features() const override { return disk_.features(); }
  [[nodiscard]] shelf::DiskHealth health() const override { return disk_.health(); }
  void use_epoch(std::uint64_t epoch) override { disk_.use_epoch(epoch); }
  void start_command(shelf::DiskCommand& command) override { disk_.start_command(command); }
  void begin_anew() override { ++begun; }
  int begun = 0;

 private:
  shelf::SharedDisk& disk_;
};

// What an earlier opening wrote and could not flush is no reason to fail the flushes of this one;
// but who was only held is the same one.
TEST_F(Gate, EachOpeningBeginsAnew) {
  Counting counting(*a);
  GatedDisk opened(scheduler, counting);
  opened.open(3);
  EXPECT_EQ(counting.begun, 1);
  opened.hold();
  opened.resume();
  EXPECT_EQ(counting.begun, 1);
  opened.end();
  opened.open(4);
  EXPECT_EQ(counting.begun, 2);
  opened.end();
}

TEST_F(Gate, AClosedGateRefusesWrites) {
  std::optional<Status> result;
  scope.spawn(store_status(gate, 5, 1, result));
  pass(10ms);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->error().code, Errc::kFenced);
}

TEST_F(Gate, WhatTheTargetRefusesWaitsAndIsWrittenAgain) {
  gate.open(3);
  run(shelf::fence_disk(*b, shelf::Reservation::kWriteExclusive));
  std::optional<Status> first;
  std::optional<Status> second;
  scope.spawn(store_status(gate, 5, 1, first));
  scope.spawn(store_durable(gate, 6, second));
  pass(100ms);
  EXPECT_FALSE(first.has_value());
  EXPECT_FALSE(second.has_value());
  EXPECT_GT(fenced, 0);
  EXPECT_EQ(gate.under_way(), 0U);
  run([](shelf::SharedDisk& disk) -> Task<Status> { co_return co_await disk.register_key(); }(*a));
  gate.resume();
  pass(100ms);
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first->ok() && second->ok());
  EXPECT_EQ(data.block(5)[0], std::byte{1});
}

TEST_F(Gate, WhatTheTargetRefusesEndsWhenTheFilerIsLost) {
  gate.open(3);
  run(shelf::fence_disk(*b, shelf::Reservation::kWriteExclusive));
  std::optional<Status> result;
  scope.spawn(store_status(gate, 5, 1, result));
  pass(100ms);
  gate.end();
  pass(10ms);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->error().code, Errc::kFenced);
}

TEST_F(Gate, NothingStartsWhileItIsHeldAndQuietWaitsForTheRest) {
  gate.open(3);
  path_a.cut_back();
  std::optional<Status> first;
  scope.spawn(store_status(gate, 5, 1, first));
  pass(5ms);
  gate.hold();
  bool quiet = false;
  scope.spawn(store_quiet(gate, quiet));
  std::optional<Status> second;
  scope.spawn(store_status(gate, 6, 1, second));
  pass(50ms);
  EXPECT_FALSE(quiet) << "the first write may still land";
  path_a.heal();
  pass(100ms);
  EXPECT_TRUE(quiet);
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(second.has_value());
  EXPECT_EQ(data.block(6)[0], std::byte{0});
}

TEST_F(Gate, WritesCarryTheEpochOfTheirOpening) {
  gate.open(3);
  run([](shelf::SharedDisk& disk) -> Task<Status> { co_return co_await disk.raise_epoch(4); }(*b));
  std::optional<Status> result;
  scope.spawn(store_status(gate, 5, 1, result));
  pass(50ms);
  EXPECT_GT(fenced, 0);
  EXPECT_EQ(data.block(5)[0], std::byte{0});
  gate.end();
  pass(10ms);
  gate.open(4);
  result.reset();
  scope.spawn(store_status(gate, 5, 1, result));
  pass(50ms);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->ok());
}

// A disk that can compute its blocks in other ways, and answers when it is told to.
class Redundant final : public shelf::SharedDisk, private Redundancy {
 public:
  explicit Redundant(shelf::SharedDisk& disk) : disk_(disk) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override { disk_.start(operation); }
  [[nodiscard]] Redundancy* redundancy() override { return this; }
  [[nodiscard]] shelf::DiskKey key() const override { return disk_.key(); }
  [[nodiscard]] shelf::DiskFeatures features() const override { return disk_.features(); }
  [[nodiscard]] shelf::DiskHealth health() const override { return disk_.health(); }
  void use_epoch(std::uint64_t epoch) override { disk_.use_epoch(epoch); }
  void start_command(shelf::DiskCommand& command) override { disk_.start_command(command); }

  void answer(sim::SimScheduler& scheduler, Status result) {
    Operation& operation = *std::exchange(started, nullptr);
    operation.result = result;
    scheduler.post(operation);
  }
  Operation* started = nullptr;
  Needed needed;

 private:
  void start(Operation& operation) override { started = &operation; }
  void set_needed(Needed what) override { needed = std::move(what); }
  shelf::SharedDisk& disk_;
};

Task<void> store_other(GatedDisk& disk, std::uint32_t attempt, std::optional<Status>& into) {
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  into = co_await disk.redundancy()->read_other(7, attempt, buffer->parts()[0]);
}
Task<void> store_repair(GatedDisk& disk, std::optional<Status>& into) {
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  into = co_await disk.redundancy()->repair(7, buffer->parts()[0]);
}

TEST_F(Gate, OfAPlainDiskThereIsNoOtherWay) { EXPECT_EQ(gate.redundancy(), nullptr); }

TEST_F(Gate, ReadingOtherwiseIsAReadAndRepairingAWrite) {
  Redundant disk(*a);
  GatedDisk redundant(scheduler, disk);
  std::optional<Status> other;
  std::optional<Status> repaired;
  scope.spawn(store_other(redundant, 2, other));
  ASSERT_NE(disk.started, nullptr) << "who is about to open looks, too";
  EXPECT_EQ(disk.started->block, 7U);
  EXPECT_EQ(disk.started->attempt, 2U);
  disk.answer(scheduler, Error{Errc::kNotFound, "no more"});
  scope.spawn(store_repair(redundant, repaired));
  pass(1ms);
  EXPECT_EQ(disk.started, nullptr);
  EXPECT_EQ(other->error().code, Errc::kNotFound);
  EXPECT_EQ(repaired->error().code, Errc::kFenced);
  redundant.open(3);
  repaired.reset();
  scope.spawn(store_repair(redundant, repaired));
  ASSERT_NE(disk.started, nullptr);
  EXPECT_EQ(redundant.under_way(), 1U);
  redundant.hold();
  bool quiet = false;
  scope.spawn(store_quiet(redundant, quiet));
  std::optional<Status> second;
  scope.spawn(store_repair(redundant, second));
  pass(1ms);
  EXPECT_FALSE(quiet) << "a repair may still be written";
  disk.answer(scheduler, Ok{});
  pass(1ms);
  EXPECT_TRUE(quiet);
  EXPECT_TRUE(repaired->ok());
  EXPECT_EQ(disk.started, nullptr) << "held";
  redundant.end();
  pass(1ms);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->error().code, Errc::kFenced);
}

TEST_F(Gate, WhatAFilerSaysItNeedsCountsOnlyWhileTheGateIsOpen) {
  Redundant disk(*a);
  GatedDisk redundant(scheduler, disk);
  redundant.open(3);
  redundant.redundancy()->set_needed(
      [](std::uint64_t first, std::uint64_t /*blocks*/) { return first == 0; });
  EXPECT_TRUE(disk.needed(0, 8));
  EXPECT_FALSE(disk.needed(8, 8));
  redundant.hold();
  EXPECT_TRUE(disk.needed(8, 8)) << "another may write there by now";
  redundant.resume();
  EXPECT_FALSE(disk.needed(8, 8));
  redundant.end();
  EXPECT_TRUE(disk.needed(8, 8));
  redundant.redundancy()->set_needed(nullptr);
  EXPECT_FALSE(disk.needed);
}

}  // namespace
}  // namespace duet::failover
