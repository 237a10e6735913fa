// One disk of a shelf with its label, in the simulator, and what tests do with it.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <list>
#include <memory>
#include <utility>

#include "platform/task_scope.h"
#include "shelf/target.h"
#include "sim/faulty_block_device.h"
#include "sim/sim_block_device.h"
#include "sim/sim_disk.h"
#include "sim/sim_scheduler.h"

namespace duet::shelf::testing {

inline constexpr std::uint64_t kBlocks = 64;
inline constexpr DiskIdentity kIdentity{.id = {0x1122, 0x3344}, .blocks = kBlocks};
inline constexpr DiskKey kA1 = make_key(0, 1);
inline constexpr DiskKey kA2 = make_key(0, 2);
inline constexpr DiskKey kB1 = make_key(1, 1);

struct alignas(kBlockBytes) TestBlock {
  std::array<std::byte, kBlockBytes> bytes{};
  MutableBytes part{bytes};
  TestBlock() = default;
  explicit TestBlock(std::uint8_t fill) { bytes.fill(std::byte{fill}); }
  TestBlock(const TestBlock&) = delete;
  TestBlock& operator=(const TestBlock&) = delete;
  [[nodiscard]] std::span<const MutableBytes> parts() const { return {&part, 1}; }
};

// A disk that keeps what it is asked while it is held.
class HeldDisk final : public BlockDevice {
 public:
  explicit HeldDisk(BlockDevice& disk) : disk_(disk) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override {
    if (held_) {
      waiting_.push_back(&operation);
    } else {
      disk_.start(operation);
    }
  }
  void hold() { held_ = true; }
  void let_go() {
    held_ = false;
    for (BlockOperation* operation : std::exchange(waiting_, {})) {
      disk_.start(*operation);
    }
  }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  BlockDevice& disk_;
  bool held_ = false;
  std::list<BlockOperation*> waiting_;
};

// Stores what a task gives.
template <typename T>
Task<void> store_result(Task<T> task, std::optional<T>& into) {
  into = co_await std::move(task);
}
template <typename T>
T run(sim::SimScheduler& scheduler, Task<T> task) {
  std::optional<T> result;
  TaskScope scope(scheduler);
  scope.spawn(store_result(std::move(task), result));
  DUET_CHECK(scheduler.run_until([&] { return result.has_value(); }));
  DUET_CHECK(result.has_value());
  return std::move(*result);
}

// A node's process with a session, straight at the target.
class LocalDisk final : public SharedDisk {
 public:
  LocalDisk(BlockDevice& disk, std::unique_ptr<Target::Session> session)
      : disk_(disk), session_(std::move(session)) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  [[nodiscard]] DiskKey key() const override { return session_->key(); }
  [[nodiscard]] DiskFeatures features() const override { return features_; }
  [[nodiscard]] DiskHealth health() const override { return {}; }
  void use_epoch(std::uint64_t epoch) override { epoch_ = epoch; }
  void start(BlockOperation& operation) override { session_->start(operation, epoch_); }
  void start_command(DiskCommand& command) override {
    if (command.request.kind != DiskRequest::Kind::kWriteDurable) {
      session_->start_command(command, repeated_);
      return;
    }
    Durable& write = durable_.emplace_back(command);
    write.kind = BlockOperation::Kind::kWrite;
    write.block = command.request.block;
    write.parts = command.request.parts;
    session_->start_durable(write, epoch_);
  }
  // Commands from now on are said to have been sent before.
  void repeat() { repeated_ = true; }
  void without_swap() { features_.compare_and_swap = false; }
  Target::Session& session() { return *session_; }

 private:
  struct Durable final : BlockOperation {
    explicit Durable(DiskCommand& what) : command(what) {}
    void run() override {
      command.result = result;
      command.run();
    }
    DiskCommand& command;
  };
  BlockDevice& disk_;
  std::unique_ptr<Target::Session> session_;
  DiskFeatures features_ = Target::features();
  std::uint64_t epoch_ = 0;
  bool repeated_ = false;
  std::list<Durable> durable_;
};

class Shelf {
 public:
  explicit Shelf(std::uint64_t seed) : scheduler(seed) {
    sim::SimBlockDevice device(scheduler, label);
    Label fresh(device);
    DUET_CHECK(run(scheduler, fresh.create(kIdentity)).ok());
    open();
  }

  void open() {
    disk_device = std::make_unique<sim::SimBlockDevice>(scheduler, disk);
    label_device = std::make_unique<sim::SimBlockDevice>(scheduler, label);
    held = std::make_unique<HeldDisk>(*disk_device);
    faulty_label = std::make_unique<sim::FaultyBlockDevice>(scheduler, *label_device);
    held_label = std::make_unique<HeldDisk>(*faulty_label);
    auto opened = run(scheduler, Target::open(scheduler, *held, *held_label));
    DUET_CHECK(opened.ok());
    target = std::move(opened.value());
  }
  // kill -9, and what the system does then.  Sessions are gone before.
  void kill() {
    target.reset();
    held.reset();
    held_label.reset();
    faulty_label.reset();
    disk_device.reset();
    label_device.reset();
  }

  LocalDisk enter(DiskKey key, std::uint64_t number = 1) {
    auto session = run(scheduler, target->enter({.key = key, .number = number}));
    DUET_CHECK(session.ok());
    return {*held, std::move(session.value())};
  }
  Errc error_of_entering(DiskKey key, std::uint64_t number) {
    auto session = run(scheduler, target->enter({.key = key, .number = number}));
    DUET_CHECK(!session.ok());
    return session.error().code;
  }

  sim::SimScheduler scheduler;
  sim::SimDisk disk{"d0", kBlocks};
  sim::SimDisk label{"d0.label", 16};
  std::unique_ptr<sim::SimBlockDevice> disk_device;
  std::unique_ptr<sim::SimBlockDevice> label_device;
  std::unique_ptr<sim::FaultyBlockDevice> faulty_label;
  std::unique_ptr<HeldDisk> held;
  std::unique_ptr<HeldDisk> held_label;
  std::unique_ptr<Target> target;
};

// Awaitables as tasks, so that run() takes them.
inline Task<Status> do_register(SharedDisk& d) { co_return co_await d.register_key(); }
inline Task<Status> do_unregister(SharedDisk& d) { co_return co_await d.unregister_key(); }
inline Task<Status> do_reserve(SharedDisk& d, Reservation r) { co_return co_await d.reserve(r); }
inline Task<Status> do_release(SharedDisk& d) { co_return co_await d.release(); }
inline Task<Status> do_clear(SharedDisk& d) { co_return co_await d.clear(); }
inline Task<Status> do_preempt(SharedDisk& d, DiskKey victim,
                               Reservation kind = Reservation::kWriteExclusive) {
  co_return co_await d.preempt_and_abort(victim, kind);
}
inline Task<Status> do_raise(SharedDisk& d, std::uint64_t epoch) {
  co_return co_await d.raise_epoch(epoch);
}
inline Task<Result<DiskState>> do_state(SharedDisk& d) { co_return co_await d.read_state(); }
inline Task<Status> do_write(SharedDisk& d, std::uint64_t block, const TestBlock& from) {
  co_return co_await d.write(block, from.parts());
}
inline Task<Status> do_durable(SharedDisk& d, std::uint64_t block, const TestBlock& from) {
  co_return co_await d.write_durable(block, from.parts());
}
inline Task<Status> do_read(SharedDisk& d, std::uint64_t block, TestBlock& into) {
  co_return co_await d.read(block, into.parts());
}
inline Task<Status> do_flush(SharedDisk& d) { co_return co_await d.flush(); }
inline Task<Status> do_swap(SharedDisk& d, std::uint64_t block, const TestBlock& expected,
                            const TestBlock& desired) {
  co_return co_await d.compare_and_swap(block, expected.bytes, desired.bytes);
}

#define EXPECT_OK(expression)                                                    \
  do {                                                                           \
    const ::duet::Status status_ = (expression);                                 \
    EXPECT_TRUE(status_.ok()) << #expression << ": " << status_.error().context; \
  } while (false)
#define EXPECT_ERRC(expression, errc)                                                            \
  do {                                                                                           \
    const ::duet::Status status_ = (expression);                                                 \
    EXPECT_FALSE(status_.ok()) << #expression;                                                   \
    if (!status_.ok()) {                                                                         \
      EXPECT_EQ(status_.error().code, (errc)) << #expression << ": " << status_.error().context; \
    }                                                                                            \
  } while (false)

}  // namespace duet::shelf::testing
