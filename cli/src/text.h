// How numbers and tables look to people.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace duet::cli {

// Rows of equal length, the first one the titles; columns aligned, numbers to the right.
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows);
[[nodiscard]] std::string grouped(std::uint64_t number);     // "1,234,567"
[[nodiscard]] std::string duration_text(double seconds);     // "3 min 12 s"
[[nodiscard]] std::string latency_text(double nanoseconds);  // "12 us"

}  // namespace duet::cli
