// Files as disks, through io_uring and through threads, around the page cache and not.

#include "platform/linux/block_device.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "../src/io_engine.h"
#include "platform/task_scope.h"
#include "temporary_directory.h"

namespace duet::os {
namespace {

constexpr std::uint64_t kDiskBlocks = 4096;

// Aligned blocks, each full of its own number plus `first`.
class Blocks {
 public:
  explicit Blocks(std::size_t count, std::size_t first = 0)
      : count_(count),
        memory_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, count * kBlockBytes))) {
    for (std::size_t i = 0; i < count; ++i) {
      std::ranges::fill((*this)[i], static_cast<std::byte>((i + first) * 7 + (i + first) / 256));
    }
  }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  ~Blocks() { std::free(memory_); }

  [[nodiscard]] MutableBytes operator[](std::size_t i) const {
    return {memory_ + i * kBlockBytes, kBlockBytes};
  }
  [[nodiscard]] MutableBytes all() const { return {memory_, count_ * kBlockBytes}; }
  [[nodiscard]] std::vector<MutableBytes> parts() const {
    std::vector<MutableBytes> each;
    for (std::size_t i = 0; i < count_; ++i) {
      each.push_back((*this)[i]);
    }
    return each;
  }
  friend bool operator==(const Blocks& a, const Blocks& b) { return same_bytes(a.all(), b.all()); }

 private:
  std::size_t count_;
  std::byte* memory_;
};

struct Kind {
  const char* name;
  const char* directory;
  bool direct;
  bool thread_pool;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class OpenBlockDevice : public testing::TestWithParam<Kind> {
 protected:
  OpenBlockDevice() : directory_(GetParam().directory) {}

  std::unique_ptr<BlockDevice> open_disk() {
    BlockDeviceOptions options;
    options.create_bytes = kDiskBlocks * kBlockBytes;
    options.direct = GetParam().direct;
    options.thread_pool = GetParam().thread_pool;
    Result<std::unique_ptr<BlockDevice>> disk = open_block_device(scheduler_, path_, options);
    EXPECT_TRUE(disk.ok());
    return disk.ok() ? std::move(disk.value()) : nullptr;
  }
  void run(Task<void> task) {
    TaskScope scope(scheduler_);
    scope.spawn(stop_after(std::move(task)));
    scheduler_.run();
    EXPECT_TRUE(scope.idle());
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.file("disk");
  EpollScheduler scheduler_;

 private:
  Task<void> stop_after(Task<void> task) {
    co_await std::move(task);
    scheduler_.stop();
  }
};

INSTANTIATE_TEST_SUITE_P(All, OpenBlockDevice,
                         testing::Values(Kind{"RingDirect", "/var/tmp", true, false},
                                         Kind{"RingBuffered", "/var/tmp", false, false},
                                         Kind{"RingTmpfs", "/dev/shm", true, false},
                                         Kind{"ThreadsDirect", "/var/tmp", true, true},
                                         Kind{"ThreadsTmpfs", "/dev/shm", true, true}),
                         [](const testing::TestParamInfo<Kind>& kind) { return kind.param.name; });

Task<void> write_and_read_back(BlockDevice& disk, std::size_t count, std::uint64_t at) {
  const Blocks written(count);
  const Blocks read(count, 99);
  const std::vector<MutableBytes> from = written.parts();
  const std::vector<MutableBytes> to = read.parts();
  const Status write = co_await disk.write(at, from);
  EXPECT_TRUE(write.ok());
  const Status flush = co_await disk.flush();
  EXPECT_TRUE(flush.ok());
  const Status got = co_await disk.read(at, to);
  EXPECT_TRUE(got.ok());
  EXPECT_TRUE(read == written);
}

TEST_P(OpenBlockDevice, ReadsBackWhatWasWrittenEvenInMorePartsThanTheKernelTakes) {
  const std::unique_ptr<BlockDevice> disk = open_disk();
  ASSERT_EQ(disk->block_count(), kDiskBlocks);
  run(write_and_read_back(*disk, 1, 17));
  run(write_and_read_back(*disk, 2500, kDiskBlocks - 2500));
}

Task<void> write_one(BlockDevice& disk, const Blocks& blocks, std::size_t i) {
  const std::array<MutableBytes, 1> part{blocks[i]};
  const Status written = co_await disk.write(i, part);
  EXPECT_TRUE(written.ok());
}

Task<void> write_all_at_once(EpollScheduler& scheduler, BlockDevice& disk, std::size_t count) {
  const Blocks blocks(count);
  TaskScope scope(scheduler);
  for (std::size_t i = 0; i < count; ++i) {
    scope.spawn(write_one(disk, blocks, i));
  }
  co_await scope.join();
  const Blocks read(count, 99);
  const std::vector<MutableBytes> to = read.parts();
  const Status got = co_await disk.read(0, to);
  EXPECT_TRUE(got.ok());
  EXPECT_TRUE(read == blocks);
}

TEST_P(OpenBlockDevice, TakesManyMoreOperationsAtOnceThanTheQueueIsDeep) {
  const std::unique_ptr<BlockDevice> disk = open_disk();
  run(write_all_at_once(scheduler_, *disk, std::size_t{kQueueDepth} * 5));
}

struct Operation final : BlockOperation {
  explicit Operation(int& count) : completed(count) { result = Error{Errc::kTryAgain, "unset"}; }
  void run() override {
    EXPECT_TRUE(result.ok());
    ++completed;
  }
  int& completed;
};

TEST_P(OpenBlockDevice, EndsOnlyWhenNothingIsUnderWayAndThenOwnersMayAbandonTheirOperations) {
  int completed = 0;
  const Blocks blocks(4);
  const std::vector<MutableBytes> parts = blocks.parts();
  std::deque<Operation> operations;
  {
    const std::unique_ptr<BlockDevice> disk = open_disk();
    for (int i = 0; i < 400; ++i) {
      Operation& operation = operations.emplace_back(completed);
      operation.kind = i % 8 == 0 ? BlockOperation::Kind::kFlush : BlockOperation::Kind::kWrite;
      operation.parts = operation.kind == BlockOperation::Kind::kFlush
                            ? std::span<const MutableBytes>()
                            : std::span<const MutableBytes>(parts);
      disk->start(operation);
    }
  }
  EXPECT_EQ(completed, 0) << "run() is called in a turn";
  for (const Operation& operation : operations) {
    EXPECT_TRUE(operation.result.ok());
  }
  operations.clear();
  EXPECT_EQ(completed, 0);
}

TEST_P(OpenBlockDevice, ReportsADiskThatEndsTooSoonAsAnIoError) {
  const std::unique_ptr<BlockDevice> disk = open_disk();
  ASSERT_EQ(truncate(path_.c_str(), 2 * kBlockBytes), 0);
  run([](BlockDevice& device) -> Task<void> {
    const Blocks read(4);
    const std::vector<MutableBytes> to = read.parts();
    const Status got = co_await device.read(0, to);
    EXPECT_FALSE(got.ok());
    EXPECT_EQ(got.ok() ? Errc{} : got.error().code, Errc::kIo);
  }(*disk));
}

TEST_P(OpenBlockDevice, GivesAFileToOneOpenerOnly) {
  {
    const std::unique_ptr<BlockDevice> disk = open_disk();
    const Result<std::unique_ptr<BlockDevice>> again = open_block_device(scheduler_, path_);
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.error().code, Errc::kRefused);
  }
  EXPECT_TRUE(open_block_device(scheduler_, path_).ok());
}

TEST_P(OpenBlockDevice, WaitsForAnOpenerThatLetsGo) {
  open_disk().reset();
  const int file = open(path_.c_str(), O_RDWR);
  ASSERT_GE(file, 0);
  ASSERT_EQ(flock(file, LOCK_EX), 0);
  std::thread opener([file] { close(file); });
  BlockDeviceOptions options;
  options.lock_wait = std::chrono::minutes(1);
  EXPECT_TRUE(open_block_device(scheduler_, path_, options).ok());
  opener.join();
}

class RefusedBlockDevice : public testing::Test {
 protected:
  Errc code(const std::string& path, const BlockDeviceOptions& options = {}) {
    const Result<std::unique_ptr<BlockDevice>> disk = open_block_device(scheduler_, path, options);
    return disk.ok() ? Errc{} : disk.error().code;
  }
  TemporaryDirectory directory_;
  EpollScheduler scheduler_;
};

TEST_F(RefusedBlockDevice, SaysWhy) {
  EXPECT_EQ(code(directory_.file("missing")), Errc::kNotFound);
  EXPECT_EQ(code(directory_.file("")), Errc::kInvalid) << "a directory";
  EXPECT_EQ(code("/dev/null"), Errc::kInvalid) << "a character device";
  BlockDeviceOptions options;
  options.create_bytes = kBlockBytes - 1;
  EXPECT_EQ(code(directory_.file("small"), options), Errc::kInvalid);
  options.create_bytes = std::uint64_t{1} << 61U;
  EXPECT_NE(code(directory_.file("huge"), options), Errc{});
  EXPECT_EQ(access(directory_.file("huge").c_str(), F_OK), -1) << "a failed creation left a file";
}

TEST_F(RefusedBlockDevice, OpenForReadingOnlyRefusesWrites) {
  BlockDeviceOptions options;
  options.create_bytes = kBlockBytes;
  ASSERT_TRUE(open_block_device(scheduler_, directory_.file("disk"), options).ok());
  options.read_only = true;
  const Result<std::unique_ptr<BlockDevice>> disk =
      open_block_device(scheduler_, directory_.file("disk"), options);
  ASSERT_TRUE(disk.ok());
  struct Expect final : BlockOperation {
    explicit Expect(EpollScheduler& owner) : scheduler(owner) { kind = Kind::kWrite; }
    void run() override {
      EXPECT_EQ(result.error().code, Errc::kReadOnly);
      scheduler.stop();
    }
    EpollScheduler& scheduler;
  };
  Expect operation(scheduler_);
  disk.value()->start(operation);
  scheduler_.run();
}

// Counts submissions; completes nothing by itself.
class CountingEngine final : public IoEngine {
 public:
  explicit CountingEngine(EpollScheduler& scheduler) : IoEngine(scheduler) {}
  void submit() override {
    sizes.push_back(queued_.size());
    for (Transfer* transfer : std::exchange(queued_, {})) {
      take_outcome(*transfer, 0);
    }
  }
  void wait_for_one() override {}
  std::vector<std::size_t> sizes;
};

TEST(IoEngine, SubmitsTogetherWhatOneRoundOfTurnsStarted) {
  EpollScheduler scheduler;
  CountingEngine engine(scheduler);
  IoClient first;
  IoClient second;
  int completed = 0;
  std::deque<Operation> operations;
  for (int i = 0; i < 10; ++i) {
    engine.start(i % 2 == 0 ? first : second, operations.emplace_back(completed));
  }
  struct Stop final : Continuation {
    explicit Stop(EpollScheduler& owner) : scheduler(owner) {}
    void run() override { scheduler.stop(); }
    EpollScheduler& scheduler;
  } stop(scheduler);
  scheduler.post_last(stop);
  scheduler.run();
  EXPECT_EQ(engine.sizes, std::vector<std::size_t>{10});
  EXPECT_EQ(completed, 10);
}

TEST(Transfer, GoesOnAfterShortAndInterruptedCallsWhereTheyStopped) {
  constexpr std::size_t kParts = 3000;
  int completed = 0;
  const Blocks blocks(4);
  std::vector<MutableBytes> parts;
  for (std::size_t i = 0; i < kParts; ++i) {
    parts.push_back(i % 2 == 0 ? blocks.all() : blocks[0]);
  }
  Operation operation(completed);
  operation.kind = BlockOperation::Kind::kWrite;
  operation.block = 3;
  operation.parts = parts;
  IoClient client;
  Transfer transfer;
  transfer.begin(client, operation);
  std::uint64_t moved = 0;
  std::uint64_t expected = 0;
  for (const MutableBytes part : parts) {
    expected += part.size();
  }
  for (std::uint64_t step = 1;; ++step) {
    ASSERT_EQ(transfer.offset, 3 * kBlockBytes + moved);
    ASSERT_FALSE(transfer.advance(-EINTR));
    std::size_t offered = 0;
    for (const iovec& vector : transfer.vectors) {
      offered += vector.iov_len;
    }
    const std::size_t now = std::min<std::size_t>(offered, 512 * (step * step % 4099 + 1));
    moved += now;
    if (transfer.advance(static_cast<std::int64_t>(now))) {
      break;
    }
  }
  EXPECT_EQ(moved, expected);
  EXPECT_TRUE(operation.result.ok());
}

TEST(Transfer, AReservationConflictIsAFence) {
  int completed = 0;
  Operation operation(completed);
  operation.kind = BlockOperation::Kind::kFlush;
  IoClient client;
  Transfer transfer;
  transfer.begin(client, operation);
  EXPECT_TRUE(transfer.advance(-EBADE));
  ASSERT_FALSE(operation.result.ok());
  EXPECT_EQ(operation.result.error().code, Errc::kFenced);
}

}  // namespace
}  // namespace duet::os
