// Replies of the administration interface, and what its requests hold, as docs/ADMIN_API.md says.
//
// Thread-safety: any thread.

#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "admin/api.h"

namespace duet::admin {

using Json = nlohmann::json;

[[nodiscard]] Response reply(const Json& json, int status = 200);
// {"error": {"code", "message", "remedy"}}.
[[nodiscard]] Response refusal(int status, std::string_view code, std::string_view message,
                               std::string_view remedy = "");
[[nodiscard]] Response not_found();
[[nodiscard]] Response wrong_method();

// None: not there, or of another type.
[[nodiscard]] std::optional<std::string> text_member(const Json& json, const char* key);
[[nodiscard]] std::optional<std::uint64_t> number_member(const Json& json, const char* key);

}  // namespace duet::admin
