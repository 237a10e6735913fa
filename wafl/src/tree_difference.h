// Walking trees by what changed, without waiting.
//
// Thread-safety: the strand.

#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "wafl/attempt.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

struct FoundLeaf {
  std::uint64_t index = 0;
  BlockPointer pointer;
};

// The first leaf at or behind `at` that was born after CP `birth`.  Error: kMiss.
Result<std::optional<FoundLeaf>> next_born(Attempt& attempt, const TreeRoot& tree, std::uint64_t at,
                                           std::uint32_t birth);

enum class Differs : std::uint8_t {
  kChanged,  // another block is there now, or none
  kGone,     // none is there now
};
// The first leaf of `before` at or behind `at` that differs in `after`, a later state of the same
// file.  What they share is not read.  Error: kMiss.
Result<std::optional<FoundLeaf>> next_difference(Attempt& attempt, const TreeRoot& before,
                                                 const TreeRoot& after, std::uint64_t at,
                                                 Differs differs);

}  // namespace duet::wafl
