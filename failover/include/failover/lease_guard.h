// LeaseGuard: whether this node may answer a client now (rule 5).
//
//   answering <--(renewed / lapsed)--> paused
//   any --hold()--> held --release()--> back
//
// Invariants:
//   (1) may_answer() only while the newest renewal that reached the serving quorum *started* less
//       than a lease ago, by a clock that goes on while the machine sleeps.
//   (2) Never between hold() and release(), whatever is renewed (rule 10).
//
// Who replies asks last of all: after the request arrived and after all that the reply depends on
// is durable.  A pause between the answer of this class and the reply is harmless, as the taker
// waits the lease out from the last beat that it saw, and the client gets a reply that was true.
//
// Ownership: borrows clock and scheduler.  Thread-safety: the scheduler's thread.  Other reactors
// may call may_answer(): it reads one atomic and the clock.

#pragma once

#include <atomic>
#include <cstdint>

#include "platform/clock.h"
#include "platform/wait.h"

namespace duet::failover {

class LeaseGuard {
 public:
  LeaseGuard(Scheduler& scheduler, const BootClock& clock, Duration lease)
      : clock_(clock), lease_(lease), resumed_(scheduler) {}

  // A renewal that started then has reached the serving quorum.
  void renewed(Instant started);
  void hold();
  void release();

  [[nodiscard]] bool may_answer() const {
    const std::int64_t until = until_.load(std::memory_order_acquire);
    return clock_.now().since_start.count() < until;
  }
  [[nodiscard]] bool held() const { return held_; }
  // By how much the lease is over; zero while it is not.
  [[nodiscard]] Duration lapsed() const;

  // Woken when answers may be possible again; check may_answer() in a loop.
  [[nodiscard]] WaitList& resumed() { return resumed_; }

 private:
  void publish();

  const BootClock& clock_;
  const Duration lease_;
  WaitList resumed_;
  bool held_ = false;
  std::int64_t renewed_until_ = INT64_MIN;      // nanoseconds of clock_
  std::atomic<std::int64_t> until_{INT64_MIN};  // the same, unless held
};

}  // namespace duet::failover
