// Local: the disks and the memory of a node, opened by this program itself, without the server.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "platform/linux/block_device.h"
#include "platform/linux/clock.h"
#include "platform/linux/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"
#include "platform/task_scope.h"

namespace duet::cli {

// Runs `task` to its end.  REQUIRES: nobody else runs the scheduler.
template <typename T>
Task<void> keep_result(Task<T> task, std::optional<T>& result, os::EpollScheduler& scheduler) {
  T value = co_await std::move(task);
  result.emplace(std::move(value));
  scheduler.stop();
}
template <typename T>
T run(os::EpollScheduler& scheduler, Task<T> task) {
  std::optional<T> result;
  TaskScope scope(scheduler);
  scope.spawn(keep_result(std::move(task), result, scheduler));
  if (!result) {
    scheduler.run();
  }
  return std::move(*result);
}

struct Local {
  os::EpollScheduler scheduler;
  os::SystemClock clock;
  os::SystemEntropy entropy;
  std::vector<std::unique_ptr<BlockDevice>> disks;
  std::unique_ptr<os::MappedMemory> memory;

  [[nodiscard]] std::vector<BlockDevice*> disk_pointers() const;

  // Each gives an empty text, or why not.
  enum class Disks { kReadOnly, kExisting, kCreate };
  // kExisting leaves out those that are not there.
  std::string open_disks(const config::Config& config, const config::Filer& filer, Disks how);
  std::string open_memory(const config::Config& config, const config::Node& node, bool create);
};

[[nodiscard]] std::string error_text(const Error& error);

}  // namespace duet::cli
