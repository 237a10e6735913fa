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

// A subtree that lies wholly in the range is read once, and its count stands for it from then on:
// files are larger than memory.
Result<std::uint64_t> count_below(Attempt& attempt, const BlockPointer& pointer,
                                  std::uint32_t level, std::uint64_t from, std::uint64_t to);

Result<std::uint64_t> count_children(Attempt& attempt, ConstBytes content, std::uint32_t level,
                                     std::uint64_t from, std::uint64_t to) {
  const std::uint64_t child_leaves = tree_capacity(level - 1);
  std::uint64_t count = 0;
  bool missed = false;
  for (std::uint64_t slot = from / child_leaves; slot <= (to - 1) / child_leaves; ++slot) {
    const std::uint64_t base = slot * child_leaves;
    Result<std::uint64_t> below =
        count_below(attempt, child_pointer(content, slot), level - 1, from > base ? from - base : 0,
                    std::min(to - base, child_leaves));
    missed = missed || !below.ok();  // go on: name what else is missing
    count += below.ok() ? below.value() : 0;
    if (attempt.passing_full()) {
      missed = true;
      break;
    }
  }
  if (missed) {
    return Error{Errc::kMiss, "count_leaves"};
  }
  return count;
}

// Leaves in [from, to), both relative to the subtree at `pointer`.
Result<std::uint64_t> count_below(Attempt& attempt, const BlockPointer& pointer,
                                  std::uint32_t level, std::uint64_t from, std::uint64_t to) {
  if (pointer.hole() || from >= to) {
    return std::uint64_t{0};
  }
  if (level == 0) {
    return std::uint64_t{1};
  }
  const bool whole = from == 0 && to >= tree_capacity(level);
  if (const auto known = attempt.leaves_below(pointer); whole && known) {
    return *known;
  }
  Buffer* buffer = attempt.aggregate().state().cache.find(pointer);
  if (buffer == nullptr) {
    return attempt.miss_passing(pointer);
  }
  const BufferRef indirect(buffer);
  Result<std::uint64_t> count = count_children(attempt, indirect.bytes(), level, from, to);
  if (count.ok() && whole) {
    attempt.keep_leaves_below(pointer, count.value());
    for (std::size_t slot = 0; level > 1 && slot < kFanOut; ++slot) {
      attempt.forget_leaves_below(child_pointer(indirect.bytes(), slot));
    }
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
