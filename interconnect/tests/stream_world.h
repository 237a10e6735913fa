// Streams that fail as they are told, and two links over them in one simulated world.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "interconnect/stream_link.h"
#include "sim/bent_stream.h"
#include "sim/sim_entropy.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"
#include "sim/sim_stream.h"

namespace duet::interconnect::testing {

// Connections between two ends: what one makes the other gets.
class TestSource final : public StreamSource {
 public:
  explicit TestSource(sim::SimScheduler& scheduler) : scheduler_(scheduler), arrived_(scheduler) {}

  Task<Result<std::unique_ptr<ByteStream>>> next() override {
    if (other != nullptr) {
      if (!reachable) {
        co_await sleep(scheduler_, std::chrono::milliseconds(1));
        co_return Error{Errc::kIo, "no way there"};
      }
      sim::SimStream::Pair pair = sim::SimStream::make_pair(scheduler_);
      std::unique_ptr<ByteStream> mine = std::move(pair.first);
      if (bend) {
        mine = std::make_unique<sim::BentStream>(std::move(mine), bend);
      }
      other->push(std::move(pair.second));
      co_return std::move(mine);
    }
    while (waiting_.empty()) {
      co_await arrived_.wait();
    }
    std::unique_ptr<ByteStream> stream = std::move(waiting_.front());
    waiting_.pop_front();
    co_return std::move(stream);
  }
  void push(std::unique_ptr<ByteStream> stream) {
    waiting_.push_back(std::move(stream));
    arrived_.wake_all();
  }

  TestSource* other = nullptr;  // of the end that connects
  bool reachable = true;
  sim::BentStream::Bend bend;

 private:
  sim::SimScheduler& scheduler_;
  WaitList arrived_;
  std::deque<std::unique_ptr<ByteStream>> waiting_;
};

struct Heard final : ChannelUser {
  void on_message(ConstBytes message) override {
    messages.emplace_back(reinterpret_cast<const char*>(message.data()), message.size());
    if (then) {
      then();
    }
  }
  void on_link(const LinkStatus& status) override { states.push_back(status); }
  std::vector<std::string> messages;
  std::vector<LinkStatus> states;
  std::function<void()> then;
};

struct Told final : RemoteWindowUser {
  void on_window() override { ++times; }
  int times = 0;
};

inline ConstBytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

inline constexpr std::array<std::uint64_t, 2> kPair{11, 22};
inline constexpr WindowId kWindow{1};
inline constexpr std::size_t kMemoryBytes = 4U << 20U;

class StreamWorld {
 public:
  explicit StreamWorld(std::uint64_t seed) : scheduler(seed), entropy(seed) {
    source_a.other = &source_b;
  }
  void open_a(std::uint64_t incarnation = 1) {
    LinkIdentity identity{kPair, Node::kA, Incarnation{incarnation}};
    StreamLinkOptions connecting = options;
    connecting.connects = true;
    a = std::make_unique<StreamLink>(scheduler, memory_a, entropy, source_a, identity, connecting);
    a->attach(Channel::kLog, &heard_a);
  }
  void open_b(std::uint64_t incarnation = 2) {
    LinkIdentity identity{kPair, Node::kB, Incarnation{incarnation}};
    b = std::make_unique<StreamLink>(scheduler, memory_b, entropy, source_b, identity, options);
    b->attach(Channel::kLog, &heard_b);
  }
  void begin() {
    open_a();
    open_b();
    ASSERT_TRUE(run([this] { return up(); }));
  }
  [[nodiscard]] bool up() const {
    return connected(a->status().state) && connected(b->status().state);
  }
  template <typename Done>
  [[nodiscard]] bool run(Done done, std::uint64_t turns = 2'000'000) {
    return scheduler.run_until(done, turns) && done();
  }
  void run_for(Duration duration) { ASSERT_TRUE(scheduler.run_for(duration, 10'000'000)); }

  sim::SimScheduler scheduler;
  sim::SimEntropy entropy;
  StreamLinkOptions options;
  sim::SimPersistentMemory memory_a{4096};
  sim::SimPersistentMemory memory_b{kMemoryBytes};
  TestSource source_a{scheduler};
  TestSource source_b{scheduler};
  Heard heard_a;
  Heard heard_b;
  std::unique_ptr<StreamLink> a;
  std::unique_ptr<StreamLink> b;
};

}  // namespace duet::interconnect::testing
