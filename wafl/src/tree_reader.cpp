#include "tree_reader.h"

#include <algorithm>

#include "aggregate_state.h"

namespace duet::wafl {

std::uint32_t height_for(std::uint64_t index) {
  std::uint32_t height = 0;
  while (height < kHeightMax && index >= tree_capacity(height)) {
    ++height;
  }
  return height;
}

Result<BufferRef> get_block(Attempt& attempt, const BlockPointer& pointer) {
  if (Buffer* buffer = attempt.aggregate().state().cache.find(pointer)) {
    return BufferRef(buffer);
  }
  return attempt.miss(pointer);
}

Result<BlockPointer> find_leaf(Attempt& attempt, const TreeRoot& root, std::uint64_t index) {
  BlockPointer pointer = root.pointer;
  if (pointer.hole() || (root.height < kHeightMax && index >= tree_capacity(root.height))) {
    return BlockPointer{};
  }
  for (std::uint32_t level = root.height; level > 0 && !pointer.hole(); --level) {
    Result<BufferRef> indirect = get_block(attempt, pointer);
    if (!indirect.ok()) {
      return indirect.error();
    }
    const std::size_t slot = (index >> (8U * (level - 1))) & (kFanOut - 1);
    pointer = child_pointer(indirect.value().bytes(), slot);
  }
  return pointer;
}

namespace {

// Leaves in [from, to), both relative to the subtree at `pointer`.
Result<std::uint64_t> count_below(Attempt& attempt, const BlockPointer& pointer,
                                  std::uint32_t level, std::uint64_t from, std::uint64_t to) {
  if (pointer.hole() || from >= to) {
    return std::uint64_t{0};
  }
  if (level == 0) {
    return std::uint64_t{1};
  }
  Result<BufferRef> indirect = get_block(attempt, pointer);
  if (!indirect.ok()) {
    return indirect.error();
  }
  const std::uint64_t child_leaves = tree_capacity(level - 1);
  std::uint64_t count = 0;
  bool missed = false;
  for (std::uint64_t slot = from / child_leaves; slot <= (to - 1) / child_leaves; ++slot) {
    const std::uint64_t base = slot * child_leaves;
    Result<std::uint64_t> below =
        count_below(attempt, child_pointer(indirect.value().bytes(), slot), level - 1,
                    from > base ? from - base : 0, std::min(to - base, child_leaves));
    missed = missed || !below.ok();  // go on: name everything that is missing at once
    count += below.ok() ? below.value() : 0;
  }
  if (missed) {
    return Error{Errc::kMiss, "count_leaves"};
  }
  return count;
}

}  // namespace

Result<std::uint64_t> count_leaves(Attempt& attempt, const TreeRoot& root, std::uint64_t from,
                                   std::uint64_t to) {
  return count_below(attempt, root.pointer, root.height, from,
                     std::min(to, tree_capacity(root.height)));
}

}  // namespace duet::wafl
