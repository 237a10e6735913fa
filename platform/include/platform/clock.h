// WallClock: the time of day, for file times only.  Deadlines use Scheduler::now().
//
// Thread-safety: any thread.

#pragma once

#include <chrono>

namespace duet {

class WallClock {
 public:
  virtual ~WallClock() = default;

  // Since 1970-01-01 00:00:00 UTC.  May go back.
  [[nodiscard]] virtual std::chrono::nanoseconds since_epoch() const = 0;
};

}  // namespace duet
