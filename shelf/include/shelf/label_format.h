// The bytes of a shelf label, as shelf/FORMAT.md specifies them.
//
// A label says who may use one disk of a shelf.  It stands in a small file beside the disk, twice.
// Little-endian, no padding, reserved fields zero.  Changing one means a new version or feature
// bit, a new FORMAT.md section and a new golden image.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"

namespace duet::shelf {

inline constexpr std::uint64_t kLabelMagic = 0x3146'4C45'4853'5544;  // "DUSHELF1"
inline constexpr std::uint32_t kLabelVersion = 1;
inline constexpr std::size_t kKeysMax = 64;
// Where the copies stand, and how large the file is, in blocks.  Apart, so that they are never in
// one page or stripe of what lies below.
inline constexpr std::uint64_t kLabelCopyA = 0;
inline constexpr std::uint64_t kLabelCopyB = 8;
inline constexpr std::uint64_t kLabelBlocks = 16;

struct LabelRecord {
  std::uint64_t magic = kLabelMagic;
  std::uint32_t version = kLabelVersion;
  std::uint32_t key_count = 0;            // of `keys`
  std::uint64_t compatible = 0;           // features that an older build may ignore
  std::uint64_t readonly_compatible = 0;  // ... may ignore while it only shows the label
  std::uint64_t incompatible = 0;         // ... must know
  std::array<std::uint64_t, 2> disk{};    // id, drawn when the disk was created
  std::uint64_t blocks = 0;               // of the disk
  std::uint64_t sequence = 0;             // grows by one with each write of the label
  std::uint64_t generation = 0;           // grows by one with each change of the keys
  std::uint64_t epoch = 0;                // I/O of older ones is refused
  std::uint64_t holder = 0;               // of the reservation: one of the keys; 0: none
  std::uint32_t reservation = 0;          // 0 none, 1 write exclusive, 2 exclusive access
  std::uint32_t reserved0 = 0;
  std::array<std::uint64_t, 3> reserved1{};
  std::array<std::uint64_t, kKeysMax> keys{};  // registered, ascending; zero behind key_count
  std::array<std::byte, 3452> reserved2{};
  std::uint32_t checksum = 0;  // CRC-32C of this structure with this field zero
};
static_assert(sizeof(LabelRecord) == kBlockBytes);
static_assert(offsetof(LabelRecord, disk) == 40);
static_assert(offsetof(LabelRecord, sequence) == 64);
static_assert(offsetof(LabelRecord, reservation) == 96);
static_assert(offsetof(LabelRecord, keys) == 128);
static_assert(offsetof(LabelRecord, checksum) == 4092);
static_assert(std::has_unique_object_representations_v<LabelRecord>, "no implicit padding");

}  // namespace duet::shelf
