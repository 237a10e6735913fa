// What the verbs of operators on a group's disks share.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "groups/managed_group.h"

namespace duet::groups {

// Whether this is the path of the disk: as written, or as shown.
[[nodiscard]] bool is_called(const Slot& slot, std::string_view path);
// What the group says against the disk, for people, with a remedy.
[[nodiscard]] std::string refusal_of(const Error& error, const std::string& path);
// How large a virtual disk the group still has room for, behind why it has none for a larger one.
[[nodiscard]] std::string room_text(const raid::GroupLabel& label);

}  // namespace duet::groups
