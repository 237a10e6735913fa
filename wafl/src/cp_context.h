// CpContext: what every part of one consistency point shares: its number, where it
// writes, what it allocated and freed.
//
// Thread-safety: the strand.

#pragma once

#include <cstdint>
#include <vector>

#include "aggregate_state.h"
#include "allocator.h"
#include "disk_set.h"
#include "platform/task.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

// Whose blocks a tree's are; goes into the owner map.
struct TreeOwner {
  TreeKind kind = TreeKind::kNone;
  std::uint32_t volume = 0;
  std::uint64_t inode = 0;
};

class CpContext {
 public:
  CpContext(AggregateState& aggregate, std::uint32_t number)
      : state(aggregate),
        cp(number),
        allocator(aggregate),
        writes(aggregate.scheduler, aggregate.disks, BlockOperation::Kind::kWrite) {}

  struct Allocation {
    std::uint64_t block;
    OwnerEntry owner;
  };

  AggregateState& state;
  const std::uint32_t cp;
  Allocator allocator;
  IoBatch writes;
  std::vector<Allocation> allocated;
  std::vector<std::uint64_t> freed;
  // Subtrees that could not be read: what was to be freed of them stays allocated.
  std::uint64_t leaked_subtrees = 0;
  // Indirect blocks of files that could not be read: what they led to is unreadable for good.
  std::uint64_t lost_subtrees = 0;

  // Gives `buffer` a block, starts to write it and lets the cache have it.
  // REQUIRES: allocator.prepared(1); the buffer does not change any more.
  BlockPointer place(const BufferRef& buffer, const TreeOwner& owner, std::uint32_t level,
                     std::uint64_t offset);

  // The block at `pointer`, from memory or disk, read with patience.  Error: kIo, kCorrupt.
  Task<Result<BufferRef>> get(BlockPointer pointer);

  // Frees the block with this CP.  False: the pointer leads nowhere, so there is nothing to free.
  bool free(const BlockPointer& pointer) {
    if (!leads_somewhere(pointer)) {
      return false;
    }
    freed.push_back(pointer.block());
    return true;
  }
  [[nodiscard]] bool leads_somewhere(const BlockPointer& pointer) const {
    return !pointer.hole() && pointer.block() < state.root.block_count;
  }
  // What stands for a block that was lost with what led to it: reading it fails.
  [[nodiscard]] BlockPointer lost() const { return {kLostBlock, cp, 0}; }

  // Lets clients have a turn, and disks catch up, after enough work was done without one.
  [[nodiscard]] bool due_for_pause() const { return placed_since_pause_ >= kPlacedPerTurn; }
  Task<void> pause();

 private:
  static constexpr std::uint64_t kLostBlock = 0xFFFF'FFFF'FFFF;  // behind any aggregate's end
  static constexpr std::uint32_t kPlacedPerTurn = 64;            // about 50 us of work
  static constexpr std::size_t kBlocksUnderWayMax = 8192;        // 32 MiB

  std::uint32_t placed_since_pause_ = 0;
};

// What becomes of a tree's blocks that nothing points to any more.
class Reclaimer {
 public:
  virtual ~Reclaimer() = default;
  // One block.
  virtual void free(const BlockPointer& pointer) = 0;
  // A subtree of two levels or more; false: it must be taken apart at once.
  virtual bool defer(const BlockPointer& pointer, std::uint32_t height) = 0;
};

// For trees that belong to no snapshot: their blocks are free with this CP.
class FreeAtOnce final : public Reclaimer {
 public:
  FreeAtOnce(CpContext& context, std::uint64_t* used_blocks)
      : context_(context), used_blocks_(used_blocks) {}
  void free(const BlockPointer& pointer) override {
    if (context_.free(pointer) && used_blocks_ != nullptr) {
      --*used_blocks_;
    }
  }
  bool defer(const BlockPointer& /*pointer*/, std::uint32_t /*height*/) override { return false; }

 private:
  CpContext& context_;
  std::uint64_t* used_blocks_;
};

// For a dataset's own trees: what an older snapshot still holds goes to the dead list, and
// what the origin of a clone holds is none of the clone's.
class ByBirth final : public Reclaimer {
 public:
  // `origin_cp`: of the snapshot that the volume is a clone of; 0: it is none.
  ByBirth(CpContext& context, std::uint32_t origin_cp, std::uint32_t cp_before,
          std::uint64_t& used_blocks, std::vector<BlockPointer>& dead,
          std::vector<ZombieEntry>& zombies)
      : context_(context),
        origin_cp_(origin_cp),
        cp_before_(cp_before),
        used_blocks_(used_blocks),
        dead_(dead),
        zombies_(zombies) {}
  void free(const BlockPointer& pointer) override {
    if (pointer.birth <= origin_cp_) {
      return;
    }
    if (pointer.birth > cp_before_) {
      used_blocks_ -= context_.free(pointer) ? 1 : 0;
    } else {
      dead_.push_back(pointer);
    }
  }
  bool defer(const BlockPointer& pointer, std::uint32_t height) override {
    if (pointer.birth > origin_cp_) {  // else all below it is the origin's too
      zombies_.push_back({.pointer = pointer, .height = height, .keep_birth = origin_cp_});
    }
    return true;
  }

 private:
  CpContext& context_;
  const std::uint32_t origin_cp_;
  const std::uint32_t cp_before_;
  std::uint64_t& used_blocks_;
  std::vector<BlockPointer>& dead_;
  std::vector<ZombieEntry>& zombies_;
};

}  // namespace duet::wafl
