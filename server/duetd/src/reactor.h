// Reactor: the connections of one filer on one thread: its programs and its listeners.
//
// Reactor 0 is the filer's strand; its requests cross nothing.
//
// Ownership: borrows schedulers, filer and mount list.
// Thread-safety: made, used and destroyed on its scheduler's thread.

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "admin/api.h"
#include "config/config.h"
#include "filer/filer.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/tcp.h"
#include "server/mount.h"
#include "server/nfs3.h"
#include "server/portmap.h"
#include "server/service.h"
#include "server_linux/listener.h"

namespace duet::daemon {

using Sockets = std::vector<std::unique_ptr<os::TcpListener>>;

class Reactor {
 public:
  // `own`: this thread's scheduler; the same as `strand` for reactor 0.
  // Accepts what waits at `sockets`, and what comes; tells `observer` of it on this thread.
  Reactor(os::EpollScheduler& own, os::EpollScheduler& strand, filer::Filer& filer,
          server::MountList& mounts, const config::Filer& configured, std::uint32_t reactors,
          Sockets sockets, const server::AcceptObserver& observer);
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // Accepts no more, finishes what runs, sends the replies.
  Task<void> drain();
  // Accepts no more; every connection ends at once, and no reply leaves.
  void cut();

  // Adds what this reactor counted.
  void count(admin::ServerCounters& counters);

 private:
  [[nodiscard]] server::Crossing* crossing() { return crossing_ ? &*crossing_ : nullptr; }

  std::optional<server::EpollCrossing> crossing_;
  server::Nfs3Program nfs_;
  server::MountProgram mount_;
  server::PortmapProgram portmap_;
  server::Service service_;
  std::vector<std::unique_ptr<server::Listener>> listeners_;
};

// What listeners give to their connections.
[[nodiscard]] os::TcpOptions tcp_options(std::uint32_t reactors);

}  // namespace duet::daemon
