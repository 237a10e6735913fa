// TreeWriter: brings one tree from its state in the last CP to that in this one.
//
// Bottom up and left to right, so that a file's blocks lie in the order of their offsets.
// The old tree stays readable: nothing of it is overwritten.
//
// Thread-safety: the strand; one CP.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cp_context.h"
#include "platform/task.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

struct DirtyLeaf {
  std::uint64_t index;
  BufferRef buffer;
};

class TreeWriter {
 public:
  // `used_blocks` grows by one for each block written; null: nobody counts.
  TreeWriter(CpContext& context, TreeOwner owner, Reclaimer& reclaimer, std::uint64_t* used_blocks)
      : context_(context), owner_(owner), reclaimer_(reclaimer), used_blocks_(used_blocks) {}

  // Leaves from here on are holes, also below a block that cannot be read.
  void set_end(std::uint64_t end) { end_ = end; }

  // The tree without its leaves at or behind `cut`, and with `leaves` (by index, ascending).
  // An indirect block that cannot be read does not stop it, but in the dataset file: what it led
  // to stays unreadable and allocated, and its other leaves stand in a new one.
  // Error: kNoSpace; of the dataset file kIo, kCorrupt.
  Task<Result<TreeRoot>> update(TreeRoot old, std::uint64_t cut, std::span<const DirtyLeaf> leaves);
  // Gives up a whole tree; what of it cannot be read stays allocated.
  Task<void> drop(BlockPointer pointer, std::uint32_t height);

 private:
  using Leaves = std::span<const DirtyLeaf>;
  Task<Result<BlockPointer>> node(std::uint32_t level, std::uint64_t base, BlockPointer old,
                                  Leaves leaves);
  Task<Status> parent_of_leaves(std::uint64_t base, MutableBytes content, Leaves leaves);
  Task<Status> parent_of_nodes(std::uint32_t level, std::uint64_t base, MutableBytes content,
                               Leaves leaves);
  Task<void> prefetch(std::uint32_t level, std::uint64_t base, ConstBytes content, Leaves leaves);
  void fill_lost(std::uint32_t level, std::uint64_t base, MutableBytes content);
  BlockPointer place(const BufferRef& buffer, std::uint32_t level, std::uint64_t offset);
  // Above the old root while the tree grows: the block does not exist yet.
  [[nodiscard]] bool above_old_root(std::uint32_t level, std::uint64_t base) const {
    return base == 0 && !old_.pointer.hole() && level > old_.height;
  }

  CpContext& context_;
  const TreeOwner owner_;
  Reclaimer& reclaimer_;
  std::uint64_t* used_blocks_;
  TreeRoot old_;
  std::uint64_t cut_ = 0;
  std::uint64_t end_ = ~std::uint64_t{0};
};

}  // namespace duet::wafl
