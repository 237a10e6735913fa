#include "shelf/linux/connectors.h"

#include <utility>

#include "platform/linux/connect.h"

namespace duet::shelf {

namespace {

// A peer that is gone without a word; the client's own pings notice sooner that nothing comes.
constexpr int kKeepaliveIdleSeconds = 5;
constexpr int kUserTimeoutMs = 15'000;

class UnixConnector final : public Connector {
 public:
  UnixConnector(os::EpollScheduler& scheduler, std::string path)
      : scheduler_(scheduler), path_(std::move(path)) {}
  Task<Result<std::unique_ptr<ByteStream>>> connect() override {
    auto stream = co_await os::connect_unix(scheduler_, path_);
    if (!stream.ok()) {
      co_return stream.error();
    }
    co_return std::unique_ptr<ByteStream>(std::move(stream.value()));
  }
  [[nodiscard]] std::string_view name() const override { return path_; }

 private:
  os::EpollScheduler& scheduler_;
  const std::string path_;
};

class TcpConnector final : public Connector {
 public:
  TcpConnector(os::EpollScheduler& scheduler, const os::TcpAddress& address,
               std::unique_ptr<tls::TlsContext> tls)
      : scheduler_(scheduler), address_(address), name_(address.text()), tls_(std::move(tls)) {}
  Task<Result<std::unique_ptr<ByteStream>>> connect() override {
    const os::ConnectOptions options{.keepalive_idle_s = kKeepaliveIdleSeconds,
                                     .user_timeout_ms = kUserTimeoutMs};
    auto stream = co_await os::connect_tcp(scheduler_, address_, options);
    if (!stream.ok()) {
      co_return stream.error();
    }
    std::unique_ptr<ByteStream> plain = std::move(stream.value());
    if (tls_ == nullptr) {
      co_return std::move(plain);
    }
    auto secured = co_await tls::tls_handshake(scheduler_, *tls_, tls::TlsRole::kClient,
                                               kShelfTlsWithin, std::move(plain));
    co_return std::move(secured);
  }
  [[nodiscard]] std::string_view name() const override { return name_; }

 private:
  os::EpollScheduler& scheduler_;
  const os::TcpAddress address_;
  const std::string name_;
  const std::unique_ptr<tls::TlsContext> tls_;
};

}  // namespace

std::unique_ptr<Connector> unix_connector(os::EpollScheduler& scheduler, std::string path) {
  return std::make_unique<UnixConnector>(scheduler, std::move(path));
}

std::unique_ptr<Connector> tcp_connector(os::EpollScheduler& scheduler,
                                         const os::TcpAddress& address,
                                         std::unique_ptr<tls::TlsContext> tls) {
  return std::make_unique<TcpConnector>(scheduler, address, std::move(tls));
}

Result<std::unique_ptr<tls::TlsContext>> shelf_tls(const std::string& path) {
  Result<std::vector<std::byte>> key = tls::read_key_file(path);
  if (!key.ok()) {
    return key.error();
  }
  return tls::TlsContext::with_key(std::move(key.value()), kShelfKeyPurpose);
}

}  // namespace duet::shelf
