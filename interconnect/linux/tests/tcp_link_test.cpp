// StreamLink over TCP and TLS on the loopback interface, and with a real partner that stops.

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include "interconnect/linux/tcp_source.h"
#include "linux_world.h"
#include "platform/tls/testing/certificates.h"
#include "sim/sim_persistent_memory.h"

namespace duet::interconnect::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::unique_ptr<tls::TlsContext> with_key(unsigned seed) {
  auto context =
      tls::TlsContext::with_key(std::vector<std::byte>(32, static_cast<std::byte>(seed)));
  EXPECT_TRUE(context.ok());
  return std::move(context.value());
}

// One end over TCP.
struct End {
  End(os::EpollScheduler& scheduler, Entropy& entropy, Node node, std::uint64_t incarnation,
      std::unique_ptr<StreamSource> from)
      : memory(1U << 20U), source(std::move(from)) {
    StreamLinkOptions options;
    options.connects = node == Node::kA;
    options.silence = milliseconds(400);
    options.keepalive = milliseconds(50);
    link.emplace(scheduler, memory, entropy, *source,
                 LinkIdentity{kPair, node, Incarnation{incarnation}}, options);
    link->attach(Channel::kLog, &heard);
  }
  sim::SimPersistentMemory memory;  // the simulated one shows what was persisted
  std::unique_ptr<StreamSource> source;
  Heard heard;
  std::optional<StreamLink> link;
};

class TcpLink : public ::testing::Test {
 protected:
  std::unique_ptr<End> listening(tls::TlsContext* tls, std::uint16_t at = 0) {
    auto listener = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(at));
    EXPECT_TRUE(listener.ok());
    port = listener.value()->port();
    return std::make_unique<End>(
        scheduler, entropy, Node::kB, 2,
        make_listening_source(scheduler, std::move(listener.value()), tls, seconds(2)));
  }
  std::unique_ptr<End> connecting(tls::TlsContext* tls, std::uint64_t incarnation = 1) {
    return std::make_unique<End>(
        scheduler, entropy, Node::kA, incarnation,
        make_connecting_source(scheduler, os::TcpAddress::loopback(port), tls, seconds(2)));
  }
  template <typename Done>
  bool run(Done done) {
    return run_until(scheduler, done);
  }
  static bool up(const End& end) { return connected(end.link->status().state); }
  void expect_traffic(End& from, End& to) {
    to.link->grant(kWindow, 0, 1U << 20U, 5);
    Told told;
    const auto window = from.link->open_window(kWindow, 5, told);
    const std::string text(5000, 'w');
    const ConstBytes part = bytes(text);
    for (std::uint64_t i = 0; i < 100; ++i) {
      window->write(i * 8192, std::span(&part, 1));
    }
    ASSERT_TRUE(from.link->send(Channel::kLog, bytes("written")).ok());
    ASSERT_TRUE(run([&] { return window->durable() == 100; }));
    EXPECT_EQ(to.heard.messages.back(), "written");
    to.memory.lose_power();
    for (std::uint64_t i = 0; i < 100; ++i) {
      ASSERT_TRUE(same_bytes(to.memory.bytes().subspan(i * 8192, 5000), part));
    }
  }

  os::EpollScheduler scheduler;
  os::SystemEntropy entropy;
  std::uint16_t port = 0;
};

TEST_F(TcpLink, CarriesWritesAndMessagesWithAndWithoutTls) {
  const auto key = with_key(1);
  for (tls::TlsContext* const tls : {static_cast<tls::TlsContext*>(nullptr), key.get()}) {
    const auto b = listening(tls);
    const auto a = connecting(tls);
    ASSERT_TRUE(run([&] { return up(*a) && up(*b); }));
    expect_traffic(*a, *b);
    expect_traffic(*b, *a);
  }
}

TEST_F(TcpLink, AWrongKeyIsRefusedAndDisturbsNobody) {
  const auto key = with_key(1);
  const auto other = with_key(2);
  const auto b = listening(key.get());
  {
    const auto mallory = connecting(other.get());
    ASSERT_TRUE(run([&] { return b->link->counters().refused_peers >= 2; }));
    EXPECT_FALSE(up(*mallory));
    EXPECT_FALSE(up(*b));
    EXPECT_EQ(b->link->status().reason, "TLS: the partner did not prove itself or believe us");
  }
  const auto a = connecting(key.get());
  ASSERT_TRUE(run([&] { return up(*a) && up(*b); }));
  const auto mallory = connecting(other.get(), 9);
  const auto plain = connecting(nullptr, 10);
  const std::uint64_t refused = b->link->counters().refused_peers;
  ASSERT_TRUE(run([&] { return b->link->counters().refused_peers >= refused + 4; }));
  EXPECT_EQ(b->link->status().session, 1U);
  EXPECT_TRUE(up(*a) && up(*b));
  expect_traffic(*a, *b);
}

TEST_F(TcpLink, ACertificateOfAnotherNameOrAuthorityIsRefused) {
  const TemporaryDirectory files;
  using namespace tls::testing;  // NOLINT: its certificates
  const Identity authority = make_identity("authority", nullptr);
  const Identity stranger = make_identity("authority", nullptr);
  write_certificate(authority, files.file("authority"));
  const auto put = [&](const std::string& name, const Identity& identity) {
    write_certificate(identity, files.file(name + ".pem"));
    write_key(identity, files.file(name + ".key"));
  };
  put("node-a", make_identity("node-a", &authority));
  put("node-b", make_identity("node-b", &authority));
  put("mallory", make_identity("mallory", &authority));
  put("forged", make_identity("node-a", &stranger));
  const auto context = [&](const std::string& name, const std::string& partner) {
    auto made = tls::TlsContext::with_certificates(
        files.file(name + ".pem"), files.file(name + ".key"), files.file("authority"), partner);
    EXPECT_TRUE(made.ok());
    return std::move(made.value());
  };
  const auto of_b = context("node-b", "node-a");
  const auto b = listening(of_b.get());
  for (const std::string name : {"mallory", "forged"}) {
    const auto wrong = context(name, "node-b");
    const auto a = connecting(wrong.get());
    const std::uint64_t refused = b->link->counters().refused_peers;
    ASSERT_TRUE(run([&] { return b->link->counters().refused_peers >= refused + 2; }));
    EXPECT_FALSE(up(*a));
    EXPECT_EQ(b->link->status().session, 0U);
  }
  const auto right = context("node-a", "node-b");
  const auto a = connecting(right.get());
  ASSERT_TRUE(run([&] { return up(*a) && up(*b); }));
  expect_traffic(*a, *b);
}

TEST_F(TcpLink, ConnectsAgainWhenThePartnerIsBack) {
  const auto key = with_key(1);
  auto b = listening(key.get());
  const auto a = connecting(key.get());
  ASSERT_TRUE(run([&] { return up(*a) && up(*b); }));
  b.reset();
  ASSERT_TRUE(run([&] { return !up(*a); }));
  b = listening(key.get(), port);
  ASSERT_TRUE(run([&] { return up(*a) && up(*b); }));
  EXPECT_EQ(a->link->status().state, LinkState::kUp);
  expect_traffic(*a, *b);
}

// A stranger that connects and says nothing keeps nobody out.
TEST_F(TcpLink, SilentConnectionsKeepNobodyOut) {
  const auto key = with_key(1);
  const auto b = listening(key.get());
  std::vector<std::unique_ptr<os::TcpStream>> silent;
  for (int i = 0; i < 7; ++i) {
    auto stream = os::TcpStream::connect_loopback(scheduler, port);
    ASSERT_TRUE(stream.ok());
    silent.push_back(std::move(stream.value()));
  }
  const auto a = connecting(key.get());
  ASSERT_TRUE(run([&] { return up(*a) && up(*b); }));
}

TEST_F(TcpLink, APartnerThatIsStoppedIsSilentAndOneThatGoesOnIsThereAgain) {
  const auto key = with_key(1);
  const auto b = listening(key.get());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    os::EpollScheduler own;
    End a(own, entropy, Node::kA, 77,
          make_connecting_source(own, os::TcpAddress::loopback(port), key.get(), seconds(2)));
    own.run();
    _exit(4);
  }
  ASSERT_TRUE(run([&] { return up(*b); }));
  ASSERT_EQ(kill(child, SIGSTOP), 0);
  ASSERT_TRUE(run([&] { return !up(*b); }));
  EXPECT_EQ(b->link->counters().silences, 1U);
  EXPECT_EQ(b->link->status().reason, "the partner is silent");
  ASSERT_EQ(kill(child, SIGCONT), 0);
  ASSERT_TRUE(run([&] { return up(*b); }));
  EXPECT_EQ(b->link->status().state, LinkState::kUp);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(run([&] { return !up(*b); }));
  EXPECT_EQ(b->link->counters().silences, 1U) << "the kernel said so at once";
}

}  // namespace
}  // namespace duet::interconnect::testing
