// SignalSource: SIGTERM, SIGINT and SIGHUP as something to wait for.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <optional>

#include "platform/linux/epoll_scheduler.h"
#include "platform/task.h"

namespace duet::os {

class SignalSource final : private SocketEvents {
 public:
  // Blocks the three signals in the calling thread, and so in those it starts
  // later: construct it before the program's other threads.  Its end leaves them blocked.
  explicit SignalSource(EpollScheduler& scheduler);
  ~SignalSource();
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;

  // The number of the next signal; none while there is none.
  [[nodiscard]] std::optional<int> try_take();

  // Resumes with the number of the next signal.  One waiter at a time.
  Task<int> next();

 private:
  void on_events(std::uint32_t /*events*/) override { arrived_.wake_all(); }

  EpollScheduler& scheduler_;
  int descriptor_;
  WaitList arrived_;
};

}  // namespace duet::os
