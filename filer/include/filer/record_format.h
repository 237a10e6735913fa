// The bytes of a request record, as filer/FORMAT.md specifies them: the body of what
// nvlog stores.
//
//   RecordBytes | first name | second name | data
//
// A record holds an operation with every choice that replay must repeat: inode numbers
// and generations, times, the ids and mode of new objects.  It names objects, not handles, so
// replay needs no key.  Fields that an operation does not use are zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace duet::filer {

inline constexpr std::uint8_t kRecordVersion = 1;

enum class Operation : std::uint8_t {
  kWrite = 1,
  kSetAttributes = 2,
  kCreate = 3,          // a new object of any type
  kCreateExisting = 4,  // an unchecked CREATE that sets the size of what is there
  kRemove = 5,
  kRemoveDirectory = 6,
  kRename = 7,
  kLink = 8,
};

enum RecordFlags : std::uint8_t {
  kRecordReplyCached = 1,     // the reply is kept for retries
  kRecordDropPrivileges = 2,  // WRITE: set-uid and set-gid are cleared
};

// Which of the attribute fields count.
enum RecordChanges : std::uint32_t {
  kChangeMode = 1,
  kChangeUid = 2,
  kChangeGid = 4,
  kChangeSize = 8,
  kChangeAtime = 16,
  kChangeMtime = 32,
  kChangeAll = 63,
};

struct RecordBytes {
  std::uint8_t version = kRecordVersion;
  std::uint8_t operation = 0;  // Operation
  std::uint8_t type = 0;       // wafl::FileType of a new object
  std::uint8_t flags = 0;      // RecordFlags
  std::uint32_t changes = 0;   // RecordChanges
  // How a retry is known.
  std::array<std::uint8_t, 16> address{};
  std::uint32_t xid = 0;
  std::uint32_t procedure = 0;
  std::uint32_t checksum = 0;
  std::uint32_t volume = 0;
  // What is changed: the file, or the directory of the first name.
  std::uint64_t object = 0;
  // The new object; for LINK the file's new directory, for RENAME that of the second name.
  std::uint64_t second = 0;
  std::uint32_t object_generation = 0;
  std::uint32_t second_generation = 0;
  std::int64_t now_ns = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::uint32_t data_bytes = 0;  // WRITE: the data; symbolic links: the target
  std::uint64_t size_bytes = 0;
  std::int64_t atime_ns = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t offset = 0;  // WRITE
  std::uint16_t name_bytes = 0;
  std::uint16_t second_name_bytes = 0;
  std::uint32_t reserved0 = 0;
};
static_assert(sizeof(RecordBytes) == 136);
static_assert(offsetof(RecordBytes, object) == 40);
static_assert(offsetof(RecordBytes, now_ns) == 64);
static_assert(offsetof(RecordBytes, size_bytes) == 96);
static_assert(offsetof(RecordBytes, name_bytes) == 128);
static_assert(std::has_unique_object_representations_v<RecordBytes>, "no implicit padding");

}  // namespace duet::filer
