// The version of this build, as programs and API tell it.

#pragma once

#include <string_view>

namespace duet::admin {

inline constexpr std::string_view kVersion = "0.1.0";  // as in CMakeLists.txt at the top

}  // namespace duet::admin
