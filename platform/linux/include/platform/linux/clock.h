// The clocks of this machine.

#pragma once

#include "platform/clock.h"

namespace duet::os {

class SystemClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::nanoseconds since_epoch() const override;
};

// CLOCK_BOOTTIME.
class SystemBootClock final : public BootClock {
 public:
  [[nodiscard]] Instant now() const override;
};

}  // namespace duet::os
