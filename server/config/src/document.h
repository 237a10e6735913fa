// A YAML document as a tree of values with lines: all that the rest of the folder sees of yaml-cpp.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace duet::config {

struct Value {
  enum class Kind { kNothing, kScalar, kList, kMap };
  Kind kind = Kind::kNothing;
  int line = 0;
  std::string key;  // of an entry of a map
  int key_line = 0;
  std::string scalar;
  std::vector<Value> items;  // of a list, or the entries of a map
};

// Error: not YAML, several documents, a key twice, or beyond the bounds of parse().
Outcome<Value> read_document(std::string_view text, std::string_view file);

}  // namespace duet::config
