// What the two halves of Tree share: what is expected, and what would be learned.

#pragma once

#include <map>
#include <optional>
#include <string>

#include "world/tree.h"

namespace duet::world {

// What an answer must be.  Nodes are compared as they are after the operation.
struct Tree::Expected {
  filer::Failure error;
  bool changed = false;
  ObjectId object{};  // whose attributes the answer gives; zero: none
  bool handle = false;
  std::optional<filer::PreAttributes> first_before;
  std::optional<filer::PreAttributes> second_before;
  ObjectId first{};   // zero: no such attributes
  ObjectId second{};
  ObjectId directory{};
};

struct Tree::Lessons {
  std::map<ObjectId, std::string> handles;
  std::map<ObjectId, std::uint64_t> fileids;
  std::map<ObjectId, std::pair<std::uint64_t, std::uint64_t>> directories;
  std::map<std::pair<ObjectId, std::string>, std::uint64_t> cookies;
  std::optional<std::uint64_t> fsid;
};

}  // namespace duet::world
