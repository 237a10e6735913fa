#include "reactor.h"

namespace duet::daemon {

namespace {

// A client machine that vanished is noticed after this and three unanswered probes.
constexpr int kKeepaliveIdleSeconds = 120;

server::ServiceOptions service_options(const config::Limits& limits, std::uint32_t reactors) {
  server::ServiceOptions options;
  // The kernel spreads connections by hash, so a share is never exactly even.
  const std::size_t slack = reactors > 1 ? 2 : 1;
  options.connections_max = (limits.connections * slack + reactors - 1) / reactors;
  options.connections_per_client_max =
      (limits.connections_per_client * slack + reactors - 1) / reactors;
  return options;
}

}  // namespace

os::TcpOptions tcp_options(std::uint32_t reactors) {
  os::TcpOptions options;
  options.reuse_port = reactors > 1;
  options.keepalive_idle_s = kKeepaliveIdleSeconds;
  return options;
}

Reactor::Reactor(os::EpollScheduler& own, os::EpollScheduler& strand, filer::Filer& filer,
                 server::MountList& mounts, const config::Filer& configured, std::uint32_t reactors,
                 Sockets sockets, const server::AcceptObserver& observer)
    : crossing_(&own == &strand ? std::nullopt
                                : std::optional<server::EpollCrossing>(std::in_place, own, strand)),
      nfs_(filer, crossing()),
      mount_(filer, mounts, crossing()),
      portmap_(server::mappings_on(configured.listeners.front().port)),
      service_(own, {&nfs_, &mount_, &portmap_}, service_options(configured.limits, reactors)) {
  for (std::unique_ptr<os::TcpListener>& socket : sockets) {
    listeners_.push_back(
        std::make_unique<server::Listener>(own, std::move(socket), service_, observer));
  }
}

Task<void> Reactor::drain() {
  listeners_.clear();
  co_await service_.drain();
}

void Reactor::cut() {
  listeners_.clear();
  service_.cut();
}

}  // namespace duet::daemon
