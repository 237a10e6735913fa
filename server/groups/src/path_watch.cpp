#include "path_watch.h"

namespace duet::groups {

std::vector<std::uint32_t> PathWatch::look(std::span<const DiskView> disks, bool alone,
                                           Instant now) {
  std::vector<std::uint32_t> back;
  for (const DiskView& view : disks) {
    if (!view.number || view.slot == nullptr || view.slot->device == nullptr) {
      continue;
    }
    Seen& seen = seen_[view.slot];
    const Path path = path_of_(*view.slot);
    if (view.state != raid::DiskState::kFailed) {
      seen.in_use = path;
      seen.failed = false;
      continue;
    }
    if (!seen.failed) {
      seen.failed = true;
      seen.lost = !path.connected || (seen.in_use && seen.in_use->sessions != path.sessions);
      seen.elsewhere = !seen.lost && seen.in_use && seen.in_use->errors == path.errors;
    }
    const bool may_come = seen.lost || (seen.elsewhere && alone);
    const bool again = !seen.tried || now - *seen.tried >= kAgain;
    if (may_come && !view.kept_out && path.connected && again) {
      seen.tried = now;
      back.push_back(*view.number);
    }
  }
  return back;
}

}  // namespace duet::groups
