#include "tree_difference.h"

#include "tree_reader.h"

namespace duet::wafl {

namespace {

using Found = Result<std::optional<FoundLeaf>>;

// The first leaf at or behind `at` that `finder` wants below `pointer`, of that level and base.
template <typename Finder>
Found find_below(Attempt& attempt, const BlockPointer& pointer, std::uint32_t level,
                 std::uint64_t base, std::uint64_t at, Finder& finder) {
  const Result<BufferRef> block = get_block(attempt, pointer);
  if (!block.ok()) {
    return block.error();
  }
  const std::uint64_t below = tree_capacity(level - 1);
  for (std::uint64_t slot = at > base ? (at - base) / below : 0; slot < kFanOut; ++slot) {
    Found found =
        finder.find(child_pointer(block.value().bytes(), slot), level - 1, base + slot * below);
    if (!found.ok() || found.value().has_value()) {
      return found;
    }
  }
  return std::optional<FoundLeaf>();
}

class Born {
 public:
  Born(Attempt& attempt, std::uint64_t at, std::uint32_t birth)
      : attempt_(attempt), at_(at), birth_(birth) {}

  Found find(const BlockPointer& pointer, std::uint32_t level, std::uint64_t base) {
    if (pointer.hole() || pointer.birth <= birth_) {
      return std::optional<FoundLeaf>();
    }
    if (level == 0) {
      return std::optional(FoundLeaf{base, pointer});
    }
    return find_below(attempt_, pointer, level, base, at_, *this);
  }

 private:
  Attempt& attempt_;
  const std::uint64_t at_;
  const std::uint32_t birth_;
};

class Difference {
 public:
  Difference(Attempt& attempt, const TreeRoot& after, std::uint64_t at, Differs differs)
      : attempt_(attempt), after_(after), at_(at), differs_(differs) {}

  Found find(const BlockPointer& before, std::uint32_t level, std::uint64_t base) {
    if (before.hole()) {
      return std::optional<FoundLeaf>();
    }
    const Result<BlockPointer> after = there_now(level, base);
    if (!after.ok()) {
      return after.error();
    }
    const bool same = after.value().word == before.word && after.value().birth == before.birth;
    if (same) {
      return std::optional<FoundLeaf>();
    }
    if (level == 0) {
      const bool wanted = differs_ == Differs::kChanged || after.value().hole();
      return wanted ? std::optional(FoundLeaf{base, before}) : std::nullopt;
    }
    return find_below(attempt_, before, level, base, at_, *this);
  }

 private:
  // The later tree's block of that level and place; a hole above its root.
  Result<BlockPointer> there_now(std::uint32_t level, std::uint64_t base) {
    if (level > after_.height || base >= tree_capacity(after_.height)) {
      return BlockPointer{};
    }
    BlockPointer pointer = after_.pointer;
    for (std::uint32_t at = after_.height; at > level && !pointer.hole(); --at) {
      const Result<BufferRef> block = get_block(attempt_, pointer);
      if (!block.ok()) {
        return block.error();
      }
      const std::size_t slot = (base >> (8U * (at - 1))) & (kFanOut - 1);
      pointer = child_pointer(block.value().bytes(), slot);
    }
    return pointer;
  }

  Attempt& attempt_;
  const TreeRoot& after_;
  const std::uint64_t at_;
  const Differs differs_;
};

bool holds(const TreeRoot& tree, std::uint64_t at) {
  return tree.height >= kHeightMax || at < tree_capacity(tree.height);
}

}  // namespace

Found next_born(Attempt& attempt, const TreeRoot& tree, std::uint64_t at, std::uint32_t birth) {
  if (!holds(tree, at)) {
    return std::optional<FoundLeaf>();
  }
  return Born(attempt, at, birth).find(tree.pointer, tree.height, 0);
}

Found next_difference(Attempt& attempt, const TreeRoot& before, const TreeRoot& after,
                      std::uint64_t at, Differs differs) {
  if (!holds(before, at)) {
    return std::optional<FoundLeaf>();
  }
  return Difference(attempt, after, at, differs).find(before.pointer, before.height, 0);
}

}  // namespace duet::wafl
