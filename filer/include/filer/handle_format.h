// The bytes of a file handle, as filer/FORMAT.md specifies them.
//
// Clients keep handles for ever and show them after a takeover, so they are a format like
// those on disk.  Only the filer that made a handle can make one that it accepts.

#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace duet::filer {

inline constexpr std::uint8_t kHandleVersion = 1;

enum class HandleKind : std::uint8_t {
  kObject = 1,             // a file or directory of the live tree or a snapshot
  kSnapshotDirectory = 2,  // the virtual ".snapshot" of the live directory that is named
};

struct HandleBytes {
  std::uint8_t version = kHandleVersion;
  std::uint8_t kind = 0;  // HandleKind
  std::uint16_t reserved0 = 0;
  std::uint32_t filer = 0;
  std::uint32_t volume = 0;
  std::uint32_t snapshot = 0;
  std::uint64_t inode = 0;
  std::uint32_t generation = 0;
  std::uint32_t reserved1 = 0;
  std::uint64_t mac = 0;  // SipHash-2-4 of everything before it, keyed by the root's handle_key
};
static_assert(sizeof(HandleBytes) == 40);
static_assert(offsetof(HandleBytes, inode) == 16);
static_assert(offsetof(HandleBytes, mac) == 32);
static_assert(std::has_unique_object_representations_v<HandleBytes>, "no implicit padding");

}  // namespace duet::filer
