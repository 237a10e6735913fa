// run(): from a program that is no coroutine into one: runs a task to its end on this thread.
//
// For tools and tests.  Thread-safety: the scheduler's thread, which the call becomes.

#pragma once

#include <optional>
#include <utility>

#include "platform/linux/epoll_scheduler.h"
#include "platform/task.h"
#include "platform/task_scope.h"

namespace duet::os {

template <typename T>
Task<void> keep_result(EpollScheduler& scheduler, Task<T> task, std::optional<T>& result) {
  T value = co_await std::move(task);
  result.emplace(std::move(value));
  scheduler.stop();
}

// REQUIRES: nobody else runs the scheduler.
template <typename T>
T run(EpollScheduler& scheduler, Task<T> task) {
  std::optional<T> result;
  TaskScope scope(scheduler);
  scope.spawn(keep_result(scheduler, std::move(task), result));
  scheduler.run();  // stopped at once, when the task has ended already
  return std::move(*result);
}

}  // namespace duet::os
