#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "os_error.h"
#include "platform/linux/descriptor.h"
#include "platform/linux/tcp.h"
#include "system_address.h"

namespace duet::os {

namespace {

// Long enough for some connection to end, short enough for one that waits.
constexpr Duration kOutOfDescriptorsPause = std::chrono::milliseconds(50);

bool set(const Descriptor& socket, int level, int name, int value) {
  return setsockopt(socket.get(), level, name, &value, sizeof(value)) == 0;
}

// The kernel asks this program which of the listeners that share an address gets a connection: the
// first.  When that is closed the last one moves to its place (reuseport_detach_sock).
bool share_in_line(const Descriptor& socket) {
  sock_filter first[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const sock_fprog program{.len = 1, .filter = first};
  return setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                    sizeof(program)) == 0;
}

bool permit_absent_address(const Descriptor& socket, int family) {
  return family == AF_INET6 ? set(socket, IPPROTO_IPV6, IPV6_FREEBIND, 1)
                            : set(socket, IPPROTO_IP, IP_FREEBIND, 1);
}

bool reset_on_close(const Descriptor& socket) {
  const linger none{.l_onoff = 1, .l_linger = 0};
  return setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &none, sizeof(none)) == 0;
}

// What is set on a listener its connections inherit.
bool apply(const Descriptor& socket, int family, const TcpOptions& options) {
  const bool shared = options.reuse_port || options.in_line;
  bool done = set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  done = done && (!shared || set(socket, SOL_SOCKET, SO_REUSEPORT, 1));
  done = done && (!options.freebind || permit_absent_address(socket, family));
  done = done && (!options.reset_on_close || reset_on_close(socket));
  done = done && (options.user_timeout_ms == 0 ||
                  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms));
  if (options.keepalive_idle_s == 0) {
    return done;
  }
  return done && set(socket, SOL_SOCKET, SO_KEEPALIVE, 1) &&
         set(socket, IPPROTO_TCP, TCP_KEEPIDLE, options.keepalive_idle_s) &&
         set(socket, IPPROTO_TCP, TCP_KEEPINTVL, options.keepalive_interval_s) &&
         set(socket, IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_probes);
}

Result<Descriptor> open_listener(const SystemAddress& system, const TcpOptions& options) {
  Descriptor socket(::socket(system.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid() || !apply(socket, system.family(), options)) {
    return os_error(errno);
  }
  if (system.family() == AF_INET6 && !set(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0)) {
    return os_error(errno);
  }
  if (bind(socket.get(), system.get(), system.bytes) != 0 ||
      ::listen(socket.get(), options.backlog) != 0) {
    return os_error(errno);
  }
  // The program is the group's, which a listener joins when it begins to listen.
  if (options.in_line && !share_in_line(socket)) {
    return os_error(errno);
  }
  return socket;
}

Result<Descriptor> open_listener(const TcpAddress& address, const TcpOptions& options) {
  Result<Descriptor> socket = open_listener(system_address(address), options);
  if (!socket.ok() && errno == EAFNOSUPPORT && address.ip == TcpAddress{}.ip) {
    TcpAddress any_v4 = TcpAddress::parse("0.0.0.0", address.port).value();
    return open_listener(system_address(any_v4), options);  // a kernel without IPv6
  }
  return socket;
}

// Errors of the one connection that was taken from the queue; the next may be well.
bool was_lost() { return errno == ECONNABORTED || errno == EPROTO || errno == EINTR; }

}  // namespace

Result<std::unique_ptr<TcpListener>> TcpListener::listen(EpollScheduler& scheduler,
                                                         const TcpAddress& address,
                                                         const TcpOptions& options) {
  const Result<Socket> socket = open(address, options);
  if (!socket.ok()) {
    return socket.error();
  }
  return std::make_unique<TcpListener>(scheduler, socket.value());
}

Result<TcpListener::Socket> TcpListener::open(const TcpAddress& address,
                                              const TcpOptions& options) {
  Result<Descriptor> socket = open_listener(address, options);
  if (!socket.ok()) {
    return socket.error();
  }
  return Socket{socket.value().release()};
}

std::vector<int> TcpListener::take_queued(Socket listener) {
  std::vector<int> taken;
  for (;;) {
    Descriptor socket(accept4(listener.descriptor, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      // Without it the kernel sends nothing from an address that it does not have.
      if (!set(socket, IPPROTO_IP, IP_TRANSPARENT, 1)) {
        set(socket, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
      }
      taken.push_back(socket.release());
    } else if (!was_lost()) {
      return taken;
    }
  }
}

TcpListener::TcpListener(EpollScheduler& scheduler, std::uint16_t port)
    : TcpListener(scheduler, [port] {
        Result<Descriptor> socket = open_listener(TcpAddress::loopback(port), {});
        DUET_CHECK(socket.ok());
        return Socket{socket.value().release()};
      }()) {}

TcpListener::TcpListener(EpollScheduler& scheduler, Socket socket)
    : scheduler_(scheduler),
      socket_(socket.descriptor),
      address_(address_of(socket_, getsockname)),
      incoming_(scheduler),
      retry_(*this) {
  DUET_CHECK(scheduler_.watch(socket_, *this).ok());
}

TcpListener::~TcpListener() {
  scheduler_.unwatch(socket_);
  ::close(socket_);
}

std::unique_ptr<TcpStream> TcpListener::try_accept() {
  for (;;) {
    SystemAddress peer;
    const int socket = accept4(socket_, peer.get(), &peer.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
      return std::make_unique<TcpStream>(scheduler_, socket, tcp_address(peer));
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return nullptr;
    }
    if (was_lost()) {
      continue;
    }
    // Out of descriptors or memory: what is in the queue stays there, and no edge
    // will tell of it again.
    if (!retry_.linked()) {
      scheduler_.post_at(retry_, scheduler_.now() + kOutOfDescriptorsPause);
    }
    return nullptr;
  }
}

}  // namespace duet::os
