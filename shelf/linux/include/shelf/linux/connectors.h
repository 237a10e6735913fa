// How a ShelfDisk reaches its shelf through sockets of this machine.

#pragma once

#include <memory>
#include <string>

#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/tcp.h"
#include "shelf/connector.h"

namespace duet::shelf {

// REQUIRES: `scheduler` outlives it.
std::unique_ptr<Connector> unix_connector(os::EpollScheduler& scheduler, std::string path);
// Notices a dead peer through keepalive and through data that nobody acknowledges.
std::unique_ptr<Connector> tcp_connector(os::EpollScheduler& scheduler,
                                         const os::TcpAddress& address);

}  // namespace duet::shelf
