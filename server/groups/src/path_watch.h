// PathWatch: which members of a group to take back, as the path to them was lost and is there
// again.
//
//   in use --its session ends, and the group fails it--> lost --connected again--> to be taken back
//
// A disk that could be reached when it failed is none of them: it gave errors, or an operator
// failed it, and an operator decides.  A path that comes and goes is tried every kAgain at most.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "groups/managed_group.h"
#include "shelf/shared_disk.h"

namespace duet::groups {

class PathWatch {
 public:
  static constexpr Duration kAgain = std::chrono::seconds(10);

  // Of a disk that is known here.
  using HealthOf = std::function<shelf::DiskHealth(const Slot&)>;
  explicit PathWatch(HealthOf health_of) : health_of_(std::move(health_of)) {}

  // To be asked every second or so.  Numbers of members.
  std::vector<std::uint32_t> look(std::span<const DiskView> disks, Instant now);

 private:
  struct Path {
    std::optional<std::uint64_t> sessions;  // when it was last seen in use
    bool failed = false;
    bool lost = false;  // it could not be reached when it failed
    std::optional<Instant> tried;
  };
  const HealthOf health_of_;
  std::map<const Slot*, Path> paths_;
};

}  // namespace duet::groups
