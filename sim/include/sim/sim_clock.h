// The simulated time of day: it goes with the scheduler, and may be set.

#pragma once

#include "platform/clock.h"
#include "sim/sim_scheduler.h"

namespace duet::sim {

class SimWallClock final : public WallClock {
 public:
  // The world begins at `start` since 1970; unless told otherwise, on 2026-01-01.
  explicit SimWallClock(const SimScheduler& scheduler,
                        std::chrono::nanoseconds start = std::chrono::seconds(1'767'225'600))
      : scheduler_(scheduler), offset_(start) {}

  [[nodiscard]] std::chrono::nanoseconds since_epoch() const override {
    return offset_ + scheduler_.now().since_start;
  }
  // Somebody sets the clock, by less than nothing too.
  void jump(std::chrono::nanoseconds by) { offset_ += by; }

 private:
  const SimScheduler& scheduler_;
  std::chrono::nanoseconds offset_;
};

}  // namespace duet::sim
