// Listeners, addresses and large writes, on the loopback interface.

#include "platform/linux/tcp.h"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "platform/task_scope.h"

namespace duet::os {
namespace {

TcpAddress parsed(std::string_view ip, std::uint16_t port) {
  const Result<TcpAddress> address = TcpAddress::parse(ip, port);
  EXPECT_TRUE(address.ok()) << ip;
  return address.ok() ? address.value() : TcpAddress{};
}

TEST(TcpAddress, ReadsAndWritesBothKinds) {
  EXPECT_EQ(parsed("192.0.2.1", 2049).text(), "192.0.2.1:2049");
  EXPECT_EQ(parsed("2001:db8::1", 2049).text(), "[2001:db8::1]:2049");
  EXPECT_EQ(parsed("::ffff:192.0.2.1", 1), parsed("192.0.2.1", 1)) << "a mapped address";
  EXPECT_EQ(parsed("127.0.0.1", 7), TcpAddress::loopback(7));
  EXPECT_EQ(parsed("::", 0), TcpAddress{});
  for (const char* const bad : {"", "localhost", "192.0.2", "192.0.2.1:80", "[::1]", "1.2.3.4 "}) {
    EXPECT_FALSE(TcpAddress::parse(bad, 1).ok()) << bad;
  }
  EXPECT_FALSE(TcpAddress::parse(std::string_view("127.0.0.1\0x", 11), 1).ok());
}

TEST(TcpListener, SaysWhyItCannotListen) {
  EpollScheduler scheduler;
  const auto first = TcpListener::listen(scheduler, TcpAddress::loopback(0));
  ASSERT_TRUE(first.ok());
  const auto second = TcpListener::listen(scheduler, first.value()->address());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error(), (Error{Errc::kExists, "Address already in use"}));
  const auto elsewhere = TcpListener::listen(scheduler, parsed("203.0.113.1", 0));
  ASSERT_FALSE(elsewhere.ok());
  EXPECT_EQ(elsewhere.error().code, Errc::kNotFound);
}

TEST(TcpListener, SeveralShareAnAddressWhereTheyAllAskForIt) {
  EpollScheduler scheduler;
  const TcpOptions shared{.reuse_port = true};
  const auto first = TcpListener::listen(scheduler, TcpAddress::loopback(0), shared);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(TcpListener::listen(scheduler, first.value()->address(), shared).ok());
  EXPECT_FALSE(TcpListener::listen(scheduler, first.value()->address()).ok());
}

TEST(TcpListener, ListensBeforeItsAddressArrives) {
  EpollScheduler scheduler;
  const TcpOptions early{.freebind = true};
  EXPECT_TRUE(TcpListener::listen(scheduler, parsed("203.0.113.1", 0), early).ok());
  const auto v6 = TcpListener::listen(scheduler, parsed("2001:db8::1", 0), early);
  const bool has_v6 = TcpListener::listen(scheduler, parsed("::1", 0)).ok();
  EXPECT_TRUE(v6.ok() || !has_v6);
}

Task<void> accept_one(EpollScheduler& scheduler, TcpListener& listener,
                      std::unique_ptr<TcpStream>& accepted) {
  accepted = listener.try_accept();
  while (accepted == nullptr) {
    co_await listener.wait();
    accepted = listener.try_accept();
  }
  scheduler.stop();
}

struct Connection {
  std::unique_ptr<TcpStream> client;
  std::unique_ptr<TcpStream> server;
};

Connection connect(EpollScheduler& scheduler, TcpListener& listener, const TcpAddress& to) {
  Connection ends;
  auto client = TcpStream::connect(scheduler, to);
  EXPECT_TRUE(client.ok());
  if (client.ok()) {
    ends.client = std::move(client.value());
    TaskScope scope(scheduler);
    scope.spawn(accept_one(scheduler, listener, ends.server));
    scheduler.run();
  }
  return ends;
}

TEST(TcpListener, TellsBothEndsOfEveryConnection) {
  struct Case {
    const char* listen;
    const char* connect;
  };
  for (const Case& c : {Case{"127.0.0.1", "127.0.0.1"}, Case{"::1", "::1"}, Case{"::", "::1"},
                        Case{"::", "127.0.0.2"}, Case{"0.0.0.0", "127.0.0.3"}}) {
    EpollScheduler scheduler;
    const auto listener = TcpListener::listen(scheduler, parsed(c.listen, 0));
    if (!listener.ok() && std::string_view(c.listen) == "::1") {
      continue;  // a machine without IPv6
    }
    ASSERT_TRUE(listener.ok()) << c.listen;
    const TcpAddress target = parsed(c.connect, listener.value()->port());
    const Connection ends = connect(scheduler, *listener.value(), target);
    ASSERT_NE(ends.server, nullptr);
    EXPECT_EQ(ends.server->local(), target) << c.connect;
    EXPECT_EQ(ends.server->peer(), ends.client->local());
    EXPECT_EQ(ends.client->peer(), target);
  }
}

TEST(TcpListener, TheNextInLineGetsConnectionsWhenTheFirstIsClosed) {
  EpollScheduler scheduler;
  const TcpOptions in_line{.in_line = true};
  auto first = TcpListener::listen(scheduler, TcpAddress::loopback(0), in_line);
  ASSERT_TRUE(first.ok());
  const TcpAddress address = first.value()->address();
  auto next = TcpListener::listen(scheduler, address, in_line);
  ASSERT_TRUE(next.ok());
  for (int turn = 0; turn < 3; ++turn) {
    for (int i = 0; i < 20; ++i) {  // by chance they would be spread over both
      const auto client = TcpStream::connect(scheduler, address);
      ASSERT_TRUE(client.ok()) << "refused";
      EXPECT_EQ(next.value()->try_accept(), nullptr);
      EXPECT_NE(first.value()->try_accept(), nullptr);
    }
    first.value().reset();  // which makes the other the first
    std::swap(first.value(), next.value());
    auto again = TcpListener::listen(scheduler, address, in_line);
    ASSERT_TRUE(again.ok());
    next = std::move(again);
  }
}

TEST(TcpListener, ResetsItsConnectionsWhenItIsToldTo) {
  for (const bool reset : {false, true}) {
    EpollScheduler scheduler;
    const auto listener =
        TcpListener::listen(scheduler, TcpAddress::loopback(0), {.reset_on_close = reset});
    ASSERT_TRUE(listener.ok());
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(listener.value()->port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    auto server = listener.value()->try_accept();
    ASSERT_NE(server, nullptr);
    server.reset();
    char byte = 0;
    const ssize_t got = recv(client, &byte, 1, 0);
    EXPECT_EQ(got, reset ? -1 : 0);
    EXPECT_TRUE(!reset || errno == ECONNRESET);
    ::close(client);
  }
}

TEST(TcpListener, GivesItsOptionsToItsConnections) {
  EpollScheduler scheduler;
  const TcpOptions options{.keepalive_idle_s = 61, .user_timeout_ms = 12'345};
  const auto listener = TcpListener::listen(scheduler, TcpAddress::loopback(0), options);
  ASSERT_TRUE(listener.ok());
  auto client = TcpStream::connect(scheduler, listener.value()->address());
  const int next = dup(STDOUT_FILENO);
  ::close(next);
  std::unique_ptr<TcpStream> accepted;
  {
    TaskScope scope(scheduler);
    scope.spawn(accept_one(scheduler, *listener.value(), accepted));
    if (accepted == nullptr) {
      scheduler.run();
    }
  }
  const auto option = [next](int level, int name) {
    int value = -1;
    socklen_t bytes = sizeof(value);
    EXPECT_EQ(getsockopt(next, level, name, &value, &bytes), 0);
    return value;
  };
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 12'345);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 61);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
}

Task<void> restore(EpollScheduler& scheduler, rlimit limit, std::unique_ptr<TcpStream>& accepted) {
  co_await sleep(scheduler, std::chrono::milliseconds(1));
  EXPECT_EQ(accepted, nullptr);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// UBSan's check of an object's type asks the kernel with a pipe whether it can be read: without
// descriptors it takes every first call of a virtual object for a wrong one.
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer) || __has_feature(address_sanitizer)
#define DUET_CHECKS_NEED_DESCRIPTORS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)  // GCC names UBSan nowhere; the preset has both
#define DUET_CHECKS_NEED_DESCRIPTORS 1
#endif

TEST(TcpListener, AcceptsWhatWaitedWhileTheProcessHadNoDescriptorsLeft) {
#ifdef DUET_CHECKS_NEED_DESCRIPTORS
  GTEST_SKIP() << "the sanitizer itself needs descriptors";
#endif
  EpollScheduler scheduler;
  TcpListener listener(scheduler, 0);
  auto client = TcpStream::connect_loopback(scheduler, listener.port());
  ASSERT_TRUE(client.ok());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  std::unique_ptr<TcpStream> accepted;
  TaskScope scope(scheduler);
  scope.spawn(accept_one(scheduler, listener, accepted));
  scope.spawn(restore(scheduler, before, accepted));
  scheduler.run();
  EXPECT_NE(accepted, nullptr);
}

Task<void> send_parts(ByteStream& stream, const std::vector<std::byte>& bytes) {
  std::vector<ConstBytes> parts;
  std::size_t at = 0;
  for (std::size_t size = 1; at < bytes.size(); size = size % 997 + 1) {
    const std::size_t count = std::min(size, bytes.size() - at);
    parts.push_back(ConstBytes(bytes).subspan(at, count));
    at += count;
  }
  EXPECT_GT(parts.size(), 5000U);
  const Status written = co_await stream.write_all(parts);
  EXPECT_TRUE(written.ok());
  stream.close();
}

Task<void> receive(EpollScheduler& scheduler, ByteStream& stream, std::vector<std::byte>& got) {
  std::vector<std::byte> buffer(70'000);
  for (;;) {
    const Result<std::size_t> count = co_await stream.read_some(buffer);
    if (!count.ok() || count.value() == 0) {
      break;
    }
    got.insert(got.end(), buffer.begin(),
               buffer.begin() + static_cast<std::ptrdiff_t>(count.value()));
  }
  scheduler.stop();
}

TEST(TcpStream, GathersThousandsOfPartsInOrder) {
  EpollScheduler scheduler;
  TcpListener listener(scheduler, 0);
  const Connection ends = connect(scheduler, listener, listener.address());
  std::vector<std::byte> sent(3'000'000);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<std::byte>(i * 2654435761U >> 13U);
  }
  std::vector<std::byte> got;
  TaskScope scope(scheduler);
  scope.spawn(receive(scheduler, *ends.client, got));
  scope.spawn(send_parts(*ends.server, sent));
  scheduler.run();
  EXPECT_TRUE(got == sent);
}

TEST(TcpAddress, KnowsWhatOnlyThisMachineReaches) {
  for (const char* const own : {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(TcpAddress::parse(own, 1).value().is_loopback()) << own;
  }
  for (const char* const other : {"0.0.0.0", "::", "192.0.2.7", "128.0.0.1", "2001:db8::1"}) {
    EXPECT_FALSE(TcpAddress::parse(other, 1).value().is_loopback()) << other;
  }
}

}  // namespace
}  // namespace duet::os
