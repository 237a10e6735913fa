// Opens a shared disk by its URL.

#pragma once

#include <memory>
#include <string>

#include "platform/linux/epoll_scheduler.h"
#include "platform/task.h"
#include "shelf/linux/disk_url.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

struct OpenOptions {
  DiskKey key = kNoKey;  // of this process
  std::string name;      // what name() gives; empty: the disk's at its shelf
  Duration fail_after = std::chrono::seconds(30);
  Duration silence_max = std::chrono::seconds(5);
  Duration open_within{};  // a shelf is tried so long; 0: `fail_after`
};

// Errors: those of the kind (ShelfDisk::open, ScsiDisk::open, src/kernel_disk.h); those of
// tls::read_key_file.  kNotSupported: what cannot shut a node out, as files: duet-shelf serves
// those. REQUIRES: `scheduler` outlives the disk.
Task<Result<std::unique_ptr<SharedDisk>>> open_shared_disk(os::EpollScheduler& scheduler,
                                                           DiskUrl url, OpenOptions options);

}  // namespace duet::shelf
