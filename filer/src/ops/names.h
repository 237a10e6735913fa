// Names in requests: what each kind of procedure says to those that no entry may have.

#pragma once

#include <string_view>

#include "base/result.h"

namespace duet::filer {

enum class NameUse : std::uint8_t {
  kMake,             // CREATE, MKDIR, SYMLINK, MKNOD, LINK
  kRemove,           // REMOVE
  kRemoveDirectory,  // RMDIR
  kRename,           // either name of RENAME
};

// "." and "..": kExists to make, kInvalid to remove or rename, and for RMDIR of ".." kExists
// (RFC 1813, 3.3.13).  ".snapshot": kExists to make, else kAccess.
// Error: also kInvalid (empty, '/', NUL), kNameTooLong.
Status check_entry_name(std::string_view name, NameUse use);

}  // namespace duet::filer
