#include "carried.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace duet::daemon {

namespace {

constexpr std::array<std::string_view, 2> kNames{"a", "b"};

bool is_member(const failover::PairStatus& status, std::uint32_t node, std::size_t disk) {
  const std::vector<std::size_t>& members = status.members[node].disks;
  return std::ranges::find(members, disk) != members.end();
}

bool is_free(const failover::PairStatus& status, std::size_t disk) {
  return !is_member(status, 0, disk) && !is_member(status, 1, disk) && status.arbitration != disk;
}

// Those that could take it, as an operator types them; empty: none.
std::string others(const failover::PairStatus& status, std::span<const CarryingDisk> disks,
                   std::size_t disk, bool same_filer) {
  std::string list;
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const bool fits = !same_filer || disks[i].filer == disks[disk].filer;
    if (i != disk && fits && is_free(status, i)) {
      list += fmt::format("{}{}", list.empty() ? "" : ", ", disks[i].url);
    }
  }
  return list;
}

std::string way_of_member(const failover::PairStatus& status, std::span<const CarryingDisk> disks,
                          std::uint32_t node, std::size_t disk) {
  if (const std::string to = others(status, disks, disk, /*same_filer=*/true); !to.empty()) {
    return fmt::format(
        "give it another one first: `duet failover member replace {} OTHER`, where OTHER is one "
        "of {}",
        disks[disk].url, to);
  }
  if (status.members[node].generation != 0) {
    return "no other disk that was listed for this at the start can take its part, so it stays "
           "listed";
  }
  return fmt::format(
      "no other disk can take its part while the nodes run: stop both nodes, write `mailbox: {}` "
      "at another disk instead, in the files of both, and start both",
      kNames[node]);
}

std::string way_of_record(const failover::PairStatus& status, std::span<const CarryingDisk> disks,
                          std::size_t disk) {
  const std::string to = others(status, disks, disk, /*same_filer=*/false);
  return to.empty() ? "no other disk can take that, so it stays listed: each of those that could "
                      "is a mailbox member"
                    : fmt::format(
                          "move that first: `duet failover arbitration move OTHER`, where OTHER "
                          "is one of {}",
                          to);
}

}  // namespace

std::string what_is_carried(const failover::PairStatus& status, std::span<const CarryingDisk> disks,
                            std::size_t disk) {
  for (std::uint32_t node = 0; node < failover::kFilers; ++node) {
    if (is_member(status, node, disk)) {
      return fmt::format("disk {} is a mailbox member of node {}; {}", disks[disk].url,
                         kNames[node], way_of_member(status, disks, node, disk));
    }
  }
  return status.arbitration == disk
             ? fmt::format("disk {} has the owner record; {}", disks[disk].url,
                           way_of_record(status, disks, disk))
             : "";
}

std::string note_on_replaced(const failover::PairStatus& status,
                             std::span<const CarryingDisk> disks, std::size_t disk) {
  const std::string carried = what_is_carried(status, disks, disk);
  return carried.empty() ? ""
                         : fmt::format(
                               "leave the old disk in the configuration of both nodes: a node "
                               "without it, while the other uses it, takes that for dead; {}",
                               carried);
}

}  // namespace duet::daemon
