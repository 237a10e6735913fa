// Requests and replies as the filer knows them: NFSv3's, without their wire form.
//
// A request borrows bytes (names, data) from the connection's receive buffer; they stay
// valid until its reply has been given.  Field names follow RFC 1813.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "wafl/operations.h"
#include "wafl/types.h"

namespace duet::filer {

// An IPv6 address; IPv4 as ::ffff:a.b.c.d.
using Address = std::array<std::uint8_t, 16>;

struct Credentials {
  static constexpr std::size_t kGroupsMax = 16;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t group_count = 0;
  std::array<std::uint32_t, kGroupsMax> groups{};
  bool anonymous = false;  // AUTH_NONE: ids mean nothing, the export's anonymous ids apply
};

// Who asks, and how a retry of the same request is known.
struct Caller {
  Address address{};
  std::uint16_t port = 0;
  Credentials credentials;
  std::uint32_t xid = 0;
  std::uint32_t procedure = 0;   // of NFSv3
  std::uint32_t checksum = 0;    // CRC-32C of the encoded arguments
};

inline constexpr std::size_t kHandleBytesMax = 64;
struct Handle {
  std::uint32_t size = 0;
  std::array<std::byte, kHandleBytesMax> data{};
  [[nodiscard]] ConstBytes bytes() const { return {data.data(), size}; }
};

struct FileAttributes {  // fattr3
  wafl::Attributes attributes;
  std::uint64_t fsid = 0;
  std::uint64_t fileid = 0;
};
using PostAttributes = std::optional<FileAttributes>;  // post_op_attr
struct PreAttributes {                                 // wcc_attr
  std::uint64_t size_bytes = 0;
  wafl::Timestamp mtime{};
  wafl::Timestamp ctime{};
};
struct WccData {
  std::optional<PreAttributes> before;
  PostAttributes after;
};

// sattr3: unset members do not change.
enum class SetTime : std::uint8_t { kDontChange, kServerTime, kClientTime };
struct SetAttributes {
  std::optional<std::uint32_t> mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::optional<std::uint64_t> size_bytes;
  SetTime set_atime = SetTime::kDontChange;
  SetTime set_mtime = SetTime::kDontChange;
  wafl::Timestamp atime{};
  wafl::Timestamp mtime{};
};

// A reply's error; nullopt: success.  The members that RFC 1813 gives in the failed case are
// filled in too.
using Failure = std::optional<Errc>;

struct GetattrReply { Failure error; FileAttributes attributes; };

struct SetattrRequest {
  ConstBytes handle;
  SetAttributes changes;
  std::optional<wafl::Timestamp> guard_ctime;
};
struct WccReply { Failure error; WccData wcc; };  // SETATTR, REMOVE, RMDIR

struct NameRequest { ConstBytes directory; std::string_view name; };  // LOOKUP, REMOVE, RMDIR
struct LookupReply {
  Failure error;
  Handle handle;
  PostAttributes attributes;
  PostAttributes directory;
};

struct AccessReply { Failure error; PostAttributes attributes; std::uint32_t access = 0; };
struct ReadlinkReply { Failure error; PostAttributes attributes; std::string target; };

struct ReadRequest { ConstBytes handle; std::uint64_t offset = 0; std::uint32_t count = 0; };
struct ReadReply { Failure error; PostAttributes attributes; wafl::ReadResult data; };

struct WriteRequest {
  ConstBytes handle;
  std::uint64_t offset = 0;
  std::span<const ConstBytes> data;  // as it lies in the receive buffer
};
struct WriteReply { Failure error; WccData wcc; std::uint32_t count = 0; };  // always FILE_SYNC

enum class CreateMode : std::uint8_t { kUnchecked, kGuarded, kExclusive };
struct CreateRequest {
  ConstBytes directory;
  std::string_view name;
  CreateMode mode = CreateMode::kUnchecked;
  SetAttributes attributes;            // not for kExclusive
  std::uint64_t verifier = 0;          // kExclusive
};
// MKDIR, SYMLINK and MKNOD.
struct MakeRequest {
  ConstBytes directory;
  std::string_view name;
  wafl::FileType type = wafl::FileType::kDirectory;
  SetAttributes attributes;
  std::string_view target;             // symbolic links
  wafl::Device device;
};
struct CreateReply {
  Failure error;
  std::optional<Handle> handle;
  PostAttributes attributes;
  WccData directory;
};

struct RenameRequest {
  ConstBytes from_directory;
  std::string_view from_name;
  ConstBytes to_directory;
  std::string_view to_name;
};
struct RenameReply { Failure error; WccData from; WccData to; };

struct LinkRequest { ConstBytes handle; ConstBytes directory; std::string_view name; };
struct LinkReply { Failure error; PostAttributes attributes; WccData directory; };

struct ReaddirRequest {
  ConstBytes directory;
  std::uint64_t cookie = 0;
  std::uint64_t verifier = 0;
  std::uint32_t bytes_max = 0;      // READDIR count, READDIRPLUS dircount
  std::uint32_t reply_bytes_max = 0;  // READDIRPLUS maxcount; 0 for READDIR
  bool plus = false;
};
struct ReaddirEntry {
  std::uint64_t fileid = 0;
  std::uint64_t cookie = 0;
  std::string name;
  PostAttributes attributes;        // READDIRPLUS
  std::optional<Handle> handle;     // READDIRPLUS
};
struct ReaddirReply {
  Failure error;
  PostAttributes directory;
  std::uint64_t verifier = 0;
  std::vector<ReaddirEntry> entries;  // as many as fit the limits in the XDR of RFC 1813
  bool end = false;
};

struct FsstatReply {
  Failure error;
  PostAttributes attributes;
  std::uint64_t total_bytes = 0, free_bytes = 0, available_bytes = 0;
  std::uint64_t total_files = 0, free_files = 0, available_files = 0;
};
struct FsinfoReply { Failure error; PostAttributes attributes; };    // the rest is constant: server/nfs3
struct PathconfReply { Failure error; PostAttributes attributes; };
struct CommitRequest { ConstBytes handle; std::uint64_t offset = 0; std::uint32_t count = 0; };
struct CommitReply { Failure error; WccData wcc; };

// MOUNT.
struct MountReply { Failure error; Handle handle; };  // kNotFound, kAccess, kNotDirectory
struct ExportLine { std::string path; std::vector<std::string> clients; };

}  // namespace duet::filer
