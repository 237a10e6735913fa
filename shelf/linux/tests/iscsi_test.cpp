// A disk behind iSCSI with persistent reservations, against Debian's tgt.  Skipped where there is
// none.
//
// tgt knows no PREEMPT AND ABORT, no APTPL and no COMPARE AND WRITE: what is tried here is the
// emulation of the first and that the others are found missing.

#include <gtest/gtest.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "disk_work.h"
#include "platform/linux/run_task.h"
#include "platform/linux/tcp.h"
#include "platform/task_scope.h"
#include "shelf/fence.h"
#include "shelf/linux/open_disk.h"

namespace duet::shelf {
namespace {

constexpr const char* kTarget = "iqn.2026-01.org.duet-nas.test:t";

bool is_there(const char* program) {
  for (const char* const directory : {"/usr/sbin/", "/usr/bin/"}) {
    if (access((std::string(directory) + program).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

std::uint16_t free_port() {
  os::EpollScheduler scheduler;
  return os::TcpListener(scheduler, 0).port();
}

// tgtd with one unit of 4 MiB, ended with this object.
class Tgt {
 public:
  Tgt() : directory_(std::filesystem::path(testing::TempDir()) / "duet_tgt_XXXXXX") {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    socket_ = directory_ + "/ipc";
    setenv("TGT_IPC_SOCKET", socket_.c_str(), 1);
    std::ofstream(directory_ + "/disk").close();
    std::filesystem::resize_file(directory_ + "/disk", 4 << 20);
    port_ = free_port();
    start();
  }
  ~Tgt() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Tgt(const Tgt&) = delete;
  Tgt& operator=(const Tgt&) = delete;

  void start() {
    const std::string portal = "portal=127.0.0.1:" + std::to_string(port_);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setpgid(0, 0);
      if (freopen("/dev/null", "w", stdout) == nullptr ||
          freopen("/dev/null", "w", stderr) == nullptr) {
        _exit(126);
      }
      execlp("tgtd", "tgtd", "-f", "--iscsi", portal.c_str(), nullptr);
      _exit(127);
    }
    running_ = false;
    for (int i = 0; i < 100 && !running_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      running_ = admin(std::string("--op new --mode target --tid 1 -T ") + kTarget);
    }
    running_ = running_ &&
               admin("--op new --mode logicalunit --tid 1 --lun 1 --bstype rdwr -b " + directory_ +
                     "/disk") &&
               admin("--op bind --mode target --tid 1 -I ALL");
  }
  // It ignores SIGTERM while it has a target.
  void stop() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      pid_ = -1;
      std::filesystem::remove(socket_ + ".0");
      std::filesystem::remove(socket_ + ".0.lock");
    }
  }
  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] std::string url() const {
    return "iscsi://127.0.0.1:" + std::to_string(port_) + "/" + kTarget + "/1";
  }
  // The first byte of a block, as the file has it.
  [[nodiscard]] int byte_at(std::uint64_t block) const {
    std::ifstream file(directory_ + "/disk", std::ios::binary);
    file.seekg(static_cast<std::streamoff>(block * kBlockBytes));
    return file.get();
  }

 private:
  static bool admin(const std::string& arguments) {
    return system(("tgtadm --lld iscsi " + arguments + " >/dev/null 2>&1").c_str()) == 0;
  }

  std::string directory_;
  std::string socket_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
  bool running_ = false;
};

using os::run;

Task<Status> joined(TaskScope& scope) {
  co_await scope.join();
  co_return Ok{};
}
Task<Status> pause(Scheduler& scheduler) {
  co_await sleep(scheduler, std::chrono::milliseconds(50));
  co_return Ok{};
}
Task<Status> wait_until_lost(Scheduler& scheduler, const SharedDisk& disk) {
  while (disk.health().connected) {
    co_await sleep(scheduler, std::chrono::milliseconds(5));
  }
  co_return Ok{};
}

class IscsiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_there("tgtd") || !is_there("tgtadm")) {
      GTEST_SKIP() << "tgt is not installed";
    }
    tgt_.emplace();
    if (!tgt_->running()) {
      GTEST_SKIP() << "tgtd does not run here";
    }
  }
  std::unique_ptr<SharedDisk> open(DiskKey key, OpenOptions options = {}) {
    const auto url = DiskUrl::parse(tgt_->url());
    options.key = key;
    auto opened = run(scheduler_, open_shared_disk(scheduler_, url.value(), options));
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

  os::EpollScheduler scheduler_;
  std::optional<Tgt> tgt_;
};

TEST_F(IscsiTest, MovesDataAndFindsWhatTheUnitOffers) {
  const auto disk = open(make_key(0, 1));
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(disk->block_count(), 1024U);
  EXPECT_EQ(code(do_register(*disk)), Errc{});  // tries what the unit lists
  EXPECT_FALSE(disk->features().survives_power_loss);
  EXPECT_FALSE(disk->features().drains_on_abort);
  EXPECT_FALSE(disk->features().compare_and_swap);
  EXPECT_FALSE(disk->features().epochs);
  EXPECT_EQ(code(do_raise(*disk)), Errc::kNotSupported);
  EXPECT_EQ(code(write_blocks(*disk, 100, 7, 128)), Errc{});  // more than one transfer
  EXPECT_EQ(code(write_durable(*disk, 1023, 8)), Errc{});
  EXPECT_EQ(code(flush(*disk)), Errc{});
  int byte = 0;
  for (const std::uint64_t block : {100U, 163U, 164U, 227U}) {
    EXPECT_EQ(code(read_byte(*disk, block, byte)), Errc{});
    EXPECT_EQ(byte, 7) << block;
    EXPECT_EQ(tgt_->byte_at(block), 7) << block;
  }
  EXPECT_EQ(tgt_->byte_at(228), 0);
  EXPECT_EQ(code(read_byte(*disk, 1023, byte)), Errc{});
  EXPECT_EQ(byte, 8);
}

TEST_F(IscsiTest, KeysShutAnotherNodeOut) {
  const auto a = open(make_key(0, 1));
  const auto b = open(make_key(1, 1));
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc::kFenced) << "no key";
  EXPECT_EQ(code(do_register(*a)), Errc{});
  EXPECT_EQ(code(do_register(*a)), Errc{});
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc{});
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc{});
  EXPECT_EQ(code(write_blocks(*b, 3, 1, 1)), Errc::kFenced);
  EXPECT_EQ(code(do_register(*b)), Errc{});
  EXPECT_EQ(code(write_blocks(*b, 3, 1, 1)), Errc{});
  EXPECT_EQ(code(do_reserve(*b, kWe)), Errc::kRefused);
  const auto state = now(do_state(*b));
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state.value().keys, (std::vector{make_key(0, 1), make_key(1, 1)}));
  EXPECT_EQ(state.value().holder, make_key(0, 1));
  EXPECT_EQ(state.value().reservation, kWe);
  EXPECT_EQ(code(do_preempt(*b, make_key(0, 1))), Errc{});
  EXPECT_EQ(code(write_blocks(*a, 3, 2, 1)), Errc::kFenced);
  EXPECT_EQ(code(write_durable(*a, 3, 2)), Errc::kFenced);
  EXPECT_EQ(code(do_preempt(*a, make_key(1, 1))), Errc::kFenced);
  EXPECT_EQ(code(do_preempt(*b, make_key(0, 1))), Errc{}) << "once more";
  EXPECT_EQ(tgt_->byte_at(3), 1);
  EXPECT_EQ(now(do_state(*b)).value().holder, make_key(1, 1));
  EXPECT_EQ(code(do_release(*b)), Errc{});
  EXPECT_EQ(now(do_state(*b)).value().reservation, Reservation::kNone);
  EXPECT_EQ(code(do_clear(*b)), Errc{});
  EXPECT_TRUE(now(do_state(*a)).value().keys.empty());
  EXPECT_EQ(code(do_unregister(*b)), Errc{});
}

TEST_F(IscsiTest, JoiningAndFencingWorkAndSayThatTheTargetForgets) {
  const auto a = open(make_key(0, 1));
  const auto b = open(make_key(1, 1));
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  const auto newer = open(make_key(0, 2));
  ASSERT_NE(newer, nullptr);
  EXPECT_EQ(code(join_disk(*newer, kWe)), Errc{});
  EXPECT_EQ(code(write_blocks(*a, 3, 1, 1)), Errc::kFenced) << "the older incarnation";
  EXPECT_EQ(code(do_register(*a)), Errc::kFenced);
  EXPECT_EQ(code(fence_disk(*b, kWe)), Errc::kRefused);
  EXPECT_EQ(code(fence_disk(*b, kWe, true)), Errc{});
  EXPECT_EQ(code(write_blocks(*newer, 3, 1, 1)), Errc::kFenced);
  EXPECT_EQ(now(do_state(*b)).value().keys, std::vector{make_key(1, 1)});
}

TEST_F(IscsiTest, WithoutCompareAndWriteTheKeysDecideWhoSwaps) {
  const auto a = open(make_key(0, 1));
  const auto b = open(make_key(1, 1));
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  AlignedBlock zero;
  AlignedBlock one;
  one.bytes.fill(std::byte{1});
  EXPECT_EQ(code(swap_block(*a, 5, zero.bytes, one.bytes)), Errc{});
  EXPECT_EQ(tgt_->byte_at(5), 1);
  EXPECT_EQ(code(swap_block(*b, 5, zero.bytes, one.bytes)), Errc::kFenced) << "a removed its key";
  EXPECT_EQ(code(do_register(*b)), Errc{});
  EXPECT_EQ(code(swap_block(*b, 5, zero.bytes, one.bytes)), Errc::kOutOfSync);
}

// Many writes of the victim are under way when it is fenced: none lands after the fence.
TEST_F(IscsiTest, NothingOfTheVictimLandsAfterAFence) {
  const auto a = open(make_key(0, 1));
  const auto b = open(make_key(1, 1));
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(code(do_register(*b)), Errc{});
  EXPECT_EQ(code(do_reserve(*b, kWe)), Errc{});
  for (std::uint8_t round = 1; round <= 10; ++round) {
    EXPECT_EQ(code(do_register(*a)), Errc{});
    std::array<std::optional<Status>, 32> written;
    TaskScope scope(scheduler_);
    for (std::uint64_t i = 0; i < written.size(); ++i) {
      scope.spawn([](Task<Status> task, std::optional<Status>& to) -> Task<void> {
        to = co_await std::move(task);
      }(write_blocks(*a, i, round, 1), written[i]));
    }
    ASSERT_EQ(code(do_preempt(*b, make_key(0, 1))), Errc{});
    std::array<int, 32> before{};
    for (std::uint64_t i = 0; i < before.size(); ++i) {
      before[i] = tgt_->byte_at(i);
    }
    scope.spawn([](os::EpollScheduler& scheduler) -> Task<void> {
      co_await sleep(scheduler, std::chrono::milliseconds(30));
      scheduler.stop();
    }(scheduler_));
    scheduler_.run();
    for (std::uint64_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(tgt_->byte_at(i), before[i]) << i;
      ASSERT_TRUE(written[i].has_value()) << i;
      const bool told = written[i]->ok() || written[i]->error().code == Errc::kFenced;
      EXPECT_TRUE(told) << written[i]->error().context;
    }
  }
}

TEST_F(IscsiTest, ALostSessionIsMadeAgain) {
  const auto a = open(make_key(0, 1));
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(code(write_durable(*a, 3, 1)), Errc{});
  for (std::uint8_t round = 2; round <= 4; ++round) {
    tgt_->stop();
    std::optional<Status> written;
    TaskScope scope(scheduler_);
    scope.spawn([](Task<Status> task, std::optional<Status>& to) -> Task<void> {
      to = co_await std::move(task);
    }(write_durable(*a, 3, round), written));
    EXPECT_EQ(code(wait_until_lost(scheduler_, *a)), Errc{});
    EXPECT_NE(a->health().last_error, "");
    EXPECT_FALSE(written.has_value());
    tgt_->start();
    ASSERT_TRUE(tgt_->running());
    EXPECT_EQ(code(joined(scope)), Errc{});
    ASSERT_TRUE(written.has_value());
    EXPECT_TRUE(written->ok()) << written->error().context;
    EXPECT_EQ(tgt_->byte_at(3), int{round});
    EXPECT_TRUE(a->health().connected);
    EXPECT_EQ(a->health().reconnects, std::uint64_t{round} - 1);
  }
}

// This target forgets keys when it is killed; a node that had one must not go on as if it had.
TEST_F(IscsiTest, AKeyThatTheTargetForgotFencesItsNode) {
  const auto a = open(make_key(0, 1));
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(code(write_durable(*a, 3, 1)), Errc{});
  tgt_->stop();
  EXPECT_EQ(code(wait_until_lost(scheduler_, *a)), Errc{});
  tgt_->start();
  ASSERT_TRUE(tgt_->running());
  EXPECT_EQ(code(write_durable(*a, 3, 2)), Errc::kFenced);
  EXPECT_TRUE(now(do_state(*a)).value().keys.empty());
  EXPECT_EQ(tgt_->byte_at(3), 1);
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_EQ(code(write_durable(*a, 3, 2)), Errc{});
}

TEST_F(IscsiTest, ATargetThatStaysAwayFailsItsDisk) {
  OpenOptions options;
  options.fail_after = std::chrono::milliseconds(300);
  const auto a = open(make_key(0, 1), options);
  ASSERT_NE(a, nullptr);
  tgt_->stop();
  EXPECT_EQ(code(write_blocks(*a, 3, 1, 1)), Errc::kIo);
  EXPECT_FALSE(a->health().connected);
  EXPECT_EQ(code(flush(*a)), Errc::kIo);
  tgt_->start();
  ASSERT_TRUE(tgt_->running());
  for (int i = 0; i < 100 && !a->health().connected; ++i) {
    EXPECT_EQ(code(pause(scheduler_)), Errc{});
  }
  EXPECT_EQ(code(write_durable(*a, 3, 1)), Errc{});
}

TEST(IscsiUrl, ThatLeadsNowhereIsRefused) {
  os::EpollScheduler scheduler;
  const auto failed = [&](const char* text) {
    OpenOptions options;
    options.key = make_key(0, 1);
    auto opened =
        run(scheduler, open_shared_disk(scheduler, DiskUrl::parse(text).value(), options));
    return opened.ok() ? Errc{} : opened.error().code;
  };
  EXPECT_EQ(failed("iscsi://127.0.0.1"), Errc::kInvalid);
  const std::string nobody = "iscsi://127.0.0.1:" + std::to_string(free_port()) + "/iqn.x:y/1";
  EXPECT_EQ(failed(nobody.c_str()), Errc::kIo);
}

}  // namespace
}  // namespace duet::shelf
