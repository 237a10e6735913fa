// The bytes of the reply cache, as filer/FORMAT.md specifies them: the file "replies" of the
// system volume is an array of ReplySlots, eight to a block.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace duet::filer {

// wafl::Attributes with fsid and fileid.
struct AttributeBytes {
  std::uint32_t type = 0;
  std::uint32_t mode = 0;
  std::uint32_t links = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::uint32_t reserved0 = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  std::int64_t atime_ns = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint64_t fsid = 0;
  std::uint64_t fileid = 0;
};
static_assert(sizeof(AttributeBytes) == 88);

struct WccBytes {
  std::uint64_t before_size_bytes = 0;
  std::int64_t before_mtime_ns = 0;
  std::int64_t before_ctime_ns = 0;
  AttributeBytes after;
};
static_assert(sizeof(WccBytes) == 112);

enum ReplyFlags : std::uint32_t {
  kReplyUsed = 1,  // the slot holds a reply
  kReplyObject = 2,
  kReplyAttributes = 4,
  kReplyFirstBefore = 8,
  kReplyFirstAfter = 16,
  kReplySecondBefore = 32,
  kReplySecondAfter = 64,
  kReplyFlagsAll = 127,
};

struct ReplySlot {
  std::uint32_t flags = 0;  // ReplyFlags; 0: free, and everything else is zero too
  std::uint32_t error = 0;  // Errc; 0: success
  std::uint64_t order = 0;  // grows with each reply; slot = order % slots
  std::array<std::uint8_t, 16> address{};
  std::uint32_t xid = 0;
  std::uint32_t procedure = 0;
  std::uint32_t checksum = 0;
  // The object that CREATE and the like made.
  std::uint32_t volume = 0;
  std::uint64_t inode = 0;
  std::uint32_t generation = 0;
  std::uint32_t reserved0 = 0;
  AttributeBytes attributes;  // of the object
  WccBytes first;             // the object of SETATTR; the (first) directory of the others
  WccBytes second;            // RENAME: the directory of the new name
  std::array<std::uint64_t, 17> reserved1{};
};
static_assert(sizeof(ReplySlot) == 512);
static_assert(offsetof(ReplySlot, attributes) == 64);
static_assert(offsetof(ReplySlot, second) == 264);
static_assert(std::is_trivially_copyable_v<ReplySlot>);
static_assert(std::has_unique_object_representations_v<ReplySlot>, "no implicit padding");

}  // namespace duet::filer
