// The bytes of the log region, as nvlog/FORMAT.md specifies them.
//
// Written to persistent memory as they stand: little-endian, no padding, reserved fields
// zero.  Changing one means a new version or feature bit, a new FORMAT.md section and a new
// golden image.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"
#include "nvlog/request_log.h"

namespace duet::nvlog {

inline constexpr std::uint64_t kLineBytes = 64;          // what persistent memory keeps or loses
inline constexpr std::uint64_t kHeaderBytes = 4096;      // of the region, and of each area
inline constexpr std::uint64_t kHeaderCopyBytes = 2048;  // the second copy stands this far behind

inline constexpr std::uint64_t kRegionMagic = 0x31'4E'4745'5244'55;  // "UDREGN1"
inline constexpr std::uint64_t kAreaMagic = 0x31'41'4552'4144'55;    // "UDAREA1"
inline constexpr std::uint32_t kRecordMagic = 0x4352'4C44;           // "DLRC"
inline constexpr std::uint32_t kFormatVersion = 1;

struct RegionHeader {
  std::uint64_t magic = kRegionMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t area_count = kAreas;
  std::uint64_t half_bytes = 0;           // of every half; a multiple of kLineBytes
  std::uint64_t compatible = 0;           // features that an older build may ignore
  std::uint64_t readonly_compatible = 0;  // ... may ignore while it only reads
  std::uint64_t incompatible = 0;         // ... must know
  std::uint64_t reserved0 = 0;
  std::uint32_t reserved1 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of this structure with this field zero
};
static_assert(sizeof(RegionHeader) == 64);
static_assert(offsetof(RegionHeader, half_bytes) == 16);
static_assert(offsetof(RegionHeader, checksum) == 60);
static_assert(std::has_unique_object_representations_v<RegionHeader>, "no implicit padding");

struct AreaHeader {
  std::uint64_t magic = kAreaMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t filer = 0;
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t log_id = 0;
  std::uint64_t epoch = 0;
  std::uint64_t mirror_generation = 0;  // of the partner's copy; 0: there is none
  std::uint64_t generation = 0;         // grows by one whenever this header is written anew
  std::uint64_t first_sequence = 0;     // the first record of this generation, if there is one
  std::array<std::uint64_t, 6> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of this structure with this field zero
};
static_assert(sizeof(AreaHeader) == 128);
static_assert(offsetof(AreaHeader, epoch) == 40);
static_assert(offsetof(AreaHeader, generation) == 56);
static_assert(offsetof(AreaHeader, checksum) == 124);
static_assert(std::has_unique_object_representations_v<AreaHeader>, "no implicit padding");

// Stands at a multiple of kLineBytes, so it is torn from its body but never within itself.
// The body follows; the rest of its last line means nothing.
struct RecordHeader {
  std::uint32_t magic = kRecordMagic;
  std::uint32_t body_bytes = 0;  // 1 .. kBodyBytesMax
  std::uint64_t sequence = 0;
  std::uint64_t epoch = 0;
  std::uint64_t generation = 0;  // the area header's
  std::uint32_t pass = 0;        // 0, 1, 2, ... within a generation; in half pass % 2
  std::uint32_t reserved0 = 0;
  std::uint32_t header_checksum = 0;  // CRC-32C of the fields above, seeded with record_seed()
  std::uint32_t checksum = 0;         // goes on from header_checksum over the body
};
static_assert(sizeof(RecordHeader) == 48);
static_assert(offsetof(RecordHeader, sequence) == 8);
static_assert(offsetof(RecordHeader, header_checksum) == 40);
static_assert(offsetof(RecordHeader, checksum) == 44);
static_assert(sizeof(RecordHeader) <= kLineBytes);
static_assert(std::has_unique_object_representations_v<RecordHeader>, "no implicit padding");

// Whole lines that a record with this body takes.
constexpr std::uint64_t record_bytes(std::uint64_t body_bytes) {
  return (sizeof(RecordHeader) + body_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

// Where things stand in a region whose halves have `half_bytes`.
constexpr std::uint64_t area_offset(std::uint64_t half_bytes, std::uint32_t area) {
  return kHeaderBytes + area * (kHeaderBytes + 2 * half_bytes);
}
constexpr std::uint64_t half_offset(std::uint64_t half_bytes, std::uint32_t area,
                                    std::uint32_t half) {
  return area_offset(half_bytes, area) + kHeaderBytes + half * half_bytes;
}

// What the checksums of all records of one log start from.  The log id in it is drawn at
// random and never leaves the filer: a client cannot write data that looks like a record.
[[nodiscard]] std::uint32_t record_seed(const LogIdentity& identity);

}  // namespace duet::nvlog
