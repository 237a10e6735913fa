// The version of this build, as programs and API tell it.

#pragma once

#include <string_view>

namespace duet::admin {

inline constexpr std::string_view kVersion =
    DUET_VERSION;  // of project() in the top CMakeLists.txt

}  // namespace duet::admin
