// Addresses that move between machines: real interfaces, in network namespaces of the test's own.

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <thread>

#include "address/address_keeper.h"
#include "address/tickle.h"
#include "kernel_addresses.h"
#include "namespaces.h"
#include "platform/linux/descriptor.h"
#include "platform/task_scope.h"

namespace duet::address {

void PrintTo(const FilerAddress& address, std::ostream* to) { *to << address.ip.text(); }

namespace {

using namespace std::chrono_literals;

constexpr Duration kLease = 500ms;
constexpr std::uint16_t kPort = 2049;

os::TcpAddress parsed(std::string_view ip, std::uint16_t port = 0) {
  return os::TcpAddress::parse(ip, port).value();
}
FilerAddress on_eth0(std::string_view ip, std::uint8_t prefix_bits) {
  return {.ip = parsed(ip), .interface = "eth0", .prefix_bits = prefix_bits};
}
const FilerAddress kV4 = on_eth0("10.77.0.100", 24);
const FilerAddress kV6 = on_eth0("fd77::100", 64);

TEST(FilerAddress, IsOfANetworkByItsPrefixOnly) {
  EXPECT_TRUE(same_network(parsed("10.1.2.3"), parsed("10.1.2.200"), 24));
  EXPECT_FALSE(same_network(parsed("10.1.2.3"), parsed("10.1.3.3"), 24));
  EXPECT_TRUE(same_network(parsed("10.1.2.3"), parsed("10.1.3.3"), 23));
  EXPECT_FALSE(same_network(parsed("10.1.2.3"), parsed("10.1.2.131"), 25));
  EXPECT_TRUE(same_network(parsed("fd00::1"), parsed("fd00::ffff"), 64));
  EXPECT_FALSE(same_network(parsed("fd00::1"), parsed("fd00:0:0:1::1"), 64));
  EXPECT_FALSE(same_network(parsed("fd00::1"), parsed("10.1.2.3"), 1));
}

TEST(AddressKeeper, HasNothingToDoForAddressesOfTheMachine) {
  os::EpollScheduler scheduler;
  AddressKeeper keeper(scheduler, {{.ip = parsed("127.0.1.1")}, {.ip = parsed("::1")}}, kLease);
  EXPECT_EQ(check_addresses(keeper.addresses()), Problems{});
  EXPECT_EQ(keeper.take(), Problems{});
  EXPECT_EQ(keeper.drop(), Problems{});
}

TEST(AddressKeeper, SaysWhichAddressIsNowhereAndWhatToDo) {
  os::EpollScheduler scheduler;
  AddressKeeper keeper(scheduler,
                       {{.ip = parsed("127.0.0.1")},
                        {.ip = parsed("203.0.113.7")},
                        {.ip = parsed("203.0.113.8"), .interface = "no-such0", .prefix_bits = 24}},
                       kLease);
  const Problems problems = keeper.take();
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].index, 1U);
  EXPECT_EQ(problems[0].error.code, Errc::kNotFound);
  EXPECT_NE(problems[0].error.context.find("name the one"), std::string_view::npos);
  EXPECT_EQ(problems[1].index, 2U);
  EXPECT_EQ(problems[1].error.code, Errc::kNotFound);
  EXPECT_NE(problems[1].error.context.find("ip link"), std::string_view::npos);
}

// ------------------------------------------------------------------------- on a real interface

class OnANetwork : public testing::Test {
 protected:
  void SetUp() override {
    if (!network_.a.valid()) {
      GTEST_SKIP() << "not permitted to make network namespaces: run it as root";
    }
    ASSERT_TRUE(network_.build()) << "ip(8) failed: no veth or bridge here?";
  }

  [[nodiscard]] static bool has(const Namespace& where, const char* ip) {
    return where.ip_says("-o addr show dev eth0").find(std::string(ip) + "/") != std::string::npos;
  }
  static bool wait_until(const std::function<bool()>& what, std::chrono::seconds longest) {
    const auto end = std::chrono::steady_clock::now() + longest;
    while (!what()) {
      if (std::chrono::steady_clock::now() > end) {
        return false;
      }
      std::this_thread::sleep_for(20ms);
    }
    return true;
  }

  Network network_;
};

// A node's part: a listener for the filer that is there before its address, and the address.
class Node {
 public:
  Node(const Namespace& where, const FilerAddress& address, bool reset_on_close = true)
      : where_(where), keeper_(scheduler_, {address}, kLease), scope_(scheduler_) {
    const Inside inside(where_);
    os::TcpAddress listen = address.ip;
    listen.port = kPort;
    const os::TcpOptions options{.freebind = true, .reset_on_close = reset_on_close};
    auto made = os::TcpListener::listen(scheduler_, listen, options);
    EXPECT_TRUE(made.ok());
    listener_ = std::move(made.value());
  }
  Problems take() {
    const Inside inside(where_);
    return keeper_.take();
  }
  Problems renew() {
    const Inside inside(where_);
    return keeper_.renew();
  }
  Problems drop() {
    const Inside inside(where_);
    return keeper_.drop();
  }
  // All of an announcement.
  Problems announce() {
    const Inside inside(where_);
    std::optional<Problems> result;
    scope_.spawn(announce_and_stop(result));
    scheduler_.run();
    return std::move(*result);
  }
  // Its first message and no more, as far as the first 40 ms hold one.
  void announce_once() {
    announce_until([] { return true; }, 40ms);
  }
  // Until `done`, which is asked now and then.  False: it was not within a second.
  bool announce_until(const std::function<bool()>& done, Duration pause = 10ms) {
    const Inside inside(where_);
    std::optional<Problems> ignored;
    bool happened = false;
    scope_.spawn(announce_and_stop(ignored));
    scope_.spawn(stop_when(done, pause, happened));
    scheduler_.run();
    scope_.cancel();
    return happened;
  }
  std::unique_ptr<os::TcpStream> accept() {
    std::unique_ptr<os::TcpStream> taken;
    for (int i = 0; i < 100 && taken == nullptr; ++i) {
      taken = listener_->try_accept();
      if (taken == nullptr) {
        std::this_thread::sleep_for(10ms);
      }
    }
    return taken;
  }
  Status tickle(const Connection& connection) {
    const Inside inside(where_);
    return address::tickle({&connection, 1});
  }

 private:
  Task<void> announce_and_stop(std::optional<Problems>& result) {
    result = co_await keeper_.announce();
    scheduler_.stop();
  }
  Task<void> stop_when(std::function<bool()> done, Duration pause, bool& happened) {
    while (!happened) {
      co_await sleep(scheduler_, pause);
      happened = done();
    }
    scheduler_.stop();
  }
  const Namespace& where_;
  os::EpollScheduler scheduler_;
  AddressKeeper keeper_;
  std::unique_ptr<os::TcpListener> listener_;
  TaskScope scope_;
};

// A client's blocking socket.
class Client {
 public:
  // `own_port`: as a Linux NFS client, which comes back from where it was; 0: any.
  Client(const Namespace& where, os::TcpAddress to, std::uint16_t own_port = 0) {
    const Inside inside(where);
    const bool v4 = is_v4(to);
    socket_ = os::Descriptor(
        ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in6 own{};  // both kinds have the port at the same place, and zero is any address
    own.sin6_family = v4 ? AF_INET : AF_INET6;
    own.sin6_port = htons(own_port);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&own),
                   v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)),
              0);
    sockaddr_storage storage{};
    if (v4) {
      sockaddr_in in{
          .sin_family = AF_INET, .sin_port = htons(kPort), .sin_addr = {}, .sin_zero = {}};
      std::memcpy(&in.sin_addr, to.ip.data() + 12, 4);
      std::memcpy(&storage, &in, sizeof(in));
    } else {
      sockaddr_in6 in{};
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(kPort);
      std::memcpy(&in.sin6_addr, to.ip.data(), 16);
      std::memcpy(&storage, &in, sizeof(in));
    }
    const int started = ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&storage),
                                  v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_TRUE(started == 0 || errno == EINPROGRESS) << strerror(errno);
  }
  // Whether it is connected within this time; else error() says why not, or 0.
  bool connected(std::chrono::milliseconds patience) {
    pollfd poll_for{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    if (poll(&poll_for, 1, static_cast<int>(patience.count())) != 1) {
      return false;
    }
    error_ = take_error();
    return error_ == 0;
  }
  // The error that the connection ends with, 0 for none; nullopt: it does not end within this time.
  std::optional<int> ended_within(std::chrono::milliseconds patience) {
    pollfd poll_for{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (poll(&poll_for, 1, static_cast<int>(patience.count())) != 1) {
      return std::nullopt;
    }
    return take_error();
  }
  void send_something() { EXPECT_EQ(::send(socket_.get(), "x", 1, MSG_NOSIGNAL), 1); }
  [[nodiscard]] int error() const { return error_; }

 private:
  int take_error() const {
    int error = 0;
    socklen_t bytes = sizeof(error);
    getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &bytes);
    return error;
  }
  os::Descriptor socket_;
  int error_ = 0;
};

class Moves : public OnANetwork, public testing::WithParamInterface<FilerAddress> {};

std::string kind(const testing::TestParamInfo<FilerAddress>& info) {
  return is_v4(info.param.ip) ? "v4" : "v6";
}
INSTANTIATE_TEST_SUITE_P(Both, Moves, testing::Values(kV4, kV6), kind);

// What a client has learnt stays for tens of seconds: REACHABLE for 15 to 45.
TEST_P(Moves, OnlyAnAnnouncementBringsAClientToTheNewOwnerAtOnce) {
  Node a(network_.a, GetParam());
  Node b(network_.b, GetParam());
  ASSERT_EQ(a.take(), Problems{});
  Client before(network_.client, GetParam().ip);
  ASSERT_TRUE(before.connected(5s));
  ASSERT_NE(a.accept(), nullptr);

  ASSERT_EQ(a.drop(), Problems{});
  ASSERT_EQ(b.take(), Problems{});
  Client stale(network_.client, GetParam().ip);
  EXPECT_FALSE(stale.connected(300ms)) << "the client's entry was not stale: this proves nothing";
  EXPECT_EQ(stale.error(), 0) << "refused by the old owner";

  b.announce_once();
  Client after(network_.client, GetParam().ip);
  EXPECT_TRUE(after.connected(300ms)) << strerror(after.error());
  EXPECT_NE(b.accept(), nullptr);
}

// A question that is lost is asked again after a second only (RFC 4861 section 10: RETRANS_TIMER).
TEST_P(Moves, AClientThatAskedTooSoonFindsItByTheAnnouncement) {
  Node node(network_.a, GetParam());
  ASSERT_EQ(node.take(), Problems{});
  Client client(network_.client, GetParam().ip);
  EXPECT_TRUE(node.announce_until([&] { return client.connected(0ms); }));
}

TEST_P(Moves, AFailedFirstAnnouncementIsMadeGoodByTheNext) {
  Node a(network_.a, GetParam());
  Node b(network_.b, GetParam());
  ASSERT_EQ(a.take(), Problems{});
  Client before(network_.client, GetParam().ip);
  ASSERT_TRUE(before.connected(5s));
  ASSERT_EQ(a.drop(), Problems{});
  ASSERT_EQ(b.take(), Problems{});
  ASSERT_TRUE(network_.lan.ip("link set p2 nomaster"));
  std::thread cable([&] {
    std::this_thread::sleep_for(150ms);
    EXPECT_TRUE(network_.lan.ip("link set p2 master br0"));
  });
  EXPECT_EQ(b.announce(), Problems{});
  cable.join();
  Client after(network_.client, GetParam().ip);
  EXPECT_TRUE(after.connected(300ms)) << strerror(after.error());
}

// The old owner keeps its sockets: it is frozen.
TEST_P(Moves, AConnectionOfTheOldOwnerIsResetByTheNewAtItsNextSegment) {
  Node a(network_.a, GetParam());
  Node b(network_.b, GetParam());
  ASSERT_EQ(a.take(), Problems{});
  Client client(network_.client, GetParam().ip);
  ASSERT_TRUE(client.connected(5s));
  const auto server = a.accept();
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(a.drop(), Problems{});
  ASSERT_EQ(b.take(), Problems{});
  b.announce_once();
  client.send_something();
  // A segment that left before the announcement arrived is sent again after up to some seconds.
  EXPECT_EQ(client.ended_within(20s), ECONNRESET);
}

TEST_P(Moves, AClientThatOnlyWaitsIsResetByATickle) {
  Node a(network_.a, GetParam());
  Node b(network_.b, GetParam());
  ASSERT_EQ(a.take(), Problems{});
  Client client(network_.client, GetParam().ip);
  ASSERT_TRUE(client.connected(5s));
  const auto server = a.accept();
  ASSERT_NE(server, nullptr);
  const Connection connection{.local = server->local(), .client = server->peer()};
  ASSERT_EQ(a.drop(), Problems{});
  ASSERT_EQ(b.take(), Problems{});
  b.announce_once();
  EXPECT_FALSE(client.ended_within(300ms)) << "it noticed without a tickle";
  ASSERT_TRUE(b.tickle(connection).ok());
  EXPECT_EQ(client.ended_within(20s), ECONNRESET);
}

TEST_P(Moves, ConnectionsClosedAfterTheAddressIsDroppedAreResetByTheNewOwner) {
  Node a(network_.a, GetParam());
  Node b(network_.b, GetParam());
  ASSERT_EQ(a.take(), Problems{});
  Client client(network_.client, GetParam().ip);
  ASSERT_TRUE(client.connected(5s));
  auto server = a.accept();
  ASSERT_NE(server, nullptr);
  const Connection connection{.local = server->local(), .client = server->peer()};
  ASSERT_EQ(a.drop(), Problems{});
  server.reset();
  if (is_v4(GetParam().ip)) {
    EXPECT_FALSE(client.ended_within(200ms)) << "the old owner still speaks under the address";
  }
  ASSERT_EQ(b.take(), Problems{});
  b.announce_once();
  ASSERT_TRUE(b.tickle(connection).ok());
  // Over IPv6 the kernel does send the end of a connection whose address is gone: an end as well.
  EXPECT_TRUE(client.ended_within(20s));
}

// Whom nobody accepted is in no list of connections.
TEST_P(Moves, WhoWaitsInAQueueIsResetAlthoughTheAddressHasLeft) {
  os::EpollScheduler scheduler;
  AddressKeeper keeper(scheduler, {GetParam()}, kLease);
  const Inside inside(network_.a);
  ASSERT_EQ(keeper.take(), Problems{});
  os::TcpAddress listen = GetParam().ip;
  listen.port = kPort;
  const auto listener = os::TcpListener::open(listen, {.freebind = true, .reset_on_close = true});
  ASSERT_TRUE(listener.ok());
  Client client(network_.client, GetParam().ip);
  ASSERT_TRUE(client.connected(5s));
  ASSERT_EQ(keeper.drop(), Problems{});
  const std::vector<int> queued = os::TcpListener::take_queued(listener.value());
  ASSERT_EQ(queued.size(), 1U);
  ::close(listener.value().descriptor);
  EXPECT_FALSE(client.ended_within(100ms));
  ::close(queued.front());
  EXPECT_EQ(client.ended_within(5s), ECONNRESET);
}

// A remainder of the first connection would take the client's answer to the tickle for its own.
TEST_P(Moves, AnAddressThatComesBackHasForgottenItsFormerConnections) {
  constexpr std::uint16_t kOwnPort = 700;
  Node a(network_.a, GetParam());
  Node b(network_.b, GetParam());
  Node* here = &a;
  Node* there = &b;
  ASSERT_EQ(here->take(), Problems{});
  here->announce_once();
  for (int move = 0; move < 3; ++move) {
    Client client(network_.client, GetParam().ip, kOwnPort);
    ASSERT_TRUE(client.connected(5s)) << "after " << move << " moves";
    auto server = here->accept();
    ASSERT_NE(server, nullptr);
    const Connection connection{.local = server->local(), .client = server->peer()};
    ASSERT_EQ(here->drop(), Problems{});
    server.reset();
    ASSERT_EQ(there->take(), Problems{});
    there->announce_once();
    ASSERT_TRUE(there->tickle(connection).ok());
    EXPECT_EQ(client.ended_within(5s), ECONNRESET) << "after " << move << " moves";
    std::swap(here, there);
  }
}

TEST_P(Moves, ATickleHarmsNoConnectionThatIsKnown) {
  Node a(network_.a, GetParam());
  ASSERT_EQ(a.take(), Problems{});
  Client client(network_.client, GetParam().ip);
  ASSERT_TRUE(client.connected(5s));
  auto server = a.accept();
  ASSERT_NE(server, nullptr);
  ASSERT_TRUE(a.tickle({.local = server->local(), .client = server->peer()}).ok());
  EXPECT_FALSE(client.ended_within(300ms));
  client.send_something();
}

TEST_P(Moves, AMachineThatDoesNotRenewLosesItAndOneThatDoesKeepsIt) {
  const std::string ip = is_v4(GetParam().ip) ? "10.77.0.100" : "fd77::100";
  Node frozen(network_.a, GetParam());
  Node living(network_.b,
              is_v4(GetParam().ip) ? on_eth0("10.77.0.101", 24) : on_eth0("fd77::101", 64));
  const std::string other = is_v4(GetParam().ip) ? "10.77.0.101" : "fd77::101";
  ASSERT_EQ(frozen.take(), Problems{});
  ASSERT_EQ(living.take(), Problems{});
  ASSERT_TRUE(has(network_.a, ip.c_str()));
  bool kept = true;
  EXPECT_TRUE(wait_until(
      [&] {
        EXPECT_EQ(living.renew(), Problems{});
        kept = kept && has(network_.b, other.c_str());
        return !has(network_.a, ip.c_str());
      },
      10s));
  EXPECT_TRUE(kept);
  // And the network is as it was.
  EXPECT_TRUE(has(network_.a, is_v4(GetParam().ip) ? "10.77.0.1" : "fd77::1"));
  Client still(network_.client, parsed(other));
  EXPECT_TRUE(still.connected(5s));
}

TEST_P(Moves, ARenewalBringsBackWhatTheKernelHasRemoved) {
  const char* const ip = is_v4(GetParam().ip) ? "10.77.0.100" : "fd77::100";
  Node node(network_.a, GetParam());
  ASSERT_EQ(node.take(), Problems{});
  ASSERT_TRUE(wait_until([&] { return !has(network_.a, ip); }, 10s));
  EXPECT_EQ(node.renew(), Problems{});
  EXPECT_TRUE(has(network_.a, ip));
}

TEST_P(Moves, AProcessThatStartsRemovesWhatItsPredecessorLeft) {
  const char* const ip = is_v4(GetParam().ip) ? "10.77.0.100" : "fd77::100";
  {
    Node killed(network_.a, GetParam());
    ASSERT_EQ(killed.take(), Problems{});
  }
  ASSERT_TRUE(has(network_.a, ip));
  const Inside inside(network_.a);
  const FilerAddress address = GetParam();
  EXPECT_EQ(drop_addresses({&address, 1}), Problems{});
  EXPECT_FALSE(has(network_.a, ip));
  EXPECT_EQ(drop_addresses({&address, 1}), Problems{}) << "a second time";
}

TEST_P(Moves, AnAddressThatTheMachineHasForGoodIsLeftAlone) {
  const bool v4 = is_v4(GetParam().ip);
  const char* const ip = v4 ? "10.77.0.100" : "fd77::100";
  ASSERT_TRUE(network_.a.ip(std::string("addr add ") + ip + (v4 ? "/24" : "/64") + " dev eth0"));
  Node node(network_.a, GetParam());
  ASSERT_EQ(node.take(), Problems{});
  ASSERT_EQ(node.renew(), Problems{});
  const std::string shown = network_.a.ip_says(std::string("-o addr show to ") + ip);
  EXPECT_NE(shown.find("valid_lft forever"), std::string::npos) << shown;
  ASSERT_EQ(node.drop(), Problems{});
  EXPECT_TRUE(has(network_.a, ip));
}

// The kernel removes with a primary address all secondary ones of its network.
TEST_P(Moves, TwoFilersOfOneNetworkComeAndGoWithoutEachOther) {
  const bool v4 = is_v4(GetParam().ip);
  Node first(network_.a, GetParam());
  Node second(network_.a, on_eth0(v4 ? "10.77.0.101" : "fd77::101", v4 ? 24 : 64));
  ASSERT_EQ(first.take(), Problems{});
  ASSERT_EQ(second.take(), Problems{});
  ASSERT_EQ(first.drop(), Problems{});
  EXPECT_TRUE(has(network_.a, v4 ? "10.77.0.101" : "fd77::101"));
  EXPECT_TRUE(has(network_.a, v4 ? "10.77.0.1" : "fd77::1"));
  const std::string routes = network_.a.ip_says(v4 ? "-4 route" : "-6 route show dev eth0");
  EXPECT_NE(routes.find(v4 ? "10.77.0.0/24" : "fd77::/64"), std::string::npos) << routes;
  EXPECT_EQ(routes.find("expires"), std::string::npos) << routes;
}

TEST_P(Moves, AnAddressOfANetworkOfItsOwnBringsItsRoute) {
  const bool v4 = is_v4(GetParam().ip);
  ASSERT_TRUE(network_.client.ip(v4 ? "addr add 10.88.0.9/24 dev eth0"
                                    : "addr add fd88::9/64 dev eth0 nodad"));
  Node node(network_.a, on_eth0(v4 ? "10.88.0.100" : "fd88::100", v4 ? 24 : 64));
  ASSERT_EQ(node.take(), Problems{});
  Client client(network_.client, parsed(v4 ? "10.88.0.100" : "fd88::100"));
  EXPECT_TRUE(client.connected(5s)) << strerror(client.error());
  ASSERT_EQ(node.drop(), Problems{});
}

TEST_F(OnANetwork, AnInterfaceThatIsDownIsSaid) {
  ASSERT_TRUE(network_.a.ip("link set eth0 down"));
  const Inside inside(network_.a);
  const Problems problems = check_addresses({&kV4, 1});
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].error.code, Errc::kRefused);
}

TEST_F(OnANetwork, APrefixThatMakesNoSenseIsSaid) {
  const Inside inside(network_.a);
  for (const std::uint8_t bits : {std::uint8_t{0}, std::uint8_t{33}}) {
    const FilerAddress wrong = on_eth0("10.77.0.100", bits);
    const Problems problems = check_addresses({&wrong, 1});
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_EQ(problems[0].error.code, Errc::kInvalid);
  }
}

}  // namespace
}  // namespace duet::address
