// What `duet init` does with one filer, in a pair or alone.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "nvlog/request_log.h"
#include "platform/clock.h"
#include "platform/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/persistent_memory.h"
#include "wafl/aggregate.h"

namespace duet::cli {

// For people: what would be lost.
[[nodiscard]] std::string contents_of(const wafl::DiskProbe& probe);
[[nodiscard]] std::string contents_of(const nvlog::RegionProbe& probe);
// Of a disk that becomes a member of a redundancy group.  Empty: nothing.  Error: kIo.
Task<Result<std::string>> contents_of(BlockDevice& disk);

// What stood on the memory must not be taken for a log.
void erase(PersistentMemory& memory);

// The directory of each path, where it is missing.
void make_directories_of(const std::vector<std::string>& paths);

struct FilerFormat {
  const config::Config& config;
  const config::Filer& filer;
  std::vector<BlockDevice*> disks;
  PersistentMemory& memory;  // of its home node
  std::uint64_t epoch = 0;   // that the formatted root begins with; the filer is opened once
  std::function<void(const std::string&)> progress;
};
// Formats disks and log, makes the volumes and the exports; the root then says "log empty".
// Empty, or what went wrong.
std::string format_filer(os::EpollScheduler& scheduler, WallClock& clock, Entropy& entropy,
                         const FilerFormat& format);

}  // namespace duet::cli
