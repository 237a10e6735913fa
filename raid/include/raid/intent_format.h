// The bytes of the intents in persistent memory, as raid/FORMAT.md specifies them.
//
//   0      memory header, and again at 2048
//   4096   area of node 0: slots, then pages; area of node 1; ...
//
// A node's own area is written by itself, and by remote writes at the same offsets into the memory
// of each other node that manages the group.  Little-endian, no padding, reserved fields zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"
#include "raid/geometry.h"
#include "raid/label_format.h"
#include "raid/node.h"

namespace duet::raid {

inline constexpr std::uint64_t kMemoryMagic = 0x31'544E'4952'5544;  // "DURINT1"
inline constexpr std::uint32_t kMemoryVersion = 2;
inline constexpr std::uint64_t kMemoryHeaderBytes = 4096;
inline constexpr std::uint64_t kMemoryHeaderCopy = 2048;

struct MemoryHeader {
  std::uint64_t magic = kMemoryMagic;
  std::uint32_t version = kMemoryVersion;
  std::uint32_t node = 0;  // whose memory this is
  GroupId group{};
  std::uint32_t slots = 0;  // of each area
  std::uint32_t pages = 0;
  std::uint64_t sequence = 0;  // of two whole copies the greater counts
  // The intents count when the label says this generation, or the one before it.
  std::uint64_t generation = 0;
  std::uint64_t before = 0;  // 0: they count in no earlier one
  std::array<std::uint64_t, 7> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of the header with this field zero
};
static_assert(sizeof(MemoryHeader) == 128);
static_assert(offsetof(MemoryHeader, generation) == 48);
static_assert(offsetof(MemoryHeader, checksum) == 124);
static_assert(std::has_unique_object_representations_v<MemoryHeader>, "no implicit padding");

inline constexpr std::uint32_t kIntentMagic = 0x544E'4944;  // "DINT"

enum class IntentKind : std::uint16_t {
  kContent = 1,  // pages: what is written to the data columns, then to the check columns
  kPartial = 2,  // pages: check data of the cells that are not written; what is written may be lost
  // As kContent, of a whole stripe of all disks that takes the place of what the disks before hold
  // there: carried out, the label says that it is expanded.
  kMove = 3,
};

struct Span {
  std::uint16_t first = 0;
  std::uint16_t count = 0;  // rows; 0: the column is not written
  friend bool operator==(const Span&, const Span&) = default;
};

// A slot; its first four bytes are zero when it is free.
struct IntentHeader {
  std::uint32_t magic = 0;
  std::uint16_t kind = 0;    // IntentKind
  std::uint16_t disks = 0;   // that the stripe is on
  std::uint64_t number = 0;  // of its node and incarnation; for people
  std::uint64_t stripe = 0;
  std::uint16_t first_row = 0;  // of the check columns
  std::uint16_t row_count = 0;
  std::uint32_t check = 0;  // set of columns that the pages hold check data of
  std::uint32_t first_page = 0;
  std::uint32_t page_count = 0;
  std::array<Span, kDisksMax> spans{};  // data columns; by kContent, the pages hold them in order
  std::array<std::uint64_t, 9> reserved1{};
  std::uint32_t pages_checksum = 0;  // CRC-32C
  std::uint32_t reserved2 = 0;
  std::uint32_t reserved3 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of the slot with this field zero
};
static_assert(sizeof(IntentHeader) == 256);
static_assert(offsetof(IntentHeader, spans) == 40);
static_assert(offsetof(IntentHeader, checksum) == 252);
static_assert(std::has_unique_object_representations_v<IntentHeader>, "no implicit padding");

// Where things are.
struct MemoryLayout {
  std::uint32_t slots = 64;
  std::uint32_t pages = 256;

  [[nodiscard]] std::uint64_t table_bytes() const {
    return (slots * sizeof(IntentHeader) + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  }
  [[nodiscard]] std::uint64_t area_bytes() const { return table_bytes() + pages * kBlockBytes; }
  [[nodiscard]] std::uint64_t area(NodeId node) const {
    return kMemoryHeaderBytes + number(node) * area_bytes();
  }
  [[nodiscard]] std::uint64_t slot(NodeId node, std::uint32_t index) const {
    return area(node) + index * sizeof(IntentHeader);
  }
  [[nodiscard]] std::uint64_t page(NodeId node, std::uint32_t index) const {
    return area(node) + table_bytes() + index * kBlockBytes;
  }
  [[nodiscard]] std::uint64_t memory_bytes(std::uint32_t nodes) const {
    return kMemoryHeaderBytes + nodes * area_bytes();
  }
  friend bool operator==(const MemoryLayout&, const MemoryLayout&) = default;
};

}  // namespace duet::raid
