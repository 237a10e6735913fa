// SharedGroup: the redundancy group of a simulated pair that has one: all disks, shared by both
// filers, each with its own virtual disk.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "config/config.h"
#include "raid/geometry.h"
#include "raid/label.h"

namespace duet::pair {

// Of a virtual disk.
inline constexpr std::array<std::uint64_t, 2> kRootBlocks{0, 20};
inline constexpr std::uint64_t kDataBlock = 40;  // two images of kDataBlocks behind each other
inline constexpr std::uint64_t kDataBlocks = 23;

class SharedGroup {
 public:
  // The pair's, with both nodes; disks are named by their numbers.
  static const config::Config& config();
  static raid::Geometry geometry() {
    return {.level = raid::Level::kSingleParity, .disks = 6, .chunk_blocks = 4, .stripes = 16};
  }
  static std::vector<raid::VirtualDiskEntry> parts() {
    const std::uint64_t half = 8 * geometry().stripe_blocks();
    return {{"a", {0, half}}, {"b", {half, half}}};
  }

  struct Cell {
    std::size_t disk = 0;
    std::uint64_t block = 0;
    std::size_t check_disk = 0;  // of its row; at the same block
  };
  static Cell root(std::uint32_t filer, std::size_t copy);
};

}  // namespace duet::pair
