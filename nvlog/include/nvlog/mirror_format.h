// The messages that keep the copy of a log in step, as nvlog/FORMAT.md specifies them.
//
//   owner                         host (the partner, in whose memory the copy is)
//   kPrepare  ------------------> empties the area, grants it as a window
//             <------------------ kPrepared
//   remote writes: records, later the area header
//   kProve    ------------------> is the copy as I left it?       (after a lost link)
//             <------------------ kProved
//
// Little-endian, no padding, reserved fields zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "nvlog/record_format.h"

namespace duet::nvlog {

inline constexpr std::uint32_t kMirrorMagic = 0x4D4D'4C44;  // "DLMM"

enum class MirrorVerb : std::uint32_t { kPrepare = 1, kPrepared = 2, kProve = 3, kProved = 4 };

enum class MirrorAnswer : std::uint32_t {
  kYes = 0,
  kNotAdmitted = 1,  // this node hosts the filer itself, or has not been told to keep a copy
  kStaleEpoch = 2,   // an owner of a newer epoch was here
  kOtherSize = 3,    // the memories of the two nodes differ in size
  kOtherPair = 4,    // of another pair, or no such filer
  kDiffers = 5,      // kProve: the copy is not what the owner left
  kFailed = 6,       // the memory failed
};

struct MirrorMessage {
  std::uint32_t magic = kMirrorMagic;
  std::uint32_t verb = 0;     // MirrorVerb
  std::uint64_t attempt = 0;  // the owner's number of this question; the answer repeats it
  std::uint32_t filer = 0;
  std::uint32_t answer = 0;  // MirrorAnswer
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t log_id = 0;
  std::uint64_t epoch = 0;
  std::uint64_t half_bytes = 0;
  // kProve: what the owner believes of the copy; zero otherwise.
  std::uint64_t mirror_generation = 0;
  std::uint64_t generation = 0;
  std::uint64_t tail_sequence = 0;  // the newest that is durable in both; 0: none since it began
  std::uint64_t tail_offset = 0;    // of its header, in the region
  std::uint32_t tail_checksum = 0;  // RecordHeader::checksum of it
  std::uint32_t reserved0 = 0;
};
static_assert(sizeof(MirrorMessage) == 104);
static_assert(offsetof(MirrorMessage, pair) == 24);
static_assert(offsetof(MirrorMessage, tail_checksum) == 96);
static_assert(std::has_unique_object_representations_v<MirrorMessage>, "no implicit padding");

}  // namespace duet::nvlog
