// A logical unit behind iSCSI, through libiscsi.

#pragma once

#include <memory>
#include <string>

#include "platform/linux/epoll_scheduler.h"
#include "platform/task.h"
#include "shelf/scsi_transport.h"

namespace duet::shelf {

struct IscsiOptions {
  std::string url;          // iscsi://[user[%password]@]host[:port]/target/unit
  std::string initiator;    // this node's iSCSI name
  std::uint64_t nexus = 0;  // of this process: no other one logs in with it, now or later
  int timeout_s = 10;       // of one command, and of the login
};

// Logs in.  kInvalid: the URL; kIo: nobody there, or refused.
// A session that is lost later is made again, for as long as it takes.
// REQUIRES: `scheduler` outlives it.
Task<Result<std::unique_ptr<ScsiTransport>>> connect_iscsi(os::EpollScheduler& scheduler,
                                                           IscsiOptions options);

}  // namespace duet::shelf
