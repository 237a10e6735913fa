// The version of this build, as programs and API tell it.

#pragma once

#include <string_view>

namespace duet::admin {

// Of project() in the top CMakeLists.txt.
[[nodiscard]] std::string_view version();

}  // namespace duet::admin
