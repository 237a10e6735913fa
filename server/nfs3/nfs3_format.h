// NFSv3's numbers on the wire (RFC 1813 section 2 and 3).

#pragma once

#include <cstddef>
#include <cstdint>

namespace duet::server::nfs3 {

enum class Procedure : std::uint32_t {
  kNull = 0,
  kGetattr,
  kSetattr,
  kLookup,
  kAccess,
  kReadlink,
  kRead,
  kWrite,
  kCreate,
  kMkdir,
  kSymlink,
  kMknod,
  kRemove,
  kRmdir,
  kRename,
  kLink,
  kReaddir,
  kReaddirplus,
  kFsstat,
  kFsinfo,
  kPathconf,
  kCommit,
};

// nfsstat3, section 2.6.
enum class Nfsstat : std::uint32_t {
  kOk = 0,
  kPerm = 1,
  kNoent = 2,
  kIo = 5,
  kNxio = 6,
  kAcces = 13,
  kExist = 17,
  kXdev = 18,
  kNodev = 19,
  kNotdir = 20,
  kIsdir = 21,
  kInval = 22,
  kFbig = 27,
  kNospc = 28,
  kRofs = 30,
  kMlink = 31,
  kNametoolong = 63,
  kNotempty = 66,
  kDquot = 69,
  kStale = 70,
  kRemote = 71,
  kBadhandle = 10001,
  kNotSync = 10002,
  kBadCookie = 10003,
  kNotsupp = 10004,
  kToosmall = 10005,
  kServerfault = 10006,
  kBadtype = 10007,
  kJukebox = 10008,
};

// ftype3.
enum class Ftype : std::uint32_t {
  kReg = 1,
  kDir = 2,
  kBlk = 3,
  kChr = 4,
  kLnk = 5,
  kSock = 6,
  kFifo = 7,
};

inline constexpr std::uint32_t kTransferBytesMax = 1U << 20U;  // rtmax, wtmax
inline constexpr std::uint32_t kTransferMultiple = 4096;
inline constexpr std::uint32_t kDirectoryBytesPreferred = 64U << 10U;
inline constexpr std::uint32_t kFileSync = 2;  // stable_how
inline constexpr std::uint32_t kNanosecondsPerSecond = 1'000'000'000;
// FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME.
inline constexpr std::uint32_t kProperties = 0x1 | 0x2 | 0x8 | 0x10;
// Longer names and targets are cut to one byte more than the longest allowed: enough to be refused.
inline constexpr std::size_t kNameKept = 256;
inline constexpr std::size_t kTargetKept = 4096;

}  // namespace duet::server::nfs3
