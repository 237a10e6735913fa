#include "interconnect/linux/tcp_source.h"

#include <deque>
#include <optional>
#include <utility>

#include "platform/linux/connect.h"
#include "platform/task_scope.h"

namespace duet::interconnect {

namespace {

using Stream = Result<std::unique_ptr<ByteStream>>;

// Handshakes at a time; more connections wait in the listener's queue.
constexpr unsigned kHandshakesMax = 8;
constexpr Error kTooLate{Errc::kIo, "connecting to the partner took too long"};

class ConnectingSource final : public StreamSource {
 public:
  ConnectingSource(os::EpollScheduler& scheduler, const os::TcpAddress& partner,
                   tls::TlsContext* tls, Duration within)
      : scheduler_(scheduler),
        partner_(partner),
        tls_(tls),
        within_(within),
        done_(scheduler),
        limit_(*this),
        scope_(scheduler) {}

  Task<Stream> next() override {
    scope_.cancel();
    result_.reset();
    late_ = false;
    scheduler_.post_at(limit_, scheduler_.now() + within_);
    scope_.spawn(attempt());
    while (!result_.has_value() && !late_) {
      co_await done_.wait();
    }
    limit_.unlink();
    if (!result_.has_value()) {
      scope_.cancel();
      co_return kTooLate;
    }
    co_return std::move(*result_);
  }

 private:
  struct Limit final : Continuation {
    explicit Limit(ConnectingSource& source) : owner(source) {}
    void run() override {
      owner.late_ = true;
      owner.done_.wake_all();
    }
    ConnectingSource& owner;
  };

  Task<void> attempt() {
    Result<std::unique_ptr<os::TcpStream>> stream = co_await os::connect_tcp(scheduler_, partner_);
    if (!stream.ok()) {
      result_.emplace(stream.error());
    } else if (tls_ == nullptr) {
      result_.emplace(std::unique_ptr<ByteStream>(std::move(stream.value())));
    } else {
      std::unique_ptr<ByteStream> lower = std::move(stream.value());
      Stream secured = co_await tls::tls_handshake(scheduler_, *tls_, tls::TlsRole::kClient,
                                                   within_, std::move(lower));
      result_.emplace(std::move(secured));
    }
    done_.wake_all();
  }

  os::EpollScheduler& scheduler_;
  const os::TcpAddress partner_;
  tls::TlsContext* const tls_;
  const Duration within_;
  std::optional<Stream> result_;
  bool late_ = false;
  WaitList done_;
  Limit limit_;
  TaskScope scope_;
};

class ListeningSource final : public StreamSource {
 public:
  ListeningSource(os::EpollScheduler& scheduler, std::unique_ptr<os::TcpListener> listener,
                  tls::TlsContext* tls, Duration within)
      : scheduler_(scheduler),
        listener_(std::move(listener)),
        tls_(tls),
        within_(within),
        ready_changed_(scheduler),
        handshake_ended_(scheduler),
        scope_(scheduler) {
    scope_.spawn(accept_for_ever());
  }

  Task<Stream> next() override {
    while (ready_.empty()) {
      co_await ready_changed_.wait();
    }
    Stream stream = std::move(ready_.front());
    ready_.pop_front();
    handshake_ended_.wake_all();
    co_return std::move(stream);
  }

 private:
  Task<void> accept_for_ever() {
    for (;;) {
      while (handshakes_ + ready_.size() >= kHandshakesMax) {
        co_await handshake_ended_.wait();
      }
      std::unique_ptr<os::TcpStream> stream = listener_->try_accept();
      if (stream == nullptr) {
        co_await listener_->wait();
      } else if (tls_ == nullptr) {
        give(std::unique_ptr<ByteStream>(std::move(stream)));
      } else {
        ++handshakes_;
        scope_.spawn(secure(std::move(stream)));
      }
    }
  }

  Task<void> secure(std::unique_ptr<ByteStream> stream) {
    Stream secured = co_await tls::tls_handshake(scheduler_, *tls_, tls::TlsRole::kServer, within_,
                                                 std::move(stream));
    --handshakes_;
    handshake_ended_.wake_all();
    give(std::move(secured));
  }

  void give(Stream stream) {
    ready_.push_back(std::move(stream));
    ready_changed_.wake_all();
  }

  os::EpollScheduler& scheduler_;
  const std::unique_ptr<os::TcpListener> listener_;
  tls::TlsContext* const tls_;
  const Duration within_;
  std::deque<Stream> ready_;
  std::size_t handshakes_ = 0;
  WaitList ready_changed_;
  WaitList handshake_ended_;
  TaskScope scope_;
};

}  // namespace

std::unique_ptr<StreamSource> make_connecting_source(os::EpollScheduler& scheduler,
                                                     const os::TcpAddress& partner,
                                                     tls::TlsContext* tls, Duration within) {
  return std::make_unique<ConnectingSource>(scheduler, partner, tls, within);
}

std::unique_ptr<StreamSource> make_listening_source(os::EpollScheduler& scheduler,
                                                    std::unique_ptr<os::TcpListener> listener,
                                                    tls::TlsContext* tls, Duration within) {
  return std::make_unique<ListeningSource>(scheduler, std::move(listener), tls, within);
}

}  // namespace duet::interconnect
