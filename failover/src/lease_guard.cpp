#include "failover/lease_guard.h"

#include <algorithm>

namespace duet::failover {

void LeaseGuard::renewed(Instant started) {
  renewed_until_ = std::max<std::int64_t>(renewed_until_, (started + lease_).since_start.count());
  publish();
}

void LeaseGuard::hold() {
  held_ = true;
  publish();
}

void LeaseGuard::release() {
  held_ = false;
  publish();
}

Duration LeaseGuard::lapsed() const {
  if (renewed_until_ == INT64_MIN) {
    return Duration(0);
  }
  return std::max(Duration(0), clock_.now().since_start - Duration(renewed_until_));
}

void LeaseGuard::publish() {
  until_.store(held_ ? INT64_MIN : renewed_until_, std::memory_order_release);
  if (may_answer()) {
    resumed_.wake_all();
  }
}

}  // namespace duet::failover
