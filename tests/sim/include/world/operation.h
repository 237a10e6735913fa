// Operation and Answer: a request to a filer and what came back, owning all their bytes, in one
// form for every procedure and for both ways to the filer (its API, and RPC).

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "filer/request.h"

namespace duet::world {

enum class Kind : std::uint8_t {
  kGetattr,
  kSetattr,
  kLookup,
  kAccess,
  kReadlink,
  kRead,
  kWrite,
  kCreate,
  kMake,  // MKDIR, SYMLINK, MKNOD: by type
  kRemove,
  kRmdir,
  kRename,
  kLink,
  kReaddir,
  kFsstat,
  kCommit,
};
[[nodiscard]] std::string_view kind_name(Kind kind);

struct Operation {
  Kind kind = Kind::kGetattr;
  std::string handle;   // the object, or the (first) directory
  std::string handle2;  // RENAME: the second directory; LINK: the directory
  std::string name;
  std::string name2;  // RENAME; SYMLINK: the target
  filer::SetAttributes changes;
  std::optional<wafl::Timestamp> guard;
  std::uint64_t offset = 0;
  std::uint32_t count = 0;   // READ
  std::uint32_t wanted = 0;  // ACCESS
  std::string data;          // WRITE
  filer::CreateMode mode = filer::CreateMode::kUnchecked;
  std::uint64_t verifier = 0;  // exclusive CREATE; READDIR's cookie verifier
  wafl::FileType type = wafl::FileType::kDirectory;
  wafl::Device device;
  std::uint64_t cookie = 0;
  std::uint32_t bytes_max = 0;
  std::uint32_t reply_bytes_max = 0;
  bool plus = false;
};

// Whether a retry must get the first reply: the server keeps it.
[[nodiscard]] bool reply_is_kept(const Operation& operation);
// Whether it may change anything at all.
[[nodiscard]] bool changes_something(Kind kind);
// For messages.
[[nodiscard]] std::string text_of(const Operation& operation);
[[nodiscard]] std::string text_of(const filer::Failure& failure);

struct Answer {
  filer::Failure error;
  std::optional<std::string> handle;    // LOOKUP, CREATE...
  filer::PostAttributes attributes;     // of the object
  filer::PostAttributes directory;      // LOOKUP, READDIR: of the directory
  filer::WccData first;
  filer::WccData second;
  std::string data;  // READ; READLINK: the target
  bool end = false;  // READ, READDIR
  std::uint32_t count = 0;
  std::uint32_t access = 0;
  std::uint64_t verifier = 0;
  std::vector<filer::ReaddirEntry> entries;
};

}  // namespace duet::world
