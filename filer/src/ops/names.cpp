#include "names.h"

#include "snapshot_directory.h"
#include "wafl/operations.h"

namespace duet::filer {

Status check_entry_name(std::string_view name, NameUse use) {
  const bool dot = name == ".";
  const bool dot_dot = name == "..";
  if (dot || dot_dot) {
    const bool exists = use == NameUse::kMake || (use == NameUse::kRemoveDirectory && dot_dot);
    return Error{exists ? Errc::kExists : Errc::kInvalid, "name: . and .. stay as they are"};
  }
  if (Status valid = wafl::check_name(name); !valid.ok()) {
    return valid;
  }
  if (name == kSnapshotDirectoryName) {
    return Error{use == NameUse::kMake ? Errc::kExists : Errc::kAccess,
                 "name: .snapshot is the server's"};
  }
  return Ok{};
}

}  // namespace duet::filer
