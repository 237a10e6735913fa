// Listener: gives the connections of one address to who serves them.
// EpollCrossing: the way between a reactor's scheduler and the filer's.
//
// Ownership: borrows scheduler and acceptor, owns the socket.
// Thread-safety: the scheduler's thread.

#pragma once

#include <functional>
#include <memory>

#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/tcp.h"
#include "platform/task_scope.h"
#include "server/acceptor.h"
#include "server/crossing.h"

namespace duet::server {

// Both ends of a connection that was accepted.
using AcceptObserver =
    std::function<void(const os::TcpAddress& local, const os::TcpAddress& client)>;

class Listener {
 public:
  // Accepts from the moment it is made.  `observer`: if any, is told first; must not call back.
  Listener(os::EpollScheduler& scheduler, std::unique_ptr<os::TcpListener> socket,
           Acceptor& acceptor, AcceptObserver observer = {});
  // Accepts no more; before the acceptor is drained.
  void stop();

 private:
  Task<void> accept_all();

  os::EpollScheduler& scheduler_;
  std::unique_ptr<os::TcpListener> socket_;
  Acceptor& acceptor_;
  const AcceptObserver observer_;
  TaskScope scope_;
};

class EpollCrossing final : public Crossing {
 public:
  EpollCrossing(os::EpollScheduler& reactor, os::EpollScheduler& filer)
      : reactor_(reactor), filer_(filer) {}
  void to_filer(Continuation& c) override { filer_.post_remote(c); }
  void from_filer(Continuation& c) override { reactor_.post_remote(c); }

 private:
  os::EpollScheduler& reactor_;
  os::EpollScheduler& filer_;
};

}  // namespace duet::server
