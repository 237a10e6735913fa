#include "platform/linux/connect.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "os_error.h"
#include "platform/linux/descriptor.h"
#include "system_address.h"

namespace duet::os {

namespace {

// The system's default makes a large transfer wait for its reader often; it grants what it permits.
constexpr int kUnixBufferBytes = 1 << 20;

bool set(const Descriptor& socket, int level, int name, int value) {
  return setsockopt(socket.get(), level, name, &value, sizeof(value)) == 0;
}

// Tells when a socket whose connect() has begun is connected, or cannot be.
class Connecting final : private SocketEvents {
 public:
  Connecting(EpollScheduler& scheduler, int socket)
      : scheduler_(scheduler), socket_(socket), ended_(scheduler) {
    DUET_CHECK(scheduler_.watch(socket_, *this).ok());
  }
  ~Connecting() { scheduler_.unwatch(socket_); }
  Connecting(const Connecting&) = delete;
  Connecting& operator=(const Connecting&) = delete;

  Task<void> wait() {
    while (!happened_) {
      co_await ended_.wait();
    }
  }

 private:
  void on_events(std::uint32_t events) override {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
      happened_ = true;
      ended_.wake_all();
    }
  }

  EpollScheduler& scheduler_;
  const int socket_;
  bool happened_ = false;
  WaitList ended_;
};

bool apply(const Descriptor& socket, const ConnectOptions& options) {
  if (options.user_timeout_ms != 0 &&
      !set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms)) {
    return false;
  }
  return options.keepalive_idle_s == 0 ||
         (set(socket, SOL_SOCKET, SO_KEEPALIVE, 1) &&
          set(socket, IPPROTO_TCP, TCP_KEEPIDLE, options.keepalive_idle_s));
}

// Error: kInvalid, the path is too long.
Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path) ||
      path.find('\0') != std::string::npos) {
    return Error{Errc::kInvalid, "the path of a Unix socket has 1 to 107 bytes"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Whether a socket stands at the address and nobody listens to it: its owner was killed.
bool abandoned(const sockaddr_un& address) {
  struct stat status {};
  if (lstat(address.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
    return false;
  }
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address);
  return probe.valid() && ::connect(probe.get(), raw, sizeof(address)) != 0 &&
         errno == ECONNREFUSED;
}

}  // namespace

Task<Result<std::unique_ptr<TcpStream>>> connect_tcp(EpollScheduler& scheduler, TcpAddress address,
                                                     ConnectOptions options) {
  const SystemAddress system = system_address(address);
  Descriptor socket(::socket(system.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid() || !apply(socket, options)) {
    co_return os_error(errno);
  }
  int failure = ::connect(socket.get(), system.get(), system.bytes) == 0 ? 0 : errno;
  if (failure == EINPROGRESS) {
    Connecting connecting(scheduler, socket.get());
    co_await connecting.wait();
    socklen_t bytes = sizeof(failure);
    DUET_CHECK(getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &failure, &bytes) == 0);
  }
  if (failure != 0) {
    co_return os_error(failure);
  }
  co_return std::make_unique<TcpStream>(scheduler, socket.release(), address);
}

Task<Result<std::unique_ptr<TcpStream>>> connect_unix(EpollScheduler& scheduler, std::string path) {
  const Result<sockaddr_un> address = unix_address(path);
  if (!address.ok()) {
    co_return address.error();
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address.value());
  // It connects at once or not at all; EAGAIN, when too many wait to be accepted.
  if (!socket.valid() || ::connect(socket.get(), raw, sizeof(sockaddr_un)) != 0) {
    co_return os_error(errno);
  }
  set(socket, SOL_SOCKET, SO_SNDBUF, kUnixBufferBytes);
  co_return std::make_unique<TcpStream>(scheduler, socket.release(), TcpAddress());
}

Result<std::unique_ptr<TcpListener>> listen_unix(EpollScheduler& scheduler, const std::string& path,
                                                 int backlog) {
  const Result<sockaddr_un> address = unix_address(path);
  if (!address.ok()) {
    return address.error();
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) {
    return os_error(errno);
  }
  set(socket, SOL_SOCKET, SO_SNDBUF, kUnixBufferBytes);
  // The mode is that of the open file as long as nobody but us knows the name.
  if (fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0) {
    return os_error(errno);
  }
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address.value());
  int bound = bind(socket.get(), raw, sizeof(sockaddr_un));
  if (bound != 0 && errno == EADDRINUSE && abandoned(address.value())) {
    unlink(path.c_str());
    bound = bind(socket.get(), raw, sizeof(sockaddr_un));
  }
  if (bound != 0 || ::listen(socket.get(), backlog) != 0) {
    return os_error(errno);
  }
  return std::make_unique<TcpListener>(scheduler, TcpListener::Socket{socket.release()});
}

}  // namespace duet::os
