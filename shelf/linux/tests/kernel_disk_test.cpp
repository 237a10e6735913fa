// Disks with reservations of their own: the words of $DUET_PORTS are ways to one unit, through
// initiator ports of their own: two devices or URLs, and a device to look with.  Started by
// guest/run.sh, in a guest whose kernel has a SCSI target.

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "disk_work.h"
#include "platform/linux/run_task.h"
#include "platform/task_scope.h"
#include "shelf/fence.h"
#include "shelf/linux/open_disk.h"

namespace duet::shelf {
namespace {

using os::run;
using std::chrono::milliseconds;

constexpr DiskKey kA1 = make_key(0, 1);
constexpr DiskKey kA2 = make_key(0, 2);
constexpr DiskKey kB1 = make_key(1, 1);

std::vector<std::string> words_of(const char* variable) {
  const char* const text = getenv(variable);
  std::istringstream stream(text != nullptr ? text : "");
  return {std::istream_iterator<std::string>(stream), {}};
}

bool is_device(const std::string& port) { return port.starts_with('/'); }

// The first byte of a block as the unit has it, through a port that nobody fences.
int byte_at(const std::string& port, std::uint64_t block) {
  alignas(kBlockBytes) std::array<std::byte, kBlockBytes> bytes{};
  const int device = ::open(port.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  const ssize_t got =
      pread(device, bytes.data(), bytes.size(), static_cast<off_t>(block * kBlockBytes));
  close(device);
  return got == static_cast<ssize_t>(bytes.size()) ? static_cast<int>(bytes[0]) : -1;
}

// Time for others' work, that is not the clock's.
Task<Status> read_state_often(SharedDisk& disk, int times) {
  for (int i = 0; i < times; ++i) {
    const Result<DiskState> state = co_await disk.read_state();
    if (!state.ok()) {
      co_return state.error();
    }
  }
  co_return Ok{};
}

Task<Status> joined(TaskScope& scope) {
  co_await scope.join();
  co_return Ok{};
}

class KernelDisk : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_GE(ports_.size(), 3U) << "run by guest/run.sh"; }
  // Whatever a test left: no keys.
  void TearDown() override {
    auto last = open(2, make_key(2, 1));
    if (last != nullptr) {
      EXPECT_EQ(code(do_register(*last)), Errc{});
      EXPECT_EQ(code(do_clear(*last)), Errc{});
    }
  }
  Result<std::unique_ptr<SharedDisk>> try_open(const std::string& path, DiskKey key,
                                               Duration patience = milliseconds(2000)) {
    OpenOptions options;
    options.key = key;
    options.silence_max = patience;
    const auto url = DiskUrl::parse(is_device(path) ? "block://" + path : path);
    return run(scheduler_, open_shared_disk(scheduler_, url.value(), options));
  }
  std::unique_ptr<SharedDisk> open(std::size_t port, DiskKey key) {
    auto opened = try_open(ports_[port], key);
    EXPECT_TRUE(opened.ok()) << opened.error().context;
    return opened.ok() ? std::move(opened.value()) : nullptr;
  }
  template <typename T>
  T now(Task<T> task) {
    return run(scheduler_, std::move(task));
  }
  Errc code(Task<Status> task) {
    const Status status = now(std::move(task));
    return status.ok() ? Errc{} : status.error().code;
  }
  [[nodiscard]] int byte(std::uint64_t block) const { return byte_at(ports_[2], block); }

  const std::vector<std::string> ports_ = words_of("DUET_PORTS");
  const bool swaps_ = getenv("DUET_SWAPS") != nullptr;  // the unit compares and writes whole blocks
  os::EpollScheduler scheduler_;
};

TEST_F(KernelDisk, MovesDataAndFindsWhatTheUnitOffers) {
  const auto disk = open(0, kA1);
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(disk->block_count(), 2048U);
  EXPECT_EQ(code(do_register(*disk)), Errc{});
  EXPECT_TRUE(disk->features().survives_power_loss);
  EXPECT_FALSE(disk->features().drains_on_abort) << "no abort of a SCSI unit is believed";
  EXPECT_TRUE(disk->features().exclusive_access);
  EXPECT_EQ(disk->features().compare_and_swap, swaps_);
  EXPECT_FALSE(disk->features().epochs);
  EXPECT_EQ(code(write_durable(*disk, 228, 0)), Errc{});
  EXPECT_EQ(code(write_blocks(*disk, 100, 7, 128)), Errc{});
  EXPECT_EQ(code(write_durable(*disk, 2047, 8)), Errc{});
  EXPECT_EQ(code(flush(*disk)), Errc{});
  int read = 0;
  for (const std::uint64_t block : {100U, 163U, 164U, 227U}) {
    EXPECT_EQ(code(read_byte(*disk, block, read)), Errc{});
    EXPECT_EQ(read, 7) << block;
    EXPECT_EQ(byte(block), 7) << block;
  }
  EXPECT_EQ(byte(228), 0);
  EXPECT_EQ(byte(2047), 8);
}

TEST_F(KernelDisk, KeysShutAnotherNodeOut) {
  const auto a = open(0, kA1);
  const auto b = open(1, kB1);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc::kFenced) << "no key";
  EXPECT_EQ(code(do_register(*a)), Errc{});
  EXPECT_EQ(code(do_register(*a)), Errc{});
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc{});
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc{});
  EXPECT_EQ(code(write_blocks(*b, 3, 1, 1)), Errc::kFenced);
  EXPECT_EQ(code(write_durable(*b, 3, 1)), Errc::kFenced);
  EXPECT_EQ(code(do_register(*b)), Errc{});
  EXPECT_EQ(code(write_blocks(*b, 3, 1, 1)), Errc{});
  EXPECT_EQ(code(do_reserve(*b, kWe)), Errc::kRefused);
  const auto state = now(do_state(*b));
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state.value().keys, (std::vector{kA1, kB1}));
  EXPECT_EQ(state.value().holder, kA1);
  EXPECT_EQ(state.value().reservation, kWe);
  EXPECT_EQ(code(do_preempt(*b, kA1)), Errc{});
  EXPECT_EQ(code(write_blocks(*a, 3, 2, 1)), Errc::kFenced);
  EXPECT_EQ(code(write_blocks(*a, 3, 2, 100)), Errc::kFenced);
  EXPECT_EQ(code(write_durable(*a, 3, 2)), Errc::kFenced);
  EXPECT_EQ(code(do_preempt(*a, kB1)), Errc::kFenced);
  EXPECT_EQ(code(do_preempt(*b, kA1)), Errc{}) << "once more";
  EXPECT_EQ(byte(3), 1);
  EXPECT_EQ(now(do_state(*b)).value().holder, kB1);
  EXPECT_EQ(code(do_release(*b)), Errc{});
  EXPECT_EQ(now(do_state(*b)).value().reservation, Reservation::kNone);
  EXPECT_EQ(code(do_clear(*b)), Errc{});
  EXPECT_TRUE(now(do_state(*a)).value().keys.empty());
  EXPECT_EQ(code(do_unregister(*b)), Errc{});
}

TEST_F(KernelDisk, ExclusiveAccessShutsReadersOutToo) {
  const auto a = open(0, kA1);
  ASSERT_NE(a, nullptr);
  auto b = open(1, kB1);
  EXPECT_EQ(code(join_disk(*a, Reservation::kExclusiveAccess)), Errc{});
  if (is_device(ports_[1])) {
    b.reset();
    b = open(1, kB1);  // though the unit keeps back what it is
  }
  ASSERT_NE(b, nullptr);
  int read = 0;
  EXPECT_EQ(code(read_byte(*b, 3, read)), Errc::kFenced);
  EXPECT_EQ(code(join_disk(*b, Reservation::kExclusiveAccess)), Errc{});
  EXPECT_EQ(code(read_byte(*b, 3, read)), Errc{});
  EXPECT_EQ(code(fence_disk(*b, Reservation::kExclusiveAccess)), Errc{});
  EXPECT_EQ(code(read_byte(*a, 3, read)), Errc::kFenced);
}

TEST_F(KernelDisk, ANewerIncarnationTakesThePlaceOfTheOlder) {
  auto a = open(0, kA1);
  const auto b = open(1, kB1);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  if (is_device(ports_[0])) {
    const auto beside = try_open(ports_[0], kA2, milliseconds(200));
    ASSERT_FALSE(beside.ok()) << "two processes would share one registration";
    EXPECT_EQ(beside.error().code, Errc::kRefused);
  }
  a.reset();
  a = open(0, kA2);
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(now(do_state(*b)).value().keys, (std::vector{kA2, kB1}));
  EXPECT_EQ(code(write_blocks(*a, 3, 5, 1)), Errc{});
  a.reset();
  a = open(0, kA1);
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(code(do_register(*a)), Errc::kFenced) << "a newer one is registered";
}

TEST_F(KernelDisk, OfTwoThatSwapOneWins) {
  const auto a = open(0, kA1);
  const auto b = open(1, kB1);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  EXPECT_EQ(code(write_durable(*a, 5, 0)), Errc{});
  AlignedBlock old;
  for (std::uint8_t round = 1; round <= 20; ++round) {
    AlignedBlock of_a = old;
    AlignedBlock of_b = old;
    of_a.bytes[0] = std::byte{round};
    of_b.bytes[0] = std::byte{static_cast<std::uint8_t>(round + 100)};
    std::array<std::optional<Status>, 2> swapped;
    TaskScope scope(scheduler_);
    const auto into = [](Task<Status> task, std::optional<Status>& to) -> Task<void> {
      to = co_await std::move(task);
    };
    scope.spawn(into(swap_block(*a, 5, old.bytes, of_a.bytes), swapped[0]));
    scope.spawn(into(swap_block(*b, 5, old.bytes, of_b.bytes), swapped[1]));
    EXPECT_EQ(code(joined(scope)), Errc{});
    const int winners = (swapped[0]->ok() ? 1 : 0) + (swapped[1]->ok() ? 1 : 0);
    const int there = byte(5);
    if (winners == 1) {
      old = swapped[0]->ok() ? of_a : of_b;
      EXPECT_EQ(there, static_cast<int>(old.bytes[0])) << int{round};
    } else {
      // Each may have removed the other's key: then nobody knows without looking.
      EXPECT_EQ(winners, 0) << int{round};
      EXPECT_FALSE(swaps_) << int{round};
      old.bytes[0] = static_cast<std::byte>(there);
    }
    EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
    const Status late = now(swap_block(*a, 5, of_b.bytes, of_a.bytes));
    EXPECT_EQ(late.ok(), old.bytes == of_b.bytes);
    old = late.ok() ? of_a : old;
    EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  }
}

// Writes until it is refused; `acknowledged`: the last value that was written.
Task<void> write_on(SharedDisk& disk, std::uint64_t block, std::uint8_t first, bool durable,
                    std::uint8_t& acknowledged, Errc& ended) {
  for (std::uint8_t fill = first;; ++fill) {
    Status done = Ok{};
    if (durable) {
      done = co_await write_durable(disk, block, fill);
    } else {
      done = co_await write_blocks(disk, block, fill, 1);
    }
    if (!done.ok()) {
      ended = done.error().code;
      co_return;
    }
    acknowledged = fill;
  }
}

// Plain and durable writes of the victim are under way when it is fenced: none lands after the
// fence, and each is told what became of it.  Small ones, that come whole: LIO of 6.1 waits for
// ever in a reset for data of larger ones, which their initiator does not send any more.
TEST_F(KernelDisk, NothingOfTheVictimLandsAfterAFence) {
  const auto a = open(0, kA1);
  const auto b = open(1, kB1);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  constexpr std::size_t kWriters = 16;
  std::array<std::uint8_t, kWriters> acknowledged{};
  for (int round = 1; round <= 8; ++round) {
    // By turns the one that is fenced holds the reservation, or not.
    EXPECT_EQ(code(do_register(*a)), Errc{});
    if (round % 2 == 0) {
      EXPECT_EQ(code(do_release(*b)), Errc{});
      EXPECT_EQ(code(do_reserve(*a, kWe)), Errc{});
    }
    std::array<Errc, kWriters> ended{};
    std::array<std::uint8_t, kWriters> before{};
    {
      TaskScope scope(scheduler_);
      for (std::size_t i = 0; i < kWriters; ++i) {
        scope.spawn(write_on(*a, 16 * i, static_cast<std::uint8_t>(acknowledged[i] + 1), i % 8 == 7,
                             acknowledged[i], ended[i]));
      }
      EXPECT_EQ(code(read_state_often(*b, round % 5)), Errc{});
      EXPECT_EQ(code(fence_disk(*b, kWe)), Errc{});
      for (std::size_t i = 0; i < kWriters; ++i) {
        before[i] = static_cast<std::uint8_t>(byte(16 * i));
      }
      EXPECT_EQ(code(joined(scope)), Errc{});
    }
    for (std::size_t i = 0; i < kWriters; ++i) {
      EXPECT_EQ(byte(16 * i), before[i]) << i << " in round " << round << ": it landed late";
      const auto next = static_cast<std::uint8_t>(acknowledged[i] + 1);
      EXPECT_TRUE(before[i] == acknowledged[i] || before[i] == next)
          << i << ": " << int{before[i]} << " after " << int{acknowledged[i]};
      EXPECT_EQ(ended[i], Errc::kFenced) << i;
      acknowledged[i] = before[i];
    }
  }
}

// A killed process lets go of the device when its I/O has ended, not before.
TEST_F(KernelDisk, ThePlaceOfAKilledProcessIsTakenWhenItsWritesHaveEnded) {
  for (int round = 1; round <= 3; ++round) {
    std::array<int, 2> ready{};
    ASSERT_EQ(pipe(ready.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      os::EpollScheduler own;
      OpenOptions options;
      options.key = kA1;
      auto opened =
          run(own, open_shared_disk(own, DiskUrl::parse("block://" + ports_[0]).value(), options));
      if (!opened.ok() || !run(own, join_disk(*opened.value(), kWe)).ok()) {
        _exit(1);
      }
      TaskScope scope(own);
      for (int i = 0; i < 64; ++i) {
        scope.spawn([](SharedDisk& disk, int which) -> Task<void> {
          for (std::uint8_t fill = 1;; fill = static_cast<std::uint8_t>(fill % 250 + 1)) {
            const auto block = static_cast<std::uint64_t>(16 * which);
            Status done = Ok{};
            if (which % 4 == 0) {
              done = co_await write_durable(disk, block, fill);
            } else {
              done = co_await write_blocks(disk, block, fill, 16);
            }
            if (!done.ok()) {
              _exit(1);
            }
          }
        }(*opened.value(), i));
      }
      const char go = 'x';
      static_cast<void>(!::write(ready[1], &go, 1));
      own.run();
      _exit(1);
    }
    close(ready[1]);
    char go = 0;
    ASSERT_EQ(::read(ready[0], &go, 1), 1) << "the child has ended";
    close(ready[0]);
    std::this_thread::sleep_for(milliseconds(20 * round));
    kill(child, SIGKILL);
    const auto a = open(0, kA2);
    ASSERT_NE(a, nullptr);
    std::array<int, 64> before{};
    for (std::uint64_t i = 0; i < 64; ++i) {
      before[i] = byte(16 * i + (i % 4 == 0 ? 0 : 15));
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself, with " << WEXITSTATUS(status);
    std::this_thread::sleep_for(milliseconds(50));
    for (std::uint64_t i = 0; i < 64; ++i) {
      EXPECT_EQ(byte(16 * i + (i % 4 == 0 ? 0 : 15)), before[i]) << i;
    }
    EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
    EXPECT_EQ(code(do_clear(*a)), Errc{});
  }
}

// A disk without reservations, a partition, a mapped disk: each is refused in words.
TEST_F(KernelDisk, WhatCannotShutANodeOutIsRefused) {
  const std::vector<std::string> refused = words_of("DUET_REFUSED");
  EXPECT_FALSE(refused.empty());
  for (const std::string& path : refused) {
    const auto opened = try_open(path, kA1, milliseconds(100));
    ASSERT_FALSE(opened.ok()) << path;
    EXPECT_EQ(opened.error().code, Errc::kNotSupported) << path << opened.error().context;
    EXPECT_NE(opened.error().context.find("duet-shelf") != std::string_view::npos ||
                  opened.error().context.find("name the disk") != std::string_view::npos,
              false)
        << opened.error().context;
  }
  EXPECT_EQ(try_open("/dev/null", kA1).error().code, Errc::kInvalid);
  EXPECT_EQ(try_open("/dev/none", kA1).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace duet::shelf
