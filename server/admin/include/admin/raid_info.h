// What the operator is told of a redundancy group.
//
// Thread-safety: values.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace duet::admin {

struct RaidDiskInfo {
  std::string path;                     // empty: no disk of the configuration
  std::optional<std::uint32_t> number;  // in the group; none: it is no member
  std::string state;                    // "in_sync", "rebuilding", "failed", "spare", "unused"
  std::string problem;                  // why it is not used; may be none
  std::uint64_t done_percent = 0;       // "rebuilding"
};

struct RaidGroupInfo {
  std::string name;
  std::string level;                      // "raid6"
  std::optional<std::uint32_t> can_lose;  // disks, from now on; none: it has lost too many
  std::uint32_t redundancy = 0;           // the same when all is well
  std::uint64_t chunk_bytes = 0;
  std::uint64_t stripe_bytes = 0;  // of data
  std::uint64_t bytes = 0;
  std::uint64_t generation = 0;
  std::uint64_t intents = 0;  // writes that are not settled
  std::vector<RaidDiskInfo> disks;
  struct VirtualDisk {
    std::string name;
    std::uint64_t bytes = 0;
  };
  std::vector<VirtualDisk> virtual_disks;
  // Since the start.
  std::uint64_t reads = 0, degraded_reads = 0;
  std::uint64_t whole_stripes = 0, read_modify = 0, reconstruct = 0;  // updates
  std::uint64_t blocks_read = 0, blocks_written = 0;                  // of disks
  std::uint64_t settles = 0, recovered = 0;

  // "optimal", "degraded", "failed".
  [[nodiscard]] std::string_view state() const {
    return !can_lose ? "failed" : *can_lose < redundancy ? "degraded" : "optimal";
  }
  [[nodiscard]] std::uint64_t updates() const { return whole_stripes + read_modify + reconstruct; }
};

}  // namespace duet::admin
