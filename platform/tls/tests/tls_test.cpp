// TLS over simulated streams: who is believed, what arrives, what a turned bit does.

#include "platform/tls/tls.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "platform/task_scope.h"
#include "platform/tls/testing/certificates.h"
#include "sim/bent_stream.h"
#include "sim/sim_scheduler.h"
#include "sim/sim_stream.h"
#include "tls_stream.h"

namespace duet::tls::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<std::byte> key_of(int seed, std::size_t size = 32) {
  std::vector<std::byte> key(size);
  for (std::size_t i = 0; i < size; ++i) {
    key[i] = static_cast<std::byte>(seed * 31 + static_cast<int>(i));
  }
  return key;
}

std::unique_ptr<TlsContext> with_key(int seed) {
  auto context = TlsContext::with_key(key_of(seed));
  EXPECT_TRUE(context.ok());
  return std::move(context.value());
}

using Secured = Result<std::unique_ptr<ByteStream>>;

Task<void> shake(Scheduler& scheduler, TlsContext& context, TlsRole role,
                 std::unique_ptr<ByteStream> stream, std::optional<Secured>& result) {
  Secured secured = co_await tls_handshake(scheduler, context, role, seconds(5), std::move(stream));
  result.emplace(std::move(secured));
}

Task<void> write_all(ByteStream& stream, const std::vector<std::byte>& data, std::size_t piece,
                     std::optional<Status>& result) {
  ConstBytes left(data);
  Status status = Ok{};
  while (!left.empty() && status.ok()) {
    std::array<ConstBytes, 2> parts{left.first(std::min(piece, left.size())), ConstBytes{}};
    left = left.subspan(parts[0].size());
    parts[1] = left.first(std::min<std::size_t>(7, left.size()));
    left = left.subspan(parts[1].size());
    const std::span<ConstBytes> all(parts);
    status = co_await stream.write_all(all);
  }
  result.emplace(status);
}

Task<void> read_all(ByteStream& stream, std::size_t size, std::vector<std::byte>& data,
                    std::optional<Status>& result) {
  std::vector<std::byte> buffer(5000);
  while (data.size() < size) {
    const MutableBytes into(buffer);
    const Result<std::size_t> got = co_await stream.read_some(into);
    if (!got.ok()) {
      result.emplace(got.error());
      co_return;
    }
    if (got.value() == 0) {
      break;
    }
    data.insert(data.end(), buffer.begin(),
                buffer.begin() + static_cast<std::ptrdiff_t>(got.value()));
  }
  result.emplace(Ok());
}

class Tls : public ::testing::Test {
 protected:
  struct Pair {
    std::optional<Secured> client;
    std::optional<Secured> server;
    [[nodiscard]] bool ok() const { return client->ok() && server->ok(); }
  };
  Pair shake_hands(TlsContext& client, TlsContext& server, const sim::BentStream::Bend& bend = {}) {
    sim::SimStream::Pair streams = sim::SimStream::make_pair(scheduler);
    std::unique_ptr<ByteStream> first = std::move(streams.first);
    if (bend) {
      first = std::make_unique<sim::BentStream>(std::move(first), bend);
    }
    Pair pair;
    scope.spawn(shake(scheduler, client, TlsRole::kClient, std::move(first), pair.client));
    scope.spawn(shake(scheduler, server, TlsRole::kServer, std::move(streams.second), pair.server));
    EXPECT_TRUE(
        scheduler.run_until([&] { return pair.client.has_value() && pair.server.has_value(); }));
    return pair;
  }
  // What arrives of `sent`; `status`: the reader's.
  std::vector<std::byte> carry(ByteStream& from, ByteStream& to, const std::vector<std::byte>& sent,
                               std::size_t piece, std::optional<Status>& status) {
    std::vector<std::byte> got;
    std::optional<Status> written;
    scope.spawn(write_all(from, sent, piece, written));
    scope.spawn(read_all(to, sent.size(), got, status));
    const auto done = [&] { return status.has_value() && written.has_value(); };
    EXPECT_TRUE(scheduler.run_until(done, 20'000'000) && done());
    scope.cancel();
    return got;
  }
  static std::vector<std::byte> random_bytes(std::size_t size) {
    sim::Random random(size);
    std::vector<std::byte> data(size);
    for (std::byte& b : data) {
      b = static_cast<std::byte>(random.next());
    }
    return data;
  }

  sim::SimScheduler scheduler{4};
  TaskScope scope{scheduler};
};

TEST_F(Tls, BothEndsWithOneKeyTalkInBothDirections) {
  const auto context = with_key(1);
  Pair pair = shake_hands(*context, *context);
  ASSERT_TRUE(pair.ok());
  for (const std::size_t size : {std::size_t{1}, std::size_t{17'000}, std::size_t{3'000'000}}) {
    const std::vector<std::byte> data = random_bytes(size);
    std::optional<Status> there;
    EXPECT_TRUE(carry(*pair.client->value(), *pair.server->value(), data, 1 << 20, there) == data);
    std::optional<Status> back;
    EXPECT_TRUE(carry(*pair.server->value(), *pair.client->value(), data, 1000, back) == data);
  }
}

TEST_F(Tls, KeysAreRenewedWhileDataFlows) {
  const auto context = with_key(1);
  context->data().records_per_key = 3;
  Pair pair = shake_hands(*context, *context);
  ASSERT_TRUE(pair.ok());
  const std::vector<std::byte> data = random_bytes(400'000);
  std::optional<Status> there;
  EXPECT_TRUE(carry(*pair.client->value(), *pair.server->value(), data, 5000, there) == data);
  std::optional<Status> back;
  EXPECT_TRUE(carry(*pair.server->value(), *pair.client->value(), data, 50'000, back) == data);
}

TEST_F(Tls, AnotherKeyIsRefusedByBoth) {
  const auto one = with_key(1);
  const auto other = with_key(2);
  const Pair pair = shake_hands(*one, *other);
  EXPECT_FALSE(pair.server->ok());
  EXPECT_FALSE(pair.client->ok());
  EXPECT_EQ(pair.server->error().code, Errc::kRefused);
}

TEST_F(Tls, AnEndWithoutTlsIsRefused) {
  const auto context = with_key(1);
  sim::SimStream::Pair streams = sim::SimStream::make_pair(scheduler);
  std::optional<Secured> server;
  scope.spawn(shake(scheduler, *context, TlsRole::kServer, std::move(streams.second), server));
  std::optional<Status> written;
  const std::vector<std::byte> hello = random_bytes(300);
  scope.spawn(write_all(*streams.first, hello, 300, written));
  ASSERT_TRUE(scheduler.run_until([&] { return server.has_value(); }));
  EXPECT_EQ(server->error().code, Errc::kRefused);
}

TEST_F(Tls, ASilentEndIsGivenUpInTime) {
  const auto context = with_key(1);
  sim::SimStream::Pair streams = sim::SimStream::make_pair(scheduler);
  std::optional<Secured> server;
  scope.spawn(shake(scheduler, *context, TlsRole::kServer, std::move(streams.second), server));
  ASSERT_TRUE(scheduler.run_until([&] { return server.has_value(); }));
  EXPECT_EQ(server->error().code, Errc::kIo);
  EXPECT_EQ(scheduler.now().since_start, seconds(5));
}

// What arrives is a prefix of what was sent, whichever bit turns.
TEST_F(Tls, ATurnedBitIsNoticedAndWhatCameBeforeItIsRight) {
  const auto context = with_key(1);
  const std::vector<std::byte> data = random_bytes(900);
  int noticed = 0;
  for (std::uint64_t at = 0; at < 1200; at += 3) {
    SCOPED_TRACE(at);
    bool turned = false;
    const auto bend = [&](std::uint64_t offset, MutableBytes bytes_out) {
      if (!turned && at >= offset && at - offset < bytes_out.size()) {
        turned = true;
        bytes_out[at - offset] ^= std::byte{1} << (at % 8);
      }
    };
    Pair pair = shake_hands(*context, *context, bend);
    if (!pair.ok()) {
      ++noticed;
      continue;
    }
    std::optional<Status> status;
    std::vector<std::byte> got;
    std::optional<Status> written;
    scope.spawn(write_all(*pair.client->value(), data, 300, written));
    scope.spawn(read_all(*pair.server->value(), data.size(), got, status));
    static_cast<void>(scheduler.run_until([&] { return status.has_value(); }));
    ASSERT_LE(got.size(), data.size());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), data.begin()));
    if (turned) {
      // A length that turned makes the reader wait for bytes that never come.
      EXPECT_LT(got.size(), data.size());
      ++noticed;
    }
    scope.cancel();
  }
  EXPECT_GT(noticed, 350);
}

TEST_F(Tls, AnEndCutOffIsNoOrderlyEnd) {
  const auto context = with_key(1);
  Pair pair = shake_hands(*context, *context);
  ASSERT_TRUE(pair.ok());
  pair.client->value()->close();
  std::vector<std::byte> got;
  std::optional<Status> status;
  scope.spawn(read_all(*pair.server->value(), 1, got, status));
  ASSERT_TRUE(scheduler.run_until([&] { return status.has_value(); }));
  EXPECT_FALSE(status->ok());
  EXPECT_EQ(status->error().code, Errc::kIo);
}

TEST_F(Tls, ShortAndLongKeysAreInvalid) {
  EXPECT_EQ(TlsContext::with_key(key_of(1, 31)).error().code, Errc::kInvalid);
  EXPECT_EQ(TlsContext::with_key(key_of(1, 65)).error().code, Errc::kInvalid);
  EXPECT_TRUE(TlsContext::with_key(key_of(1, 64)).ok());
}

class TlsFiles : public Tls {
 protected:
  TlsFiles() : directory_(std::filesystem::path(::testing::TempDir()) / "duet_tls_XXXXXX") {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    write_certificate(authority_, file("authority"));
    write_certificate(stranger_, file("strangers"));
    add("node-a", authority_);
    add("node-b", authority_);
    add("mallory", authority_);
    put("forged-b", make_identity("node-b", &stranger_));
    put("expired-b", make_identity("node-b", &authority_, -1));
  }
  ~TlsFiles() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  void add(const std::string& name, const Identity& issuer) {
    put(name, make_identity(name, &issuer));
  }
  void put(const std::string& name, const Identity& identity) {
    write_certificate(identity, file(name + ".pem"));
    write_key(identity, file(name + ".key"));
  }
  [[nodiscard]] std::string file(const std::string& name) const { return directory_ + "/" + name; }
  Result<std::unique_ptr<TlsContext>> context(const std::string& name, const std::string& partner,
                                              const std::string& authority = "authority") {
    return TlsContext::with_certificates(file(name + ".pem"), file(name + ".key"), file(authority),
                                         partner);
  }
  // Whether `a` and the one called `name` come together, to the first byte.
  bool believed(const std::string& name, const std::string& authority = "authority") {
    const auto a = context("node-a", "node-b");
    const auto b = context(name, "node-a", authority);
    EXPECT_TRUE(a.ok() && b.ok());
    bool both = true;
    for (const bool a_is_client : {true, false}) {
      TlsContext& client = a_is_client ? *a.value() : *b.value();
      TlsContext& server = a_is_client ? *b.value() : *a.value();
      Pair pair = shake_hands(client, server);
      Secured& of_a = a_is_client ? *pair.client : *pair.server;
      // In TLS 1.3 a client is done before the server has judged it: that shows in what follows.
      bool talks = pair.ok();
      if (talks) {
        std::optional<Status> status;
        const auto data = random_bytes(10);
        talks = carry(*pair.server->value(), *pair.client->value(), data, 10, status) == data;
      }
      EXPECT_FALSE(!talks && of_a.ok() && !a_is_client) << "a server knows at once";
      both = both && talks;
    }
    return both;
  }

  Identity authority_ = make_identity("authority", nullptr);
  Identity stranger_ = make_identity("authority", nullptr);
  std::string directory_;
};

TEST_F(TlsFiles, CertificatesOfOneAuthorityAndTheRightNameAreBelieved) {
  EXPECT_TRUE(believed("node-b"));
}

TEST_F(TlsFiles, AnotherNameAnotherAuthorityAndAnExpiredOneAreNot) {
  EXPECT_FALSE(believed("mallory"));
  EXPECT_FALSE(believed("forged-b"));
  EXPECT_FALSE(believed("expired-b"));
  EXPECT_FALSE(believed("node-b", "strangers"));
}

TEST_F(TlsFiles, AKeyAndACertificateDoNotMix) {
  const auto certificates = context("node-a", "node-b");
  const auto key = with_key(1);
  ASSERT_TRUE(certificates.ok());
  EXPECT_FALSE(shake_hands(*certificates.value(), *key).ok());
  EXPECT_FALSE(shake_hands(*key, *certificates.value()).ok());
}

TEST_F(TlsFiles, FilesThatDoNotFitAreSaid) {
  EXPECT_EQ(context("nobody", "node-b").error().code, Errc::kNotFound);
  EXPECT_EQ(context("node-a", "").error().code, Errc::kInvalid);
  EXPECT_EQ(TlsContext::with_certificates(file("node-a.pem"), file("node-b.key"), file("authority"),
                                          "node-b")
                .error()
                .code,
            Errc::kInvalid);
  EXPECT_EQ(TlsContext::with_certificates(file("node-a.key"), file("node-a.key"), file("authority"),
                                          "node-b")
                .error()
                .code,
            Errc::kInvalid);
}

TEST_F(TlsFiles, AKeyFileIsReadWhenItIsPrivateAndWellFormed) {
  const auto write = [this](const std::string& text, mode_t mode) {
    std::ofstream(file("key")) << text;
    EXPECT_EQ(chmod(file("key").c_str(), mode), 0);
    return read_key_file(file("key"));
  };
  const std::string digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
  const auto key = write(digits + "\n", 0600);
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(key.value().size(), 32U);
  EXPECT_EQ(key.value()[17], std::byte{0x11});
  EXPECT_TRUE(write(digits, 0640).ok());
  EXPECT_EQ(write(digits, 0644).error().code, Errc::kAccess);
  EXPECT_EQ(write(digits, 0660).error().code, Errc::kAccess);
  EXPECT_EQ(write(digits.substr(2), 0600).error().code, Errc::kInvalid);
  EXPECT_EQ(write(digits + "0", 0600).error().code, Errc::kInvalid);
  EXPECT_EQ(write(digits + "0g", 0600).error().code, Errc::kInvalid);
  EXPECT_EQ(read_key_file(file("none")).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace duet::tls::testing
