// What the tests of a pair's commands share: programs as an operator runs them, and a node that
// only beats.

#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mailbox/beater.h"
#include "platform/linux/clock.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/run_task.h"
#include "shelf/fence.h"

namespace duet::cli::testing {

using Arguments = std::vector<std::string>;
using os::run;

// A process in `directory`, ended at the latest with this object.
class Program {
 public:
  Program(const std::string& directory, const Arguments& all) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    std::vector<char*> argv;
    Arguments copy = all;
    for (std::string& each : copy) {
      argv.push_back(each.data());
    }
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      if (chdir(directory.c_str()) == 0) {
        execv(argv[0], argv.data());
      }
      _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
  }
  ~Program() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      wait();
    }
    close(output_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // All it says up to `text`; or up to its end.
  std::string read_until(const std::string& text) {
    std::string said;
    std::array<char, 512> buffer{};
    while (said.find(text) == std::string::npos) {
      const ssize_t got = read(output_, buffer.data(), buffer.size());
      if (got <= 0) {
        break;
      }
      said.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return said;
  }
  int wait() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

struct Ran {
  int status = 0;
  std::string said;
};

// A node's beats, from a thread of its own.
class BeatingNode {
 public:
  BeatingNode(mailbox::Node node, std::uint32_t serving,
              std::function<std::unique_ptr<shelf::SharedDisk>(os::EpollScheduler&)> open,
              const std::array<std::uint64_t, 2>& pair)
      : thread_([this, node, serving, open, pair] {
          const auto disk = open(scheduler_);
          const auto join = [](shelf::SharedDisk& which) -> Task<Status> {
            co_return co_await shelf::join_disk(which, shelf::Reservation::kWriteExclusive);
          };
          EXPECT_TRUE(run(scheduler_, join(*disk)).ok());
          const mailbox::Writer writer{pair, node, mailbox::Incarnation{7}};
          mailbox::Beater beater(scheduler_, clock_, writer, {disk.get()}, {});
          mailbox::BeatContent content;
          content.state = mailbox::NodeState::kServing;
          content.serving = serving;
          beater.describe(content);
          beater.on_renewed = [this] { beats_ = true; };
          beater.start();
          scheduler_.run();
        }) {
    while (!beats_) {
      std::this_thread::yield();
    }
  }
  ~BeatingNode() {
    scheduler_.stop();
    thread_.join();
  }

 private:
  os::EpollScheduler scheduler_;
  os::SystemBootClock clock_;
  std::atomic<bool> beats_{false};
  std::thread thread_;
};

}  // namespace duet::cli::testing
