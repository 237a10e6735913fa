// One step along a path; LOOKUP and MOUNT take it.

#pragma once

#include <string_view>

#include "context.h"

namespace duet::filer {

// Goes from the directory `target` to `name` in it.  Changes nothing when it fails.
// Error: kNotDirectory, kAccess, kNotFound, kInvalid, kNameTooLong, kMiss.
Status step(Context& context, Target& target, std::string_view name);

[[nodiscard]] Handle target_handle(const Context& context, const Target& target);

}  // namespace duet::filer
