#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "config/config.h"

namespace duet::config {

namespace {

using Unit = std::pair<std::string_view, std::uint64_t>;

constexpr std::array<Unit, 4> kSizes{
    {{"KiB", 1ULL << 10U}, {"MiB", 1ULL << 20U}, {"GiB", 1ULL << 30U}, {"TiB", 1ULL << 40U}}};
constexpr std::array<Unit, 4> kDurations{
    {{"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"min", 60'000'000'000}}};

// A whole number, perhaps a space, a unit; at most 2^60 of the smallest.
std::optional<std::uint64_t> parse_units(std::string_view text, std::span<const Unit> units) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(' ')) {
    text.remove_prefix(1);
  }
  for (const auto& [name, factor] : units) {
    if (text == name) {
      return number <= (1ULL << 60U) / factor ? std::optional(number * factor) : std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) { return parse_units(text, kSizes); }

std::optional<Duration> parse_duration(std::string_view text) {
  const std::optional<std::uint64_t> nanoseconds = parse_units(text, kDurations);
  if (!nanoseconds) {
    return std::nullopt;
  }
  return Duration(static_cast<std::int64_t>(*nanoseconds));
}

std::string size_text(std::uint64_t bytes) {
  if (bytes < 1024) {
    return fmt::format("{} B", bytes);
  }
  std::size_t unit = 0;
  while (unit + 1 < kSizes.size() && bytes >= kSizes[unit + 1].second) {
    ++unit;
  }
  const auto& [name, factor] = kSizes[unit];
  if (bytes % factor == 0) {
    return fmt::format("{} {}", bytes / factor, name);
  }
  return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(factor), name);
}

}  // namespace duet::config
