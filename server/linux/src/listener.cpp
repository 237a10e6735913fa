#include "server_linux/listener.h"

namespace duet::server {

namespace {

// Accepted in one turn: a flood of connections must not hold up those that are served.
constexpr int kAcceptsPerTurn = 16;
// 1 MiB reads are a third faster than with as much as the system gives (docs/PERFORMANCE.md); 500
// MB/s over the farthest peer that is near.
constexpr int kSendBufferBytes = 512 << 10;
constexpr Duration kNear = std::chrono::milliseconds(1);

}  // namespace

Listener::Listener(os::EpollScheduler& scheduler, std::unique_ptr<os::TcpListener> socket,
                   Acceptor& acceptor, AcceptObserver observer)
    : scheduler_(scheduler),
      socket_(std::move(socket)),
      acceptor_(acceptor),
      observer_(std::move(observer)),
      scope_(scheduler) {
  scope_.spawn(accept_all());
}

void Listener::stop() {
  scope_.cancel();
  socket_.reset();
}

Task<void> Listener::accept_all() {
  for (;;) {
    int accepted = 0;
    while (accepted < kAcceptsPerTurn) {
      std::unique_ptr<os::TcpStream> stream = socket_->try_accept();
      if (stream == nullptr) {
        break;
      }
      stream->bound_send_buffer(kSendBufferBytes, kNear);
      const os::TcpAddress peer = stream->peer();
      if (observer_) {
        observer_(stream->local(), peer);
      }
      acceptor_.accept(std::move(stream), peer.ip, peer.port);
      ++accepted;
    }
    if (accepted == kAcceptsPerTurn) {
      co_await yield(scheduler_);
    } else {
      co_await socket_->wait();
    }
  }
}

}  // namespace duet::server
