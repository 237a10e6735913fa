// The bytes of the mailbox sectors, as mailbox/FORMAT.md specifies them.
//
// Each record is one physical sector of 512 bytes at the start of its 4 KiB block, so a write of it
// is there whole or not at all on every disk that keeps the promise of its sector size; the
// checksum finds the others.  Little-endian, no padding, reserved fields zero.  Changing one means
// a new version, a new FORMAT.md section and a new golden image.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"

namespace duet::mailbox {

inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::uint64_t kSectorMagic = 0x31'584F'424C'4D44;  // "DMLBOX1"
inline constexpr std::uint32_t kSectorVersion = 1;

inline constexpr std::uint32_t kNodes = 2;
inline constexpr std::uint32_t kFilers = 2;
inline constexpr std::uint32_t kMembersMax = 3;

// Blocks of a disk, within the 253 that wafl leaves alone (wafl/FORMAT.md).  Eight apart: a disk
// that rewrites 32 KiB at a time touches one kind of record only.
inline constexpr std::uint64_t kBeatBlock = 8;          // + node
inline constexpr std::uint64_t kMarkBlock = 16;         // + filer
inline constexpr std::uint64_t kArbitrationBlock = 24;  // on one disk of the pair
inline constexpr std::uint64_t kWordsBlock = 32;        // + node
inline constexpr std::uint64_t kMembersBlock = 40;      // + node

enum class SectorKind : std::uint32_t {
  kBeat = 1,
  kMark = 2,
  kArbitration = 3,
  kWords = 4,
  kMembers = 5,
  kMoved = 6,  // in the arbitration block: the record that counts is not here
};

struct SectorHeader {
  std::uint64_t magic = kSectorMagic;
  std::uint32_t version = kSectorVersion;
  std::uint32_t kind = 0;  // SectorKind
  std::array<std::uint64_t, 2> pair{};
  std::uint32_t subject = 0;      // the node or filer that it is about; arbitration: 0
  std::uint32_t node = 0;         // who wrote it
  std::uint64_t incarnation = 0;  // of the writer's process
  std::uint64_t sequence = 0;     // grows with each write of this sector by one process
  std::uint64_t reserved = 0;
};
static_assert(sizeof(SectorHeader) == 64);
static_assert(offsetof(SectorHeader, pair) == 16);
static_assert(offsetof(SectorHeader, incarnation) == 40);
static_assert(std::has_unique_object_representations_v<SectorHeader>, "no implicit padding");

// What a node says of itself.
enum class NodeState : std::uint32_t {
  kStarting = 1,  // not serving: it reads, registers, opens
  kStandby = 2,   // serves nothing of its own; ready to take a filer
  kServing = 3,
  kTaking = 4,   // claims its partner's filers
  kHanding = 5,  // hands a filer over
  kPaused = 6,   // its disks keep it from serving: it asks the partner to take over
};

// Written by the node itself, every beat, on each of its own members.
struct BeatSector {
  SectorHeader header{.kind = static_cast<std::uint32_t>(SectorKind::kBeat)};
  std::uint32_t lease_ms = 0;  // the writer answers only so long after a renewal started
  std::uint32_t beat_ms = 0;
  std::uint32_t state = 0;    // NodeState
  std::uint32_t serving = 0;  // bit f: filer f is served here
  std::uint64_t membership_generation = 0;
  std::array<std::uint64_t, kFilers> epochs{};  // of the filers hosted here; else 0
  std::array<std::uint64_t, 50> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of the sector with this field zero
};
static_assert(sizeof(BeatSector) == kSectorBytes);
static_assert(offsetof(BeatSector, membership_generation) == 80);
static_assert(offsetof(BeatSector, checksum) == 508);
static_assert(std::has_unique_object_representations_v<BeatSector>, "no implicit padding");

// Written by whoever hosts the filer, on every member of the filer's home node.
struct MarkSector {
  SectorHeader header{.kind = static_cast<std::uint32_t>(SectorKind::kMark)};
  std::uint32_t set = 0;  // 1: the partner lacks acknowledged requests; 0: it was cleared
  std::uint32_t reserved1 = 0;
  std::uint64_t epoch = 0;             // of the opening that set or cleared it
  std::uint64_t first_unmirrored = 0;  // sequence
  std::array<std::uint64_t, 52> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;
};
static_assert(sizeof(MarkSector) == kSectorBytes);
static_assert(offsetof(MarkSector, epoch) == 72);
static_assert(offsetof(MarkSector, checksum) == 508);
static_assert(std::has_unique_object_representations_v<MarkSector>, "no implicit padding");

struct OwnerEntry {
  std::uint32_t owner = 0;     // node
  std::uint32_t previous = 0;  // the owner before it, to whom a refused takeover returns
  // Of the owner's process; 0: none yet, any process of the owner opens the filer with a swap.
  std::uint64_t incarnation = 0;
  std::uint64_t epoch = 0;
  friend bool operator==(const OwnerEntry&, const OwnerEntry&) = default;
};
static_assert(sizeof(OwnerEntry) == 24);

// One per pair; changed by compare-and-swap only.  No two values of it are ever equal: a change
// raises an epoch.
struct ArbitrationSector {
  SectorHeader header{.kind = static_cast<std::uint32_t>(SectorKind::kArbitration)};
  std::array<OwnerEntry, kFilers> filers{};
  std::uint64_t generation = 0;  // of the place: grows when the record moves to another disk
  std::array<std::uint64_t, 48> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;
};
static_assert(sizeof(ArbitrationSector) == kSectorBytes);
static_assert(offsetof(ArbitrationSector, filers) == 64);
static_assert(offsetof(ArbitrationSector, generation) == 112);
static_assert(offsetof(ArbitrationSector, checksum) == 508);
static_assert(std::has_unique_object_representations_v<ArbitrationSector>, "no implicit padding");

using DiskIdentity = std::array<std::uint64_t, 2>;

// Stands in the arbitration block of a disk that does not hold the record: it moved away, or a move
// here was given up.
struct MovedSector {
  SectorHeader header{.kind = static_cast<std::uint32_t>(SectorKind::kMoved)};
  std::uint64_t generation = 0;  // moved: of the record that counts; given up: the proposed one
  std::uint32_t given_up = 0;    // 1: this generation never came to be on this disk
  std::uint32_t reserved1 = 0;
  DiskIdentity disk{};  // moved: where the record is
  std::array<std::uint64_t, 51> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;
};
static_assert(sizeof(MovedSector) == kSectorBytes);
static_assert(offsetof(MovedSector, disk) == 80);
static_assert(offsetof(MovedSector, checksum) == 508);
static_assert(std::has_unique_object_representations_v<MovedSector>, "no implicit padding");

enum class Cause : std::uint32_t { kStopped = 1, kCrashed = 2, kKilled = 3, kHung = 4 };

// Written by the supervisor of a node on each of its members, when the process is gone: known death
// of one incarnation, at once.
struct WordsSector {
  SectorHeader header{.kind = static_cast<std::uint32_t>(SectorKind::kWords)};
  std::uint64_t dead_incarnation = 0;
  std::uint32_t cause = 0;  // Cause
  // The partner leaves it to the node to come back for so long, by its own clock; 0: not at all.
  std::uint32_t restart_ms = 0;
  std::uint64_t crashes = 0;  // in a row
  std::array<std::uint64_t, 52> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;
};
static_assert(sizeof(WordsSector) == kSectorBytes);
static_assert(offsetof(WordsSector, restart_ms) == 76);
static_assert(offsetof(WordsSector, checksum) == 508);
static_assert(std::has_unique_object_representations_v<WordsSector>, "no implicit padding");

// What a node keeps of itself beyond its life: which disks are its members, on each of them; and
// the promise that it has given about the arbitration record.  Of several the one of the greatest
// {incarnation, sequence} is the newest.
struct MembersSector {
  SectorHeader header{.kind = static_cast<std::uint32_t>(SectorKind::kMembers)};
  std::uint64_t generation = 0;
  std::uint32_t count = 0;  // 1 (no failover), 2 or 3
  std::uint32_t reserved1 = 0;
  std::array<DiskIdentity, kMembersMax> disks{};
  // The members before: they count as long as the root says so.
  std::uint64_t previous_generation = 0;
  std::uint32_t previous_count = 0;
  std::uint32_t reserved2 = 0;
  std::array<DiskIdentity, kMembersMax> previous_disks{};
  // The node changes no record of an older generation of the place; 0: no promise.
  std::uint64_t promised_generation = 0;
  DiskIdentity promised_disk{};
  std::array<std::uint64_t, 36> reserved{};
  std::uint32_t reserved0 = 0;
  std::uint32_t checksum = 0;
};
static_assert(sizeof(MembersSector) == kSectorBytes);
static_assert(offsetof(MembersSector, previous_generation) == 128);
static_assert(offsetof(MembersSector, promised_generation) == 192);
static_assert(offsetof(MembersSector, checksum) == 508);
static_assert(std::has_unique_object_representations_v<MembersSector>, "no implicit padding");

}  // namespace duet::mailbox
