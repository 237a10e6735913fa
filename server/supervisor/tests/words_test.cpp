// Last words on real shelves: who may write them, and what they leave to the next process.

#include "supervisor/words_writer.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>
#include <optional>

#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/run_task.h"
#include "platform/task_scope.h"
#include "processes.h"
#include "shelf/fence.h"
#include "shelf/linux/open_disk.h"

namespace duet::supervisor {
namespace {

using mailbox::Cause;
using shelf::DiskKey;
using shelf::Reservation;
using shelf::SharedDisk;

constexpr std::array<std::uint64_t, 2> kPair{7, 8};

using os::run;

Task<Result<mailbox::WordsSector>> read_words(SharedDisk& disk) {
  co_return co_await mailbox::read_sector<mailbox::WordsSector>(disk, mailbox::kWordsBlock + 0,
                                                                kPair, 0);
}
Task<Result<shelf::DiskState>> read_state(SharedDisk& disk) {
  co_return co_await disk.read_state();
}

void say_nothing() {
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  dup2(nowhere, STDOUT_FILENO);
  dup2(nowhere, STDERR_FILENO);
}

// A shelf of one disk, as a process.
class Shelf {
 public:
  Shelf(const std::string& directory, const std::string& name)
      : socket_(directory + "/" + name + ".sock") {
    const std::string image = directory + "/" + name + ".img";
    Process create([&] {
      say_nothing();
      execl(DUET_SHELF, DUET_SHELF, "create", image.c_str(), "--size", "4M", nullptr);
      return 127;
    });
    EXPECT_EQ(create.wait(), 0);
    process_ = std::make_unique<Process>([&] {
      say_nothing();
      const std::string disk = "d=" + image;
      const std::string listen = "unix://" + socket_;
      execl(DUET_SHELF, DUET_SHELF, "serve", "--listen", listen.c_str(), "--disk", disk.c_str(),
            nullptr);
      return 127;
    });
  }
  [[nodiscard]] shelf::DiskUrl url() const {
    return shelf::DiskUrl::parse("shelf+unix://" + socket_ + "#d").value();
  }
  void send(int signal) const { process_->send(signal); }

 private:
  std::string socket_;
  std::unique_ptr<Process> process_;
};

class LastWords : public testing::Test {
 protected:
  LastWords() {
    directory_ = std::filesystem::path(testing::TempDir()) / "duet_words_XXXXXX";
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    for (const char* const name : {"m0", "m1"}) {
      shelves_.push_back(std::make_unique<Shelf>(directory_, name));
      place_.members.push_back(shelves_.back()->url());
    }
    place_.pair = kPair;
    place_.node = mailbox::Node::kA;
  }
  ~LastWords() override {
    shelves_.clear();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  static std::unique_ptr<SharedDisk> open(os::EpollScheduler& scheduler, const Shelf& shelf,
                                          DiskKey key) {
    auto opened = run(scheduler, shelf::open_shared_disk(scheduler, shelf.url(), {.key = key}));
    EXPECT_TRUE(opened.ok()) << opened.error().context;
    return opened.ok() ? std::move(opened.value()) : nullptr;
  }
  // What a child does: joins all members as that incarnation.
  bool join(std::uint64_t incarnation) {
    os::EpollScheduler scheduler;
    bool all = true;
    for (const auto& shelf : shelves_) {
      const auto disk = open(scheduler, *shelf, shelf::make_key(0, incarnation));
      all = all && run(scheduler, shelf::join_disk(*disk, Reservation::kWriteExclusive)).ok();
    }
    return all;
  }
  // What the partner reads.
  Result<mailbox::WordsSector> words_on(std::size_t member) {
    os::EpollScheduler scheduler;
    const auto disk = open(scheduler, *shelves_[member], shelf::make_key(1, 1));
    return run(scheduler, read_words(*disk));
  }
  std::vector<DiskKey> keys_on(std::size_t member) {
    os::EpollScheduler scheduler;
    const auto disk = open(scheduler, *shelves_[member], shelf::make_key(1, 1));
    return run(scheduler, read_state(*disk)).value().keys;
  }

  std::string directory_;
  std::vector<std::unique_ptr<Shelf>> shelves_;
  WordsPlace place_;
};

const Death kDeath{.incarnation = 50, .cause = Cause::kKilled, .restart = 2500ms, .crashes = 2};

TEST_F(LastWords, AreOnEveryMemberAndTouchNoKey) {
  ASSERT_TRUE(join(50));
  ASSERT_TRUE(write_last_words(place_, kDeath, 5s).ok());
  for (const std::size_t member : {0U, 1U}) {
    const auto words = words_on(member);
    ASSERT_TRUE(words.ok()) << words.error().context;
    EXPECT_EQ(words.value().dead_incarnation, 50U);
    EXPECT_EQ(words.value().cause, static_cast<std::uint32_t>(Cause::kKilled));
    EXPECT_EQ(words.value().restart_ms, 2500U);
    EXPECT_EQ(words.value().crashes, 2U);
    EXPECT_EQ(keys_on(member), std::vector<DiskKey>{shelf::make_key(0, 50)});
  }
}

TEST_F(LastWords, StandInTheWayOfNoNextProcess) {
  ASSERT_TRUE(join(50));
  ASSERT_TRUE(write_last_words(place_, kDeath, 5s).ok());
  EXPECT_TRUE(join(51));
  EXPECT_EQ(keys_on(0), std::vector<DiskKey>{shelf::make_key(0, 51)});
}

// Its socket may be there still: the shelf has not noticed.
TEST_F(LastWords, EnterAlthoughTheDeadProcessHasASession) {
  ASSERT_TRUE(join(50));
  os::EpollScheduler scheduler;
  const auto dead = open(scheduler, *shelves_[0], shelf::make_key(0, 50));
  EXPECT_TRUE(write_last_words(place_, kDeath, 5s).ok());
  EXPECT_TRUE(words_on(0).ok());
}

TEST_F(LastWords, OfAProcessThatWasFencedAreNotWritten) {
  ASSERT_TRUE(join(50));
  os::EpollScheduler scheduler;
  for (const auto& shelf : shelves_) {
    const auto partner = open(scheduler, *shelf, shelf::make_key(1, 1));
    ASSERT_TRUE(run(scheduler, shelf::join_disk(*partner, Reservation::kWriteExclusive)).ok());
    ASSERT_TRUE(run(scheduler, shelf::fence_disk(*partner, Reservation::kWriteExclusive)).ok());
  }
  const Status written = write_last_words(place_, kDeath, 5s);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Errc::kFenced);
  EXPECT_EQ(words_on(0).error().code, Errc::kNotFound);
  EXPECT_EQ(keys_on(0), std::vector<DiskKey>{shelf::make_key(1, 1)});
}

TEST_F(LastWords, OfAnOlderProcessAreNotWrittenOverANewer) {
  ASSERT_TRUE(join(51));
  os::EpollScheduler scheduler;
  const auto newer = open(scheduler, *shelves_[0], shelf::make_key(0, 51));
  EXPECT_FALSE(write_last_words(place_, kDeath, 5s).ok());
  EXPECT_EQ(words_on(0).error().code, Errc::kNotFound);
}

TEST_F(LastWords, ReachOneMemberWhenTheOtherHangs) {
  ASSERT_TRUE(join(50));
  shelves_[0]->send(SIGSTOP);
  EXPECT_TRUE(write_last_words(place_, kDeath, 300ms).ok());
  shelves_[0]->send(SIGCONT);
  EXPECT_TRUE(words_on(1).ok());
}

TEST_F(LastWords, EndInTimeWhenAllMembersHang) {
  ASSERT_TRUE(join(50));
  for (const auto& shelf : shelves_) {
    shelf->send(SIGSTOP);
  }
  const Status written = write_last_words(place_, kDeath, 200ms);
  for (const auto& shelf : shelves_) {
    shelf->send(SIGCONT);
  }
  EXPECT_FALSE(written.ok());
}

TEST_F(LastWords, OfAProcessWithoutAnIncarnationAreRefused) {
  EXPECT_EQ(write_last_words(place_, Death{}, 1s).error().code, Errc::kInvalid);
}

// All together: a child that joined its disks is killed; the supervisor says so there, and the next
// child joins with its own key.
TEST_F(LastWords, AreWrittenByTheSupervisorOfAKilledProcess) {
  Reports reports;
  SupervisorOptions options;
  options.last_words = [&](const Death& death) {
    const Status written = write_last_words(place_, death, 900ms);
    reports.say(written.ok() ? "written" : std::string(written.error().context));
  };
  Process parent([&] {
    return supervise(options, [&](Inherited inherited) {
      const std::uint64_t incarnation = 70 + inherited.crashes;
      ParentLink link(inherited.channel);
      const bool ready = link.tell_incarnation(incarnation).ok() && join(incarnation);
      // Its sessions are open when it is killed.
      os::EpollScheduler scheduler;
      const auto disk = open(scheduler, *shelves_[0], shelf::make_key(0, incarnation));
      reports.say(ready ? std::to_string(getpid()) : "not joined");
      pause();
      return 0;
    });
  });
  const pid_t child = std::atoi(reports.next().c_str());
  ASSERT_GT(child, 0);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(reports.next(), "written");
  EXPECT_GT(std::atoi(reports.next().c_str()), 0);
  for (const std::size_t member : {0U, 1U}) {
    const auto words = words_on(member);
    ASSERT_TRUE(words.ok());
    EXPECT_EQ(words.value().dead_incarnation, 70U);
    EXPECT_EQ(words.value().cause, static_cast<std::uint32_t>(Cause::kKilled));
    EXPECT_EQ(words.value().restart_ms, 5000U);
    EXPECT_EQ(keys_on(member), std::vector<DiskKey>{shelf::make_key(0, 71)});
  }
}

}  // namespace
}  // namespace duet::supervisor
