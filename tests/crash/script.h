// Script: a small workload that touches every operation, one step after the other.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "world/operation.h"

namespace duet::crash {

// Handles by the names that the script gives them; the root is "/".
using Handles = std::map<std::string, std::string>;

// Something that the operator does.
struct Administration {
  enum class Kind : std::uint8_t {
    kCp,
    kCreateSnapshot,
    kDeleteSnapshot,
    kRenameSnapshot,
    kRestoreSnapshot,
    kCreateVolume,
    kRenameVolume,
    kLimitVolume,
    kDestroyVolume,
    kSetExports,
    kReceive,      // snapshot `name`, from `name2` on if that is given, into the volume "r"
    kCloneVolume,  // of snapshot `name`, to `name2`; its root's handle is "name2:/"
  };
  Kind kind = Kind::kCp;
  std::string volume;  // whose snapshot it is about
  std::string name;
  std::string name2;
};

struct Step {
  std::string volume = "vol0";
  std::function<world::Operation(const Handles&)> operation;  // empty: administration
  std::string remember;                                       // the name of the new handle
  Administration administration;
};

[[nodiscard]] std::vector<Step> script();

}  // namespace duet::crash
