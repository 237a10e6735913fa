// Reactor: one thread that serves connections: its scheduler, its programs, its listeners.
//
// Reactor 0 is the filer's strand and runs on the main thread; its requests cross nothing.
//
// Ownership: borrows the filer and what Shared holds.
// Thread-safety: made and destroyed while its scheduler does not run; drain() and counters() are
// coroutines that hop to its thread and back.

#pragma once

#include <memory>
#include <optional>
#include <thread>
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

class Reactor {
 public:
  // `own`: the reactor's scheduler; the same as `strand` for reactor 0.
  Reactor(os::EpollScheduler& own, os::EpollScheduler& strand, filer::Filer& filer,
          server::MountList& mounts, const config::Filer& configured, std::uint32_t reactors);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  void listen(std::unique_ptr<os::TcpListener> socket);
  // Runs the scheduler on a thread of its own.  Not for reactor 0.
  void start();

  // Accepts no more, finishes what runs; completes on the strand.
  Task<void> drain();
  // Ends the thread.  REQUIRES: drained.
  void join();
  // Adds what this reactor counted; completes on the strand.
  Task<void> count(admin::ServerCounters& counters);

  [[nodiscard]] os::EpollScheduler& scheduler() { return own_; }

 private:
  [[nodiscard]] server::Crossing* crossing() { return crossing_ ? &*crossing_ : nullptr; }

  os::EpollScheduler& own_;
  os::EpollScheduler& strand_;
  std::optional<server::EpollCrossing> crossing_;
  server::Nfs3Program nfs_;
  server::MountProgram mount_;
  server::PortmapProgram portmap_;
  server::Service service_;
  std::vector<std::unique_ptr<server::Listener>> listeners_;
  std::thread thread_;
};

// What listeners give to their connections.
[[nodiscard]] os::TcpOptions tcp_options(std::uint32_t reactors);

}  // namespace duet::daemon
