// Kernel block devices with reservations, each with several ways to one unit: the words of
// $DUET_PORTS are devices of one unit, through initiator ports of their own.  Started by
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

// The first byte of a block as the unit has it, through a port that nobody fences.
int byte_at(const std::string& port, std::uint64_t block) {
  alignas(kBlockBytes) std::array<std::byte, kBlockBytes> bytes{};
  const int device = ::open(port.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  const ssize_t got =
      pread(device, bytes.data(), bytes.size(), static_cast<off_t>(block * kBlockBytes));
  close(device);
  return got == static_cast<ssize_t>(bytes.size()) ? static_cast<int>(bytes[0]) : -1;
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
    const auto url = DiskUrl::parse("block://" + path);
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
  EXPECT_TRUE(disk->features().drains_on_abort);
  EXPECT_TRUE(disk->features().exclusive_access);
  EXPECT_EQ(disk->features().compare_and_swap, swaps_);
  EXPECT_FALSE(disk->features().epochs);
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
  const auto b = open(1, kB1);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*a, Reservation::kExclusiveAccess)), Errc{});
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
  const auto beside = try_open(ports_[0], kA2, milliseconds(200));
  ASSERT_FALSE(beside.ok()) << "two processes would share one registration";
  EXPECT_EQ(beside.error().code, Errc::kRefused);
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
  AlignedBlock old;
  for (std::uint8_t round = 1; round <= 20; ++round) {
    AlignedBlock of_a = old;
    AlignedBlock of_b = old;
    of_a.bytes[0] = std::byte{round};
    of_b.bytes[0] = std::byte{static_cast<std::uint8_t>(round + 100)};
    std::array<std::optional<Status>, 2> swapped;
    TaskScope scope(scheduler_);
    const auto into = [](Task<Status> task, std::optional<Status>& to,
                         os::EpollScheduler& scheduler,
                         const std::array<std::optional<Status>, 2>& all) -> Task<void> {
      to = co_await std::move(task);
      if (all[0].has_value() && all[1].has_value()) {
        scheduler.stop();
      }
    };
    scope.spawn(into(swap_block(*a, 5, old.bytes, of_a.bytes), swapped[0], scheduler_, swapped));
    scope.spawn(into(swap_block(*b, 5, old.bytes, of_b.bytes), swapped[1], scheduler_, swapped));
    scheduler_.run();
    const int winners = (swapped[0]->ok() ? 1 : 0) + (swapped[1]->ok() ? 1 : 0);
    if (swaps_) {
      EXPECT_EQ(winners, 1) << int{round};
    } else {
      EXPECT_LE(winners, 1) << int{round} << ": each may have removed the other's key";
    }
    if (winners == 1) {
      old = swapped[0]->ok() ? of_a : of_b;
    }
    EXPECT_EQ(byte(5), static_cast<int>(old.bytes[0])) << int{round};
    EXPECT_EQ(code(do_register(*a)), Errc{});
    EXPECT_EQ(code(do_register(*b)), Errc{});
    EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
    const Status late = now(swap_block(*a, 5, of_b.bytes, of_a.bytes));
    EXPECT_TRUE(late.ok() == (old.bytes == of_b.bytes));
    old = late.ok() ? of_a : old;
    EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  }
}

// Plain and durable writes of the victim are under way when it is fenced: none lands after the
// fence, and each is told what became of it.
TEST_F(KernelDisk, NothingOfTheVictimLandsAfterAFence) {
  const auto a = open(0, kA1);
  const auto b = open(1, kB1);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  constexpr std::size_t kWrites = 32;
  int refused = 0;
  for (std::uint8_t round = 1; round <= 30; ++round) {
    EXPECT_EQ(code(do_register(*a)), Errc{});
    std::array<std::optional<Status>, kWrites> written;
    std::size_t left = kWrites;
    TaskScope scope(scheduler_);
    for (std::uint64_t i = 0; i < kWrites; ++i) {
      Task<Status> task = i % 8 == 7 ? write_durable(*a, 16 * i, round)
                                     : write_blocks(*a, 16 * i, round, i % 8 == 3 ? 16 : 1);
      scope.spawn([](Task<Status> what, std::optional<Status>& to, std::size_t& count,
                     os::EpollScheduler& scheduler) -> Task<void> {
        to = co_await std::move(what);
        if (--count == 0) {
          scheduler.stop();
        }
      }(std::move(task), written[i], left, scheduler_));
    }
    ASSERT_EQ(code(fence_disk(*b, kWe)), Errc{});
    std::array<int, kWrites> before{};
    for (std::uint64_t i = 0; i < kWrites; ++i) {
      before[i] = byte(16 * i);
    }
    if (left > 0) {
      scheduler_.run();
    }
    for (std::uint64_t i = 0; i < kWrites; ++i) {
      EXPECT_EQ(byte(16 * i), before[i]) << i;
      ASSERT_TRUE(written[i].has_value()) << i;
      if (written[i]->ok()) {
        EXPECT_EQ(before[i], int{round}) << i << ": done, and not there";
        continue;
      }
      ++refused;
      EXPECT_EQ(written[i]->error().code, Errc::kFenced) << written[i]->error().context;
    }
  }
  EXPECT_GT(refused, 0) << "every fence came too late";
}

// A killed process lets go of the device when its I/O has ended, not before.
TEST_F(KernelDisk, ThePlaceOfAKilledProcessIsTakenWhenItsWritesHaveEnded) {
  for (int round = 1; round <= 5; ++round) {
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
    char go = 0;
    ASSERT_EQ(::read(ready[0], &go, 1), 1);
    close(ready[0]);
    close(ready[1]);
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
