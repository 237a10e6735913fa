#include "platform/linux/clock.h"

#include <ctime>

#include "base/check.h"

namespace duet::os {

std::chrono::nanoseconds SystemClock::since_epoch() const {
  timespec now{};
  DUET_CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

Instant SystemBootClock::now() const {
  timespec now{};
  DUET_CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
  return {std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec)};
}

}  // namespace duet::os
