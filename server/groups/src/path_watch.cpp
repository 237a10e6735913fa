#include "path_watch.h"

namespace duet::groups {

std::vector<std::uint32_t> PathWatch::look(std::span<const DiskView> disks, Instant now) {
  std::vector<std::uint32_t> back;
  for (const DiskView& view : disks) {
    if (!view.number || view.slot == nullptr || view.slot->device == nullptr) {
      continue;
    }
    Path& path = paths_[view.slot];
    const shelf::DiskHealth health = health_of_(*view.slot);
    if (view.state != raid::DiskState::kFailed) {
      path.sessions = health.reconnects;
      path.failed = false;
      continue;
    }
    if (!path.failed) {
      path.failed = true;
      path.lost = !health.connected || (path.sessions && *path.sessions != health.reconnects);
    }
    const bool again = !path.tried || now - *path.tried >= kAgain;
    if (path.lost && !view.kept_out && health.connected && again) {
      path.tried = now;
      back.push_back(*view.number);
    }
  }
  return back;
}

}  // namespace duet::groups
