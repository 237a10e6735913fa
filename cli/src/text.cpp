#include "text.h"

#include <fmt/format.h>

#include <algorithm>

namespace duet::cli {

namespace {

bool numeric(const std::string& text) {
  return !text.empty() && (text == "-" || (text.front() >= '0' && text.front() <= '9'));
}

// To the right where everything below the title is a number.
std::vector<bool> right_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> right(rows.front().size(), rows.size() > 1);
  for (std::size_t row = 1; row < rows.size(); ++row) {
    for (std::size_t column = 0; column < right.size(); ++column) {
      right[column] = right[column] && numeric(rows[row][column]);
    }
  }
  return right;
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const std::vector<std::string>& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  const std::vector<bool> right = right_columns(rows);
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      line += right[column] ? fmt::format("{:>{}}  ", row[column], widths[column])
                            : fmt::format("{:<{}}  ", row[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line;
    text += '\n';
  }
  return text;
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(seconds);
  if (whole < 60) {
    return fmt::format("{:.0f} s", seconds);
  }
  if (whole < 3600) {
    return fmt::format("{} min {} s", whole / 60, whole % 60);
  }
  if (whole < 86'400) {
    return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  }
  return fmt::format("{} d {} h", whole / 86'400, whole / 3600 % 24);
}

std::string latency_text(double nanoseconds) {
  if (nanoseconds < 1e6) {
    return fmt::format("{:.0f} us", nanoseconds / 1e3);
  }
  return nanoseconds < 1e9 ? fmt::format("{:.1f} ms", nanoseconds / 1e6)
                           : fmt::format("{:.1f} s", nanoseconds / 1e9);
}

}  // namespace duet::cli
