// A disk that the kernel drives, with reservations of its own: SCSI, NVMe, multipath.

#pragma once

#include <memory>
#include <string>

#include "shelf/linux/open_disk.h"

namespace duet::shelf {

// kNotFound, kAccess: the device; kRefused: in use, here or by another process, for all of
// `silence_max`; kInvalid: no block device; kNotSupported: no disk whose reservations keep the
// promises of shared_disk.h, and the context says why and what to do; those of ScsiDisk::open.
// REQUIRES: `scheduler` outlives it.
Task<Result<std::unique_ptr<SharedDisk>>> open_kernel_disk(os::EpollScheduler& scheduler,
                                                           std::string path, OpenOptions options);

}  // namespace duet::shelf
