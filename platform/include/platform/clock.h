// WallClock: the time of day, for file times only.  Deadlines use Scheduler::now(), leases BootClock.
//
// Thread-safety: any thread.

#pragma once

#include <chrono>

#include "platform/scheduler.h"

namespace duet {

class WallClock {
 public:
  virtual ~WallClock() = default;

  // Since 1970-01-01 00:00:00 UTC.  May go back.
  [[nodiscard]] virtual std::chrono::nanoseconds since_epoch() const = 0;
};

// Time for leases: goes on while the machine is suspended, and is never set.
//
// Thread-safety: any thread.
class BootClock {
 public:
  virtual ~BootClock() = default;

  // Comparable with itself only, not with Scheduler::now(), which may stand still in a suspended
  // machine.
  [[nodiscard]] virtual Instant now() const = 0;
};

}  // namespace duet
