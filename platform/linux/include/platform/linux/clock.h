// The time of day of this machine.

#pragma once

#include "platform/clock.h"

namespace duet::os {

class SystemClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::nanoseconds since_epoch() const override;
};

}  // namespace duet::os
