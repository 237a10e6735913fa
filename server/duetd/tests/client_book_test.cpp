#include "client_book.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "sim/sim_scheduler.h"

namespace duet::daemon {
namespace {

using interconnect::Channel;
using interconnect::LinkState;
using os::TcpAddress;

// One end of a link that delivers at once.
class DirectLink final : public interconnect::PartnerLink {
 public:
  void join(DirectLink& other) {
    other_ = &other;
    change(LinkState::kUp);
  }
  void part() {
    other_ = nullptr;
    change(LinkState::kLost);
  }
  bool full = false;
  int sent = 0;

  [[nodiscard]] interconnect::LinkStatus status() const override { return status_; }
  [[nodiscard]] const interconnect::LinkCounters& counters() const override { return counters_; }
  void attach(Channel channel, interconnect::ChannelUser* user) override {
    EXPECT_EQ(channel, Channel::kClients);
    user_ = user;
  }
  Status send(Channel /*channel*/, ConstBytes message) override {
    if (other_ == nullptr || full) {
      return Error{other_ == nullptr ? Errc::kClosed : Errc::kTryAgain, "no room"};
    }
    ++sent;
    other_->user_->on_message(message);
    return Ok{};
  }
  void give(ConstBytes message) { user_->on_message(message); }

  void beat() override {}
  void grant(interconnect::WindowId /*window*/, std::uint64_t /*offset*/, std::uint64_t /*bytes*/,
             std::uint64_t /*epoch*/) override {}
  void revoke(interconnect::WindowId /*window*/) override {}
  [[nodiscard]] bool revocable() const override { return true; }
  [[nodiscard]] bool one_sided() const override { return false; }
  std::unique_ptr<interconnect::RemoteWindow> open_window(
      interconnect::WindowId /*window*/, std::uint64_t /*epoch*/,
      interconnect::RemoteWindowUser& /*user*/) override {
    DUET_CHECK(false);
    return nullptr;
  }

 private:
  void change(LinkState state) {
    status_.state = state;
    if (user_ != nullptr) {
      user_->on_link(status_);
    }
  }

  interconnect::LinkStatus status_;
  interconnect::LinkCounters counters_;
  DirectLink* other_ = nullptr;
  interconnect::ChannelUser* user_ = nullptr;
};

class ClientBookTest : public testing::Test {
 protected:
  ClientBookTest() {
    link_a_.join(link_b_);
    link_b_.join(link_a_);
  }
  static config::Filer filer(std::string name, std::string interface) {
    config::Filer configured;
    configured.name = std::move(name);
    config::Listener listener;
    listener.address = "10.9.0.21";
    listener.interface = std::move(interface);
    configured.listeners.push_back(listener);
    return configured;
  }
  static TcpAddress address(const char* ip, int port) {
    return TcpAddress::parse(ip, static_cast<std::uint16_t>(port)).value();
  }
  static address::Connection connection(int port) {
    return {address("10.9.0.21", 2049), address("10.9.0.1", port)};
  }
  void connect(int port) {
    const address::Connection made = connection(port);
    accepted_(made.local, made.client);
  }

  DirectLink link_a_;
  DirectLink link_b_;
  sim::SimScheduler scheduler_{1};
  ClientBook a_{scheduler_, link_a_};
  ClientBook b_{scheduler_, link_b_};
  const server::AcceptObserver accepted_ = a_.observer(filer("a", "eth0"));
};

TEST_F(ClientBookTest, WhoTakesAFilerOverKnowsTheConnectionsOfItsFormerHost) {
  connect(700);
  connect(701);
  a_.tell_partner();
  EXPECT_EQ(b_.begin(0), (std::vector<address::Connection>{connection(700), connection(701)}));
  EXPECT_TRUE(b_.begin(1).empty());
}

// It lost the filer while nobody heard it, and gets it back before the client asks again.
TEST_F(ClientBookTest, WhoGetsAFilerBackKnowsTheConnectionsThatItHad) {
  connect(700);
  a_.tell_partner();
  EXPECT_EQ(b_.begin(0).size(), 1U);
  EXPECT_EQ(a_.begin(0), std::vector<address::Connection>{connection(700)});
  EXPECT_TRUE(a_.begin(0).empty()) << "they were told once";
}

TEST_F(ClientBookTest, WhatWasAcceptedInATurnIsToldAtItsEnd) {
  connect(700);
  connect(701);
  EXPECT_EQ(link_a_.sent, 0);
  ASSERT_TRUE(scheduler_.run());
  EXPECT_EQ(link_a_.sent, 1);
  EXPECT_EQ(b_.begin(0), (std::vector<address::Connection>{connection(700), connection(701)}));
}

TEST_F(ClientBookTest, NothingIsSaidTwice) {
  connect(700);
  a_.tell_partner();
  a_.tell_partner();
  connect(701);
  a_.tell_partner();
  EXPECT_EQ(link_a_.sent, 2);
  EXPECT_EQ(b_.begin(0).size(), 2U);
  EXPECT_TRUE(b_.begin(0).empty()) << "it has become the host's own";
}

TEST_F(ClientBookTest, ANewSessionSaysAllOfItAnew) {
  connect(700);
  a_.tell_partner();
  link_a_.part();
  connect(701);
  a_.tell_partner();
  link_a_.join(link_b_);
  a_.tell_partner();
  EXPECT_EQ(b_.begin(0), (std::vector<address::Connection>{connection(700), connection(701)}));
}

TEST_F(ClientBookTest, WhatALinkDoesNotTakeIsSentLater) {
  link_a_.full = true;
  connect(700);
  a_.tell_partner();
  EXPECT_TRUE(b_.begin(0).empty());
  link_a_.full = false;
  a_.tell_partner();
  EXPECT_EQ(b_.begin(0).size(), 1U);
}

TEST_F(ClientBookTest, TheOldestOfTooManyAreForgottenAndABeatSendsABoundedPart) {
  constexpr int kMore = 100;
  constexpr int kAll = static_cast<int>(ClientBook::kConnectionsKept) + kMore;
  for (int i = 0; i < kAll; ++i) {
    connect(i);
    if (i % 1000 == 0) {
      a_.tell_partner();
    }
  }
  const int before = link_a_.sent;
  a_.tell_partner();
  EXPECT_LE(link_a_.sent - before, 8);
  for (int i = 0; i < 10; ++i) {
    a_.tell_partner();
  }
  const std::vector<address::Connection> known = b_.begin(0);
  ASSERT_EQ(known.size(), ClientBook::kConnectionsKept);
  EXPECT_EQ(known.front(), connection(kMore));
  EXPECT_EQ(known.back(), connection(kAll - 1));
}

TEST_F(ClientBookTest, AFilerWhoseAddressesStayIsNotObserved) {
  EXPECT_FALSE(a_.observer(filer("a", "")));
}

TEST_F(ClientBookTest, WhatIsNoMessageOfItsIsIgnored) {
  connect(700);
  a_.tell_partner();
  std::vector<std::byte> bytes(24 + 36);
  link_b_.give(bytes);
  link_b_.give(ConstBytes(bytes).first(3));
  // Ours, but it promises more than it has; and a third filer.
  store(bytes, 0, std::uint32_t{0x434C'4344});
  store(bytes, 4, std::uint32_t{1});
  store(bytes, 12, std::uint32_t{1});
  store(bytes, 16, std::uint32_t{2});
  link_b_.give(bytes);
  store(bytes, 16, std::uint32_t{1});
  store(bytes, 8, std::uint32_t{2});
  link_b_.give(bytes);
  EXPECT_EQ(b_.begin(0), std::vector<address::Connection>{connection(700)});
}

}  // namespace
}  // namespace duet::daemon
