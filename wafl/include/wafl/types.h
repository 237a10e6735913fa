// The words of the file system: numbers that must not be mixed, and attributes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace duet::wafl {

enum class InodeNumber : std::uint64_t {};
enum class Generation : std::uint32_t {};  // grows each time an inode number is used again
enum class VolumeId : std::uint32_t {};    // never used again within an aggregate
enum class SnapshotId : std::uint32_t {};  // never used again within a volume; 0 is the live tree
enum class CpNumber : std::uint32_t {};
enum class Cookie : std::uint64_t {};  // where an entry stands in its directory

inline constexpr SnapshotId kLive{0};
inline constexpr InodeNumber kRootInode{2};
// The volume that is the filer's own: reply cache, exports.  Never exported.
inline constexpr VolumeId kSystemVolume{0};

inline constexpr std::size_t kNameBytesMax = 255;
inline constexpr std::size_t kSymlinkBytesMax = 4095;  // Linux's PATH_MAX less its NUL
inline constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 60U;
inline constexpr std::uint32_t kLinksMax = 65'000;

enum class FileType : std::uint8_t {
  kFree = 0,  // only on disk: the inode is not in use
  kRegular = 1,
  kDirectory,
  kSymlink,
  kBlockDevice,
  kCharacterDevice,
  kFifo,
  kSocket,
};

// Nanoseconds since 1970-01-01 00:00:00 UTC; NFSv3 shows 32-bit seconds.
enum class Timestamp : std::int64_t {};

struct Device {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  friend constexpr bool operator==(Device, Device) = default;
};

struct Attributes {
  FileType type = FileType::kFree;
  std::uint32_t mode = 0;  // permission bits only, 07777
  std::uint32_t links = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;  // data blocks held, times 4096
  Device device;                 // of block and character devices
  Timestamp atime{};
  Timestamp mtime{};
  Timestamp ctime{};
  friend constexpr bool operator==(const Attributes&, const Attributes&) = default;
};

// Names one object for ever: what a file handle carries.
struct FileId {
  VolumeId volume{};
  SnapshotId snapshot = kLive;
  InodeNumber inode{};
  Generation generation{};
  friend constexpr bool operator==(FileId, FileId) = default;
};

}  // namespace duet::wafl
