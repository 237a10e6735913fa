#include "tree_writer.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tree_reader.h"

namespace duet::wafl {

namespace {

// The part of `leaves` with indexes in [from, to).
std::span<const DirtyLeaf> part(std::span<const DirtyLeaf> leaves, std::uint64_t from,
                                std::uint64_t to) {
  const auto at = [](const DirtyLeaf& leaf, std::uint64_t index) { return leaf.index < index; };
  const auto first = std::lower_bound(leaves.begin(), leaves.end(), from, at);
  const auto last = std::lower_bound(first, leaves.end(), to, at);
  return {first, last};
}

void set_child(MutableBytes content, std::size_t slot, const BlockPointer& pointer) {
  store(content, slot * sizeof(BlockPointer), pointer);
}

}  // namespace

BlockPointer TreeWriter::place(const BufferRef& buffer, std::uint32_t level, std::uint64_t offset) {
  if (used_blocks_ != nullptr) {
    ++*used_blocks_;
  }
  return context_.place(buffer, owner_, level, offset);
}

Task<Result<TreeRoot>> TreeWriter::update(TreeRoot old, std::uint64_t cut, Leaves leaves) {
  old_ = old;
  cut_ = cut;
  TreeRoot result = old;
  if (cut == 0 && !old.pointer.hole()) {
    co_await drop(old.pointer, old.height);
    old_ = result = TreeRoot{};
  }
  if (!leaves.empty()) {
    result.height =
        std::max(old_.pointer.hole() ? 0 : old_.height, height_for(leaves.back().index));
  }
  if (result.height > 0) {
    const Result<BlockPointer> top = co_await node(result.height, 0, old_.pointer, leaves);
    if (!top.ok()) {
      co_return top.error();
    }
    result.pointer = top.value();
  } else if (!leaves.empty()) {
    const Status prepared = co_await context_.allocator.prepare(1);
    if (!prepared.ok()) {
      co_return prepared.error();
    }
    if (!old_.pointer.hole()) {
      reclaimer_.free(old_.pointer);
    }
    result.pointer = place(leaves.front().buffer, 0, 0);
  }
  if (result.pointer.hole()) {
    result = TreeRoot{};
  }
  if (context_.due_for_pause()) {
    co_await context_.pause();
  }
  co_return result;
}

Task<Result<BlockPointer>> TreeWriter::node(std::uint32_t level, std::uint64_t base,
                                            BlockPointer old, Leaves leaves) {
  const bool growing = above_old_root(level, base);
  if (!growing && !old.hole() && base >= cut_) {
    co_await drop(old, level);
    old = BlockPointer{};
  }
  const bool cut_inside = !old.hole() && base + tree_capacity(level) > cut_;
  if (leaves.empty() && !growing && !cut_inside) {
    co_return old;
  }
  const BufferRef content = context_.state.pool.allocate_zeroed();
  if (growing) {
    set_child(content.mutable_bytes(), 0, level - 1 == old_.height ? old : BlockPointer{});
  } else if (!old.hole()) {
    const Result<BufferRef> present = co_await context_.get(old);
    if (present.ok()) {
      std::memcpy(content.mutable_bytes().data(), present.value().bytes().data(), kBlockBytes);
    } else if (owner_.kind == TreeKind::kDatasets) {
      co_return present.error();
    } else {
      fill_lost(level, base, content.mutable_bytes());
      context_.lost_subtrees += context_.leads_somewhere(old) ? 1 : 0;
      old = BlockPointer{};
    }
  }
  if (level == 1) {
    const Status written = co_await parent_of_leaves(base, content.mutable_bytes(), leaves);
    if (!written.ok()) {
      co_return written.error();
    }
  } else {
    const Status written = co_await parent_of_nodes(level, base, content.mutable_bytes(), leaves);
    if (!written.ok()) {
      co_return written.error();
    }
  }
  if (!old.hole() && !growing) {
    reclaimer_.free(old);
  }
  if (all_zero(content.bytes())) {
    co_return BlockPointer{};
  }
  const Status prepared = co_await context_.allocator.prepare(1);
  if (!prepared.ok()) {
    co_return prepared.error();
  }
  co_return place(content, level, base);
}

Task<Status> TreeWriter::parent_of_leaves(std::uint64_t base, MutableBytes content, Leaves leaves) {
  const Status prepared = co_await context_.allocator.prepare(leaves.size());
  if (!prepared.ok()) {
    co_return prepared;
  }
  for (std::uint64_t slot = cut_ > base ? cut_ - base : 0; slot < kFanOut; ++slot) {
    const BlockPointer child = child_pointer(content, slot);
    if (!child.hole()) {
      reclaimer_.free(child);
      set_child(content, slot, BlockPointer{});
    }
  }
  for (const DirtyLeaf& leaf : leaves) {
    const std::size_t slot = leaf.index - base;
    const BlockPointer child = child_pointer(content, slot);
    if (!child.hole()) {
      reclaimer_.free(child);
    }
    set_child(content, slot, place(leaf.buffer, 0, leaf.index));
  }
  if (context_.due_for_pause()) {
    co_await context_.pause();
  }
  co_return Ok{};
}

// The least harm: a CP that failed would fail at each start again, and holes would read as zeros.
void TreeWriter::fill_lost(std::uint32_t level, std::uint64_t base, MutableBytes content) {
  const std::uint64_t child_leaves = tree_capacity(level - 1);
  for (std::uint64_t slot = 0; slot < kFanOut; ++slot) {
    const bool inside = base + slot * child_leaves < std::min(cut_, end_);
    set_child(content, slot, inside ? context_.lost() : BlockPointer{});
  }
}

// Reads all children that will change at once, where the disk can work on them together.
// What fails is read again, by itself, where it is needed.
Task<void> TreeWriter::prefetch(std::uint32_t level, std::uint64_t base, ConstBytes content,
                                Leaves leaves) {
  const std::uint64_t child_leaves = tree_capacity(level - 1);
  Attempt attempt(*context_.state.aggregate);
  for (std::uint64_t slot = 0; slot < kFanOut; ++slot) {
    const std::uint64_t child_base = base + slot * child_leaves;
    const BlockPointer child = child_pointer(content, slot);
    if (context_.leads_somewhere(child) && child_base < cut_ &&
        (child_base + child_leaves > cut_ ||
         !part(leaves, child_base, child_base + child_leaves).empty())) {
      (void)get_block(attempt, child);
    }
  }
  if (attempt.missed()) {
    (void)co_await attempt.load();
  }
}

Task<Status> TreeWriter::parent_of_nodes(std::uint32_t level, std::uint64_t base,
                                         MutableBytes content, Leaves leaves) {
  co_await prefetch(level, base, content, leaves);
  const std::uint64_t child_leaves = tree_capacity(level - 1);
  for (std::uint64_t slot = 0; slot < kFanOut; ++slot) {
    const std::uint64_t child_base = base + slot * child_leaves;
    const Leaves below = part(leaves, child_base, child_base + child_leaves);
    BlockPointer child = child_pointer(content, slot);
    const bool growing = above_old_root(level - 1, child_base);
    const bool cut_inside = !child.hole() && child_base + child_leaves > cut_;
    if (below.empty() && !growing && !cut_inside) {
      continue;
    }
    if (growing) {
      child = old_.pointer;
    }
    const Result<BlockPointer> written = co_await node(level - 1, child_base, child, below);
    if (!written.ok()) {
      co_return written.error();
    }
    set_child(content, slot, written.value());
  }
  co_return Ok{};
}

Task<void> TreeWriter::drop(BlockPointer pointer, std::uint32_t height) {
  if (!context_.leads_somewhere(pointer) || (height >= 2 && reclaimer_.defer(pointer, height))) {
    co_return;
  }
  if (height > 0) {
    const Result<BufferRef> content = co_await context_.get(pointer);
    if (!content.ok()) {
      ++context_.leaked_subtrees;
      co_return;
    }
    for (std::size_t slot = 0; slot < kFanOut; ++slot) {
      const BlockPointer child = child_pointer(content.value().bytes(), slot);
      if (child.hole()) {
        continue;
      }
      if (height == 1) {
        reclaimer_.free(child);
        continue;
      }
      co_await drop(child, height - 1);
    }
  }
  reclaimer_.free(pointer);
}

}  // namespace duet::wafl
