// TcpAddress as the system's calls take and give it.

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "platform/linux/tcp.h"

namespace duet::os {

struct SystemAddress {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(sockaddr_storage);

  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
};

// Of family AF_INET where the address is a mapped one, else AF_INET6.
[[nodiscard]] SystemAddress system_address(const TcpAddress& address);
// All zero for a family that is neither.
[[nodiscard]] TcpAddress tcp_address(const SystemAddress& address);

// `ask` is getpeername or getsockname.  All zero when it fails.
using AskAddress = int(int, sockaddr*, socklen_t*) noexcept;
[[nodiscard]] TcpAddress address_of(int socket, AskAddress* ask);

}  // namespace duet::os
