// What the tests of the configuration share: a good file with something else in it, and what is
// said of it.

#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>

#include "config/config.h"

namespace duet::config::testing {

// `in` with the first `from` replaced by `to`.
inline std::string replaced(std::string_view in, std::string_view from, std::string_view to) {
  std::string text(in);
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

inline std::string refusal(std::string_view text) {
  const Outcome<Config> outcome = parse(text, "d.yaml");
  return outcome.ok() ? "accepted" : outcome.error().text();
}

// A good file in which `to` stands for `from`, and why it is refused.
struct BadFile {
  std::string from, to, message;
  friend void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.message; }
};

}  // namespace duet::config::testing
