// An aggregate on disks in memory, and ways to drive it to completion.

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "platform/block_device.h"
#include "platform/task_scope.h"
#include "sim/random.h"
#include "sim/sim_scheduler.h"
#include "wafl/aggregate.h"
#include "wafl/operations.h"

namespace duet::wafl::testing {

// A disk that is always durable; keeps only blocks that were written.
class MemoryDisk final : public BlockDevice, private Redundancy {
 public:
  MemoryDisk(Scheduler& scheduler, std::uint64_t blocks)
      : scheduler_(&scheduler), blocks_(blocks) {}

  void attach(Scheduler& scheduler) { scheduler_ = &scheduler; }
  [[nodiscard]] std::uint64_t block_count() const override { return blocks_; }
  [[nodiscard]] std::string_view name() const override { return "memory"; }
  [[nodiscard]] std::uint32_t stripe_blocks() const override { return stripe; }
  void start(BlockOperation& operation) override {
    std::uint64_t block = operation.block;
    if (on_start) {
      on_start(operation);
    }
    for (const MutableBytes part : operation.parts) {
      for (std::size_t at = 0; at < part.size(); at += kBlockBytes, ++block) {
        DUET_CHECK(block < blocks_);
        const MutableBytes bytes = part.subspan(at, kBlockBytes);
        if (operation.kind == BlockOperation::Kind::kWrite) {
          contents_[block].assign(bytes.begin(), bytes.end());
          ++writes;
        } else if (const auto it = contents_.find(block); it != contents_.end()) {
          std::memcpy(bytes.data(), it->second.data(), kBlockBytes);
          ++reads;
          if (const auto turned = turned_reads.find(block);
              turned != turned_reads.end() && turned->second > 0) {
            --turned->second;
            bytes[100] ^= std::byte{1};
          }
        } else {
          std::memset(bytes.data(), 0, kBlockBytes);
        }
      }
    }
    operation.result = Ok{};
    if (operation.kind == BlockOperation::Kind::kWrite && fail_writes_of == operation.block) {
      operation.result = Error{Errc::kIo, "as the test wants"};
    }
    scheduler_->post(operation);
  }
  [[nodiscard]] bool holds(std::uint64_t block) const { return contents_.contains(block); }
  std::vector<std::byte>& content(std::uint64_t block) {
    std::vector<std::byte>& bytes = contents_[block];
    bytes.resize(kBlockBytes);
    return bytes;
  }
  [[nodiscard]] Redundancy* redundancy() override { return redundant ? this : nullptr; }

  // It can be asked for its blocks in other ways: gives `on_other`s result then, when that comes.
  bool redundant = false;
  using Other = Redundancy::Operation;
  std::function<void(Other&)> on_other = [this](Other& other) {
    answer(other, Error{Errc::kNotFound, "no other way"});
  };
  void answer(Other& other, Status result) {
    other.result = result;
    scheduler_->post(other);
  }
  Redundancy::Needed needed;

  std::uint32_t stripe = 1;
  std::optional<std::uint64_t> fail_writes_of;  // they happen, and fail
  std::function<void(const BlockOperation&)> on_start;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  // So many reads of a block, from now on, give it with a bit turned.
  std::map<std::uint64_t, int> turned_reads;

 private:
  void start(Other& other) override { on_other(other); }
  void set_needed(Redundancy::Needed what) override { needed = std::move(what); }

  Scheduler* scheduler_;
  const std::uint64_t blocks_;
  std::map<std::uint64_t, std::vector<std::byte>> contents_;
};

class FixedClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::nanoseconds since_epoch() const override { return now; }
  std::chrono::nanoseconds now{1'700'000'000'000'000'000};
};

class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed) : random_(seed) {}
  std::uint64_t next() override { return random_.next(); }

 private:
  sim::Random random_;
};

class World {
 public:
  explicit World(std::uint64_t seed = 1, std::uint64_t blocks = 65'536, std::size_t disks = 2,
                 std::uint64_t cache_bytes = 16U << 20U)
      : scheduler(seed), cache_bytes_(cache_bytes), entropy(seed) {
    for (std::size_t i = 0; i < disks; ++i) {
      devices.push_back(std::make_unique<MemoryDisk>(scheduler, blocks));
    }
    make();
  }
  virtual ~World() = default;

  virtual std::vector<BlockDevice*> pointers() {
    std::vector<BlockDevice*> list;
    for (const auto& device : devices) {
      list.push_back(device.get());
    }
    return list;
  }

  void make() {
    EXPECT_TRUE(run(format(scheduler, pointers(), {.filer_name = "t", .log_id = 7}, entropy)).ok());
    reopen();
  }

  // As after a crash: what no CP holds is gone.
  void reopen() {
    aggregate.reset();
    auto opened = run(Aggregate::open(scheduler, clock, pointers(), {.cache_bytes = cache_bytes_}));
    ASSERT_TRUE(opened.ok()) << opened.error().context;
    aggregate = std::move(opened.value());
  }

  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    TaskScope scope(scheduler);
    scope.spawn(store_result(std::move(task), result));
    EXPECT_TRUE(scheduler.run_until([&] { return result.has_value(); }, 100'000'000));
    return std::move(*result);
  }

  void cp() {
    const Status status = run(aggregate->consistency_point({.epoch = 1, .log_id = 7}));
    ASSERT_TRUE(status.ok()) << status.error().context;
  }

  // Runs `operation(attempt)` until it no longer misses.
  template <typename Operation>
  auto attempt(Operation operation) -> decltype(operation(std::declval<Attempt&>())) {
    Attempt attempt(*aggregate);
    for (;;) {
      auto result = operation(attempt);
      if (result.ok() || result.error().code != Errc::kMiss) {
        return result;
      }
      const Status loaded = run(attempt.load());
      if (!loaded.ok()) {
        return loaded.error();
      }
    }
  }

  Volume& volume(std::string_view name = "vol0") {
    if (aggregate->find_volume(name) == nullptr) {
      EXPECT_TRUE(aggregate->create_volume(name, 0, now()).ok());
      cp();
    }
    return *aggregate->find_volume(name);
  }
  Timestamp now() { return Timestamp{clock.since_epoch().count()}; }

  sim::SimScheduler scheduler;
  std::uint64_t cache_bytes_;
  SeededEntropy entropy;
  FixedClock clock;
  std::vector<std::unique_ptr<MemoryDisk>> devices;
  std::unique_ptr<Aggregate> aggregate;

 protected:
  struct NoDisks {};
  World(std::uint64_t seed, std::uint64_t cache_bytes, NoDisks /*tag*/)
      : scheduler(seed), cache_bytes_(cache_bytes), entropy(seed) {}

 private:
  template <typename T>
  static Task<void> store_result(Task<T> task, std::optional<T>& result) {
    result.emplace(co_await std::move(task));
  }
};

}  // namespace duet::wafl::testing
