// What a disk of a pair carries for the pair itself, in words with a way out.
//
// A disk that carries something stays in the configuration of both nodes until that is elsewhere:
// while the mailbox root names no members each node believes its own file, and one that watches
// other disks than its partner beats on takes it for dead.
//
// Thread-safety: pure.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "failover/report.h"

namespace duet::daemon {

// One on which a mailbox or the owner record may stand; in PairNode's order.
struct CarryingDisk {
  std::string url;
  std::uint32_t filer = 0;
};

// Empty: nothing.  Else what, and how that gets elsewhere.  REQUIRES: disk < disks.size().
[[nodiscard]] std::string what_is_carried(const failover::PairStatus& status,
                                          std::span<const CarryingDisk> disks, std::size_t disk);

// For who has given another disk its place in a group; empty: it carries nothing.
[[nodiscard]] std::string note_on_replaced(const failover::PairStatus& status,
                                           std::span<const CarryingDisk> disks, std::size_t disk);

}  // namespace duet::daemon
