// What REMOVE, RMDIR and RENAME share: a name leaves its directory.

#pragma once

#include <string_view>

#include "context.h"
#include "wafl/operations.h"

namespace duet::filer {

// Whether `who` may take `name` out of `directory`.
// Error: kNotDirectory, kAccess, kNotOwner (sticky), kNotFound (where it was looked for).
Status may_leave(Context& context, const Target& directory, const Identity& who,
                 std::string_view name);

}  // namespace duet::filer
