// Rights: as whom a caller acts, and what mode bits allow.

#pragma once

#include <array>
#include <cstdint>

#include "filer/exports.h"
#include "filer/request.h"
#include "wafl/types.h"

namespace duet::filer {

// A caller after squashing; id 0 is root.
struct Identity {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t group_count = 0;
  std::array<std::uint32_t, Credentials::kGroupsMax> groups{};

  [[nodiscard]] bool root() const { return uid == 0; }
  [[nodiscard]] bool in_group(std::uint32_t group) const;
};
[[nodiscard]] Identity identify(const Credentials& credentials, const ExportRule& rule);

// The bits of one mode triplet.
inline constexpr std::uint32_t kMayRead = 4;
inline constexpr std::uint32_t kMayWrite = 2;
inline constexpr std::uint32_t kMayExecute = 1;  // directories: search

inline constexpr std::uint32_t kSetUid = 04000;
inline constexpr std::uint32_t kSetGid = 02000;
inline constexpr std::uint32_t kSticky = 01000;

// Whether `who` may do all of `wanted`.  Root may, but executes only files that somebody may.
[[nodiscard]] bool may(const Identity& who, const wafl::Attributes& attributes,
                       std::uint32_t wanted);
// READ and WRITE of contents: the owner always may, since he could when he opened the file
// (POSIX checks only then, NFS each time); and executing means reading.
[[nodiscard]] bool may_read_contents(const Identity& who, const wafl::Attributes& attributes);
[[nodiscard]] bool may_write_contents(const Identity& who, const wafl::Attributes& attributes);

// Whether the sticky bit of `directory` lets `who` remove or rename the entry of `file`.
[[nodiscard]] bool sticky_allows(const Identity& who, const wafl::Attributes& directory,
                                 const wafl::Attributes& file);

// The bits of ACCESS (RFC 1813, 3.3.4).
inline constexpr std::uint32_t kAccessRead = 0x01;
inline constexpr std::uint32_t kAccessLookup = 0x02;
inline constexpr std::uint32_t kAccessModify = 0x04;
inline constexpr std::uint32_t kAccessExtend = 0x08;
inline constexpr std::uint32_t kAccessDelete = 0x10;
inline constexpr std::uint32_t kAccessExecute = 0x20;
[[nodiscard]] std::uint32_t access_bits(const Identity& who, const wafl::Attributes& attributes,
                                        bool writable);

}  // namespace duet::filer
