// The bytes of a group's label, as raid/FORMAT.md specifies them.
//
// One block, in two places on every disk of the group, written in turns: a torn write leaves the
// other.  Little-endian, no padding, reserved fields zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"
#include "raid/geometry.h"

namespace duet::raid {

inline constexpr std::uint64_t kLabelMagic = 0x31'4449'4152'5544;  // "DURAID1"
inline constexpr std::uint32_t kLabelVersion = 3;
// Where the label of an odd sequence stands is kLabelBlock + 8.  Below are the blocks of the
// mailbox.
inline constexpr std::uint64_t kLabelBlock = 128;
constexpr std::uint64_t label_block(std::uint64_t sequence) {
  return kLabelBlock + 8 * (sequence % 2);
}

inline constexpr std::uint32_t kSparesMax = 8;
// Regions of stripes, of which the label keeps a bit or two.
inline constexpr std::uint64_t kRegions = 4096;
using Regions = std::array<std::uint64_t, kRegions / 64>;
inline constexpr std::uint32_t kSpare = 0xFFFF'FFFF;  // GroupLabel::own of a spare

using DiskId = std::array<std::uint64_t, 2>;
using GroupId = std::array<std::uint64_t, 2>;

enum class DiskState : std::uint32_t {
  kInSync = 1,
  kFailed = 2,      // what it holds is older than the group, or unknown
  kRebuilding = 3,  // gets every write; what it holds is right below the watermark
};

// LabelDisk::flags.
inline constexpr std::uint32_t kAway = 1;  // kFailed: it only was not there; it returns by itself
inline constexpr std::uint32_t kRecorded = 2;  // not kInSync: it lacks what lies in missed regions
inline constexpr std::uint32_t kKeptOut = 4;   // kFailed: an operator failed it, and takes it back
struct LabelDisk {
  DiskId id{};
  std::uint32_t state = static_cast<std::uint32_t>(DiskState::kInSync);  // DiskState
  std::uint32_t flags = 0;
  std::uint64_t since = 0;  // the label's sequence when it came into this state
  // kRebuilding: stripes below this are in sync; if kRecorded, so are those of regions that were
  // not missed.
  std::uint64_t watermark = 0;
  friend bool operator==(const LabelDisk&, const LabelDisk&) = default;
};
static_assert(sizeof(LabelDisk) == 40);
static_assert(std::has_unique_object_representations_v<LabelDisk>, "no implicit padding");

inline constexpr std::uint32_t kVirtualDisksMax = 32;
inline constexpr std::size_t kVirtualDiskNameMax = 31;

// Blocks of the group that have a name.  No name: none, and none behind it.
struct LabelVirtualDisk {
  std::array<char, kVirtualDiskNameMax + 1> name{};  // printable, without blanks; zeros behind it
  std::uint64_t first_block = 0;
  std::uint64_t blocks = 0;
  friend bool operator==(const LabelVirtualDisk&, const LabelVirtualDisk&) = default;
};
static_assert(sizeof(LabelVirtualDisk) == 48);
static_assert(std::has_unique_object_representations_v<LabelVirtualDisk>, "no implicit padding");

struct GroupLabel {
  std::uint64_t magic = kLabelMagic;
  std::uint32_t version = kLabelVersion;
  std::uint32_t level = 0;
  GroupId group{};
  std::uint16_t disks = 0;
  std::uint16_t disks_before = 0;  // while it is expanded: how many it had; else 0
  std::uint32_t chunk_blocks = 0;
  std::uint64_t stripes = 0;
  std::uint64_t sequence = 0;  // grows by one with each label
  // Who manages the group; and of those, whose memories hold the intents of all of them.  No bit:
  // every write has ended.  More than one: each of them has all.
  std::uint64_t generation = 0;
  std::uint16_t holders = 0;
  std::uint16_t managers = 0;
  std::uint32_t nodes = 0;  // that may
  std::uint32_t own = 0;    // number of the disk that holds this copy; or kSpare
  std::uint32_t spare_count = 0;
  DiskId own_id{};  // of that disk
  std::array<LabelDisk, kDisksMax> members{};
  std::array<DiskId, kSparesMax> spares{};
  std::array<LabelVirtualDisk, kVirtualDisksMax> virtual_disks{};
  std::uint32_t range_stripes = 1;  // that one lock covers
  std::uint32_t step_stripes = 1;   // of a rebuild, that one node does; whole ranges
  std::uint64_t term = 0;           // grows when somebody leads in place of one that is gone
  // Regions in which the check data may not match where nobody needs the data.
  Regions loose{};
  // Regions in which something was, or could be, written without the disks that are kRecorded.
  Regions missed{};
  // While it is expanded: stripes below this are of all disks, the others of those before.
  std::uint64_t expanded = 0;
  std::uint32_t owed = 0;      // nodes whose intents the holders have, and must carry out first
  std::uint32_t checksum = 0;  // CRC-32C of the block with this field zero
};
static_assert(sizeof(GroupLabel) == kBlockBytes);
static_assert(offsetof(GroupLabel, stripes) == 40);
static_assert(offsetof(GroupLabel, holders) == 64);
static_assert(offsetof(GroupLabel, nodes) == 68);
static_assert(offsetof(GroupLabel, own_id) == 80);
static_assert(offsetof(GroupLabel, members) == 96);
static_assert(offsetof(GroupLabel, spares) == 1376);
static_assert(offsetof(GroupLabel, virtual_disks) == 1504);
static_assert(offsetof(GroupLabel, range_stripes) == 3040);
static_assert(offsetof(GroupLabel, term) == 3048);
static_assert(offsetof(GroupLabel, missed) == 3568);
static_assert(offsetof(GroupLabel, expanded) == 4080);
static_assert(offsetof(GroupLabel, checksum) == 4092);
static_assert(std::has_unique_object_representations_v<GroupLabel>, "no implicit padding");

}  // namespace duet::raid
