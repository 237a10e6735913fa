// The simulated link keeps the promises of PartnerLink, and only those.

#include "interconnect/sim/sim_link.h"

#include <gtest/gtest.h>

#include <string>

#include "sim/sim_persistent_memory.h"

namespace duet::interconnect {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array<std::uint64_t, 2> kPair{1, 2};
constexpr WindowId kWindow{1};

ConstBytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

struct Heard final : ChannelUser {
  explicit Heard(PartnerLink& partner_link) : link(partner_link) {
    link.attach(Channel::kLog, this);
  }
  void on_message(ConstBytes message) override {
    messages.emplace_back(reinterpret_cast<const char*>(message.data()), message.size());
  }
  void on_link(const LinkStatus& status) override { states.push_back(status); }
  PartnerLink& link;
  std::vector<std::string> messages;
  std::vector<LinkStatus> states;
};

struct Told final : RemoteWindowUser {
  void on_window() override { ++times; }
  int times = 0;
};

class SimLinkTest : public ::testing::TestWithParam<bool> {
 protected:
  SimLinkTest() { begin(); }
  void begin() {
    a = wire.open({kPair, Node::kA, Incarnation{++incarnations}}, memory_a);
    b = wire.open({kPair, Node::kB, Incarnation{++incarnations}}, memory_b);
    ASSERT_TRUE(run([this] { return wire.up(); }));
  }
  template <typename Done>
  [[nodiscard]] bool run(Done done) {
    return scheduler.run_until(done) && done();
  }
  void settle() {
    ASSERT_TRUE(scheduler.run_until([] { return false; }) || true);
  }

  static constexpr std::uint64_t kSeed = 7;
  std::uint64_t incarnations = 0;
  sim::SimScheduler scheduler{kSeed};
  sim::SimPersistentMemory memory_a{4096};
  sim::SimPersistentMemory memory_b{4096};
  SimWire wire{scheduler, {.one_sided = GetParam()}};
  std::unique_ptr<SimLink> a;
  std::unique_ptr<SimLink> b;
};

TEST_P(SimLinkTest, MessagesArriveInTheirOrderBehindTheWritesBeforeThem) {
  Heard at_b(*b);
  Told told;
  b->grant(kWindow, 1024, 512, 5);
  const auto window = a->open_window(kWindow, 5, told);
  for (int i = 0; i < 20; ++i) {
    const std::string text = "number " + std::to_string(10 + i);
    const ConstBytes part = bytes(text);
    window->write(static_cast<std::uint64_t>(i) * 16, std::span(&part, 1));
    ASSERT_TRUE(a->send(Channel::kLog, part).ok());
  }
  ASSERT_TRUE(run([&] {
    const std::size_t n = at_b.messages.size();
    if (n > 0) {
      // What was written before the message is there when the message is.
      const std::string& text = at_b.messages.back();
      EXPECT_TRUE(
          same_bytes(memory_b.bytes().subspan(1024 + (n - 1) * 16, text.size()), bytes(text)));
    }
    return n == 20 && window->durable() == 20;
  }));
  EXPECT_EQ(at_b.messages.front(), "number 10");
  EXPECT_EQ(at_b.messages.back(), "number 29");
}

TEST_P(SimLinkTest, AWriteOfAStaleEpochDoesNotLand) {
  Told told;
  b->grant(kWindow, 0, 512, 6);
  const auto window = a->open_window(kWindow, 5, told);
  const ConstBytes part = bytes("stale");
  window->write(0, std::span(&part, 1));
  ASSERT_TRUE(run([&] { return !window->status().ok(); }));
  EXPECT_EQ(window->status().error().code, Errc::kFenced);
  EXPECT_EQ(window->durable(), 0U);
  b->grant(kWindow, 0, 512, 5);
  window->write(64, std::span(&part, 1));  // a failed right stays so
  settle();
  EXPECT_EQ(memory_b.bytes()[0], std::byte{0});
  EXPECT_EQ(memory_b.bytes()[64], std::byte{0});
}

TEST_P(SimLinkTest, AWriteOutsideOfItsWindowDoesNotLand) {
  b->grant(kWindow, 0, 512, 5);
  for (const std::uint64_t offset : {std::uint64_t{508}, std::uint64_t{512}, ~std::uint64_t{0}}) {
    Told told;
    const auto window = a->open_window(kWindow, 5, told);
    const ConstBytes part = bytes("outside");
    window->write(offset, std::span(&part, 1));
    ASSERT_TRUE(run([&] { return !window->status().ok(); }));
    EXPECT_EQ(window->status().error().code, Errc::kInvalid);
  }
}

TEST_P(SimLinkTest, AfterRevokeNothingLandsUnlessMemoryIsShared) {
  Told told;
  b->grant(kWindow, 0, 512, 5);
  const auto window = a->open_window(kWindow, 5, told);
  const ConstBytes part = bytes("first");
  window->write(0, std::span(&part, 1));
  ASSERT_TRUE(run([&] { return window->durable() == 1; }));
  wire.stale_writer(Node::kA, true);
  b->revoke(kWindow);
  window->write(64, std::span(&part, 1));
  settle();
  EXPECT_EQ(b->revocable(), !GetParam());
  EXPECT_EQ(memory_b.bytes()[64] != std::byte{0}, GetParam());
}

TEST_P(SimLinkTest, ALostSessionEndsItsWindowsAndTellsBothEnds) {
  Heard at_a(*a);
  Heard at_b(*b);
  Told told;
  b->grant(kWindow, 0, 512, 5);
  const auto window = a->open_window(kWindow, 5, told);
  wire.reset();
  ASSERT_TRUE(run([&] { return a->status().session == 2 && wire.up(); }));
  EXPECT_FALSE(window->status().ok());
  settle();
  EXPECT_EQ(told.times, 1);
  ASSERT_FALSE(at_a.states.empty());
  EXPECT_EQ(at_a.states.back().state, LinkState::kUp);  // the same process
  EXPECT_EQ(b->counters().losses, 1U);
}

TEST_P(SimLinkTest, AnotherIncarnationIsAReset) {
  b.reset();
  ASSERT_TRUE(run([&] { return !connected(a->status().state); }));
  b = wire.open({kPair, Node::kB, Incarnation{99}}, memory_b);
  ASSERT_TRUE(run([&] { return wire.up(); }));
  EXPECT_EQ(a->status().state, LinkState::kReset);
  EXPECT_EQ(a->status().peer, Incarnation{99});
  EXPECT_EQ(b->status().state, LinkState::kUp);  // its first
}

TEST_P(SimLinkTest, ACutInOneDirectionIsNoticedAsSilenceAndHealed) {
  wire.cut(Node::kA);
  const Instant cut = scheduler.now();
  ASSERT_TRUE(run([&] { return !connected(b->status().state); }));
  EXPECT_EQ(scheduler.now() - cut, seconds(1));
  ASSERT_TRUE(run([&] { return !connected(a->status().state); }));  // b's close gets through
  settle();
  EXPECT_FALSE(wire.up());
  wire.heal(Node::kA);
  ASSERT_TRUE(run([&] { return wire.up(); }));
  EXPECT_EQ(a->status().state, LinkState::kUp);
}

TEST_P(SimLinkTest, WhatAShortCutHeldBackArrivesLate) {
  Heard at_b(*b);
  wire.cut(Node::kA);
  ASSERT_TRUE(a->send(Channel::kLog, bytes("late")).ok());
  ASSERT_TRUE(scheduler.run_for(milliseconds(500)));
  EXPECT_TRUE(at_b.messages.empty());
  wire.heal(Node::kA);
  ASSERT_TRUE(run([&] { return at_b.messages.size() == 1; }));
  EXPECT_EQ(a->status().session, 1U);
}

TEST_P(SimLinkTest, ADeadProcessIsNoticedSoonAndADeadMachineBySilence) {
  b.reset();
  const Instant died = scheduler.now();
  ASSERT_TRUE(run([&] { return !connected(a->status().state); }));
  EXPECT_LT(scheduler.now() - died, milliseconds(10));
  b = wire.open({kPair, Node::kB, Incarnation{9}}, memory_b);
  ASSERT_TRUE(run([&] { return wire.up(); }));
  wire.die_silently(Node::kB);
  const Instant powerless = scheduler.now();
  b.reset();
  ASSERT_TRUE(run([&] { return !connected(a->status().state); }));
  EXPECT_EQ(scheduler.now() - powerless, seconds(1));
}

TEST_P(SimLinkTest, TheBeatOfTheApplicationIsSeen) {
  a->beat();
  a->beat();
  ASSERT_TRUE(run([&] { return b->status().peer_beat == 2; }));
  EXPECT_EQ(b->status().beat_changed, scheduler.now());
}

INSTANTIATE_TEST_SUITE_P(Transports, SimLinkTest, ::testing::Values(false, true),
                         [](const auto& which) { return which.param ? "OneSided" : "Stream"; });

}  // namespace
}  // namespace duet::interconnect
