// How a ShelfDisk reaches its shelf through sockets of this machine.

#pragma once

#include <memory>
#include <string>

#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/tcp.h"
#include "platform/tls/tls.h"
#include "shelf/connector.h"

namespace duet::shelf {

// REQUIRES: `scheduler` outlives it.
std::unique_ptr<Connector> unix_connector(os::EpollScheduler& scheduler, std::string path);
// Notices a dead peer through keepalive and through data that nobody acknowledges.
// With `tls` the shelf must prove that it has the same key; without, whoever answers is believed.
std::unique_ptr<Connector> tcp_connector(os::EpollScheduler& scheduler,
                                         const os::TcpAddress& address,
                                         std::unique_ptr<tls::TlsContext> tls = nullptr);

// What the key of shelves is for, so that one key may serve the interconnect too.
inline constexpr const char* kShelfKeyPurpose = "duet-shelf";
// How long a client or a shelf has for proving itself.
inline constexpr Duration kShelfTlsWithin = std::chrono::seconds(5);
// The key of `path` as both ends of shelf+tls use it.  kNotFound, kAccess, kInvalid.
Result<std::unique_ptr<tls::TlsContext>> shelf_tls(const std::string& path);

}  // namespace duet::shelf
