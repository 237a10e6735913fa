// Geometry: where a block of a redundancy group lies on its disks.
//
//              column 0    column 1    column 2 (check)
//   stripe 0   disk 0      disk 1      disk 2
//   stripe 1   disk 2      disk 0      disk 1          each stripe turns by one disk
//   stripe 2   disk 1      disk 2      disk 0
//
// A stripe is one chunk of every disk.  Its first data_columns() columns hold the group's blocks,
// chunk by chunk; the others hold check data.  A row is one block of each column, at the same
// place in its chunk: check data of a row depends on that row alone.

#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"

namespace duet::raid {

// The numbers stand in the label.
enum class Level : std::uint32_t {
  kMirror = 1,        // every disk holds the same
  kSingleParity = 5,  // one check column
  kDoubleParity = 6,  // two: P and Q
};

enum class Stripe : std::uint64_t {};

inline constexpr std::uint32_t kDisksMax = 32;
// Blocks of a disk that the group's data does not use: labels, and what others keep there.
inline constexpr std::uint64_t kDataStartBlock = 256;

// One block of a stripe.
struct Cell {
  std::uint32_t column = 0;
  std::uint32_t row = 0;
  friend bool operator==(const Cell&, const Cell&) = default;
};
struct Place {
  Stripe stripe{};
  Cell cell;
};

// A stripe, and how many disks it is on: while a group is expanded some of its stripes are on all
// of its disks, the others on those that it had before.
struct PlacedStripe {
  Stripe stripe{};
  std::uint32_t disks = 0;
  friend bool operator==(const PlacedStripe&, const PlacedStripe&) = default;
};

struct Geometry {
  Level level = Level::kSingleParity;
  std::uint32_t disks = 3;
  std::uint32_t chunk_blocks = 16;
  std::uint64_t stripes = 1;

  // Whether the numbers make a group at all.
  [[nodiscard]] bool valid() const {
    const std::uint32_t least = level == Level::kMirror ? 2 : check_columns() + 2;
    return (level == Level::kMirror || level == Level::kSingleParity ||
            level == Level::kDoubleParity) &&
           disks >= least && disks <= (level == Level::kMirror ? 3 : kDisksMax) &&
           chunk_blocks > 0 && chunk_blocks <= 1024 && stripes > 0 && stripes < (1ULL << 40U);
  }

  [[nodiscard]] std::uint32_t check_columns() const {
    return level == Level::kMirror ? disks - 1 : level == Level::kSingleParity ? 1 : 2;
  }
  [[nodiscard]] std::uint32_t data_columns() const { return disks - check_columns(); }
  [[nodiscard]] std::uint32_t stripe_blocks() const { return data_columns() * chunk_blocks; }
  [[nodiscard]] std::uint64_t block_count() const { return stripes * stripe_blocks(); }
  // What a disk must have.
  [[nodiscard]] std::uint64_t disk_blocks() const {
    return kDataStartBlock + stripes * chunk_blocks;
  }

  [[nodiscard]] Place place_of(std::uint64_t block) const {
    DUET_CHECK(block < block_count());
    const auto within = static_cast<std::uint32_t>(block % stripe_blocks());
    return {Stripe{block / stripe_blocks()}, {within / chunk_blocks, within % chunk_blocks}};
  }
  [[nodiscard]] std::uint32_t disk_of(Stripe stripe, std::uint32_t column) const {
    const auto turn = static_cast<std::uint32_t>(static_cast<std::uint64_t>(stripe) % disks);
    return (column + disks - turn) % disks;
  }
  [[nodiscard]] std::uint32_t column_of(Stripe stripe, std::uint32_t disk) const {
    const auto turn = static_cast<std::uint32_t>(static_cast<std::uint64_t>(stripe) % disks);
    return (disk + turn) % disks;
  }
  [[nodiscard]] std::uint64_t disk_block(Stripe stripe, std::uint32_t row) const {
    return kDataStartBlock + static_cast<std::uint64_t>(stripe) * chunk_blocks + row;
  }

  friend bool operator==(const Geometry&, const Geometry&) = default;
};

}  // namespace duet::raid
