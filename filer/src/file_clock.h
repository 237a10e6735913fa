// FileClock: the times that changes get; each is later than all before it, so a client that
// compares ctime or mtime sees every change, whatever the wall clock does.

#pragma once

#include <algorithm>

#include "platform/clock.h"
#include "wafl/types.h"

namespace duet::filer {

class FileClock {
 public:
  explicit FileClock(WallClock& clock) : clock_(clock) {}

  // For a change made in this turn, or for none: only used() counts.
  [[nodiscard]] wafl::Timestamp next() const {
    const std::int64_t wall = clock_.since_epoch().count();
    return wafl::Timestamp{std::max(wall, last_ + 1)};
  }
  void used(wafl::Timestamp time) { last_ = std::max(last_, static_cast<std::int64_t>(time)); }
  [[nodiscard]] wafl::Timestamp last() const { return wafl::Timestamp{last_}; }

 private:
  WallClock& clock_;
  std::int64_t last_ = 0;
};

}  // namespace duet::filer
