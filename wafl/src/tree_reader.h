// Reading trees: from a root to the pointer of a leaf, without waiting.
//
// Thread-safety: the strand.

#pragma once

#include <cstdint>

#include "base/result.h"
#include "wafl/attempt.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

// Leaves that a tree of this height can hold.
[[nodiscard]] constexpr std::uint64_t tree_capacity(std::uint32_t height) {
  return std::uint64_t{1} << (8U * height);
}
// The least height whose capacity exceeds `index`.
[[nodiscard]] std::uint32_t height_for(std::uint64_t index);

// The pointer of leaf `index`; a hole where there is none.  Error: kMiss.
Result<BlockPointer> find_leaf(Attempt& attempt, const TreeRoot& root, std::uint64_t index);

// The clean block at `pointer`, pinned by the attempt.  REQUIRES: !pointer.hole().  Error: kMiss.
Result<BufferRef> get_block(Attempt& attempt, const BlockPointer& pointer);

// How many leaves there are in [from, to).  Error: kMiss.
Result<std::uint64_t> count_leaves(Attempt& attempt, const TreeRoot& root, std::uint64_t from,
                                   std::uint64_t to);

[[nodiscard]] inline BlockPointer child_pointer(ConstBytes indirect, std::size_t slot) {
  return load<BlockPointer>(indirect, slot * sizeof(BlockPointer));
}

}  // namespace duet::wafl
