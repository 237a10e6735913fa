// PathWatch: which members of a group to take back, as the path to them was lost and is there
// again.
//
//   in use --its session ends, and the group fails it--> lost --connected again--> to be taken back
//   in use --the partner alone fails it--> lost elsewhere --the partner is gone--> to be taken back
//
// A disk that gave errors here, or that an operator failed, is none of them: an operator decides.
// One that is tried comes and goes every kAgain at most.
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

  struct Path {
    bool connected = true;
    std::uint64_t sessions = 0;
    std::uint64_t errors = 0;  // I/O of the group that failed here
  };
  // Of a disk that is known here.
  using PathOf = std::function<Path(const Slot&)>;
  explicit PathWatch(PathOf path_of) : path_of_(std::move(path_of)) {}

  // To be asked every second or so.  `alone`: the partner does not use the group.  Numbers of
  // members.
  std::vector<std::uint32_t> look(std::span<const DiskView> disks, bool alone, Instant now);

 private:
  struct Seen {
    std::optional<Path> in_use;  // when it was last seen so
    bool failed = false;
    bool lost = false;       // it could not be reached when it failed
    bool elsewhere = false;  // it could, without an error
    std::optional<Instant> tried;
  };
  const PathOf path_of_;
  std::map<const Slot*, Seen> seen_;
};

}  // namespace duet::groups
