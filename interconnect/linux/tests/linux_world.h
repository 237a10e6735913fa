// Real schedulers, files and sockets for the tests of links.

#pragma once

#include <gtest/gtest.h>

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "interconnect/partner_link.h"
#include "platform/linux/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"

namespace duet::interconnect::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_(std::filesystem::path(::testing::TempDir()) / "duet_link_XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Runs the scheduler until `done()`, which it looks at every millisecond.  False: not within
// `limit`, which only a hung test reaches.
template <typename Done>
bool run_until(os::EpollScheduler& scheduler, Done done,
               Duration limit = std::chrono::seconds(30)) {
  struct Look final : Continuation {
    Look(os::EpollScheduler& world, Done& condition, Instant deadline)
        : scheduler(world), done(condition), end(deadline) {}
    void run() override {
      if (done() || scheduler.now() >= end) {
        scheduler.stop();
      } else {
        scheduler.post_at(*this, scheduler.now() + std::chrono::milliseconds(1));
      }
    }
    os::EpollScheduler& scheduler;
    Done& done;
    Instant end;
  };
  Look look(scheduler, done, scheduler.now() + limit);
  scheduler.post(look);
  scheduler.run();
  return done();
}

struct Heard final : ChannelUser {
  void on_message(ConstBytes message) override {
    messages.emplace_back(reinterpret_cast<const char*>(message.data()), message.size());
  }
  void on_link(const LinkStatus& status) override { states.push_back(status); }
  std::vector<std::string> messages;
  std::vector<LinkStatus> states;
};

struct Told final : RemoteWindowUser {
  void on_window() override { ++times; }
  int times = 0;
};

inline ConstBytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

inline std::unique_ptr<os::MappedMemory> new_memory(const std::string& path, std::uint64_t size) {
  auto memory = os::map_persistent_memory(path, size, {.create = true, .accept_volatile = true});
  EXPECT_TRUE(memory.ok());
  return std::move(memory.value());
}

inline constexpr std::array<std::uint64_t, 2> kPair{11, 22};
inline constexpr WindowId kWindow{1};

}  // namespace duet::interconnect::testing
