// A disk of this machine: a block device, or a regular file, as a BlockDevice.
//
// I/O goes around the page cache (O_DIRECT) where the file system permits it,
// through io_uring where the kernel permits that, else through a few threads.
// What is started in one turn is submitted together, for all disks of one scheduler.
// A flush is fdatasync.
//
// Results: kIo with the system's own text; kFenced on a reservation conflict.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "platform/block_device.h"
#include "platform/linux/epoll_scheduler.h"

namespace duet::os {

struct BlockDeviceOptions {
  std::string name;                // what name() gives; empty: the path
  std::uint64_t create_bytes = 0;  // creates a missing file with that much space; 0: never
  bool read_only = false;          // writes give kReadOnly
  bool direct = true;              // false: through the page cache
  bool thread_pool = false;        // true: without io_uring even where it is permitted
  // How long to wait for another process to let go: of one that was just killed the kernel
  // holds the files until its I/O has ended.
  std::chrono::milliseconds lock_wait{0};
};

// Opens `path` and keeps every other process, and every other call, from opening it
// so.  Blocks for a moment.  A tail of less than a block is not used.
// The device ends only when nothing is under way: its destructor waits, and posts
// what was; run no more turns between that and the end of their owners.
// Errors: kNotFound, kAccess, kNoSpace, kReadOnly as the system says; kRefused: in
// use by another; kInvalid: neither block device nor regular file, or smaller than
// a block; kIo.
// REQUIRES: `scheduler` outlives the device; the device ends on the scheduler's
// thread, or when that runs no more.
Result<std::unique_ptr<BlockDevice>> open_block_device(EpollScheduler& scheduler,
                                                       const std::string& path,
                                                       const BlockDeviceOptions& options = {});

}  // namespace duet::os
