// Connecting without blocking, over TCP and to sockets in the file system.
//
// A Unix socket gives TcpStreams and a TcpListener too: their addresses are all zero.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "platform/linux/tcp.h"
#include "platform/task.h"

namespace duet::os {

struct ConnectOptions {
  // As in TcpOptions; of TCP only.
  int keepalive_idle_s = 0;
  int user_timeout_ms = 0;
};

// Resumes when the connection is there.  The task may be destroyed at any time; how long it takes
// is the system's matter (minutes, when nobody answers): destroy it sooner. Errors, with the
// system's own text: kIo: nobody listens there; kNotFound: no such network, or no such socket;
// kAccess.
Task<Result<std::unique_ptr<TcpStream>>> connect_tcp(EpollScheduler& scheduler, TcpAddress address,
                                                     ConnectOptions options = {});
Task<Result<std::unique_ptr<TcpStream>>> connect_unix(EpollScheduler& scheduler, std::string path);

// Listens at `path`, for this user only.  A socket there that nobody serves is replaced.
// kExists: somebody serves it, or something else stands there.  kInvalid: the path is too long.
Result<std::unique_ptr<TcpListener>> listen_unix(EpollScheduler& scheduler, const std::string& path,
                                                 int backlog = 128);

}  // namespace duet::os
