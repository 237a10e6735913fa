// The disks that the program is told of: an image or a block device, and the label beside it.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/linux/block_device.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/task.h"
#include "shelf/label.h"

namespace duet::shelf {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Says why on standard error, and gives kExitUsage.
int refuse(const std::string& message);

// Where the label of the disk at `path` stands: beside it, or in `directory` unless that is empty.
[[nodiscard]] std::string label_path(const std::string& path, const std::string& directory);

// Runs the scheduler until `task` has ended; gives what it gave.
Status run_to_end(os::EpollScheduler& scheduler, Task<Status> task);

// Random; and of this life of the machine: another one after each boot.
[[nodiscard]] std::array<std::uint64_t, 2> random_id();
// Error: kIo, the system does not say.
[[nodiscard]] Result<std::array<std::uint64_t, 2>> power_id();

struct CreateOptions {
  std::string path;
  std::string label_directory;
  std::uint64_t bytes = 0;  // 0: the disk is there
};
int create(const CreateOptions& options);

struct ShowOptions {
  std::string path;
  std::string label_directory;
};
int show(const ShowOptions& options);

struct ServeOptions {
  std::vector<std::string> listen;  // unix:///path, tls://address:port, tcp://address:port
  std::string key_file;             // of tls://
  bool plaintext = false;           // tcp:// on other addresses than this machine's own
  std::vector<std::string> disks;   // NAME=PATH
  std::string label_directory;
  bool buffered = false;  // through the page cache
  Duration wait = std::chrono::seconds(10);
};
int serve(const ServeOptions& options);

}  // namespace duet::shelf
