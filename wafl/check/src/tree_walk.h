// TreeWalk: the leaves of one tree, in order, with every block on the way checked.
//
// Work is bounded whatever the bytes say: in a walk that marks, a block that was reached before
// is a problem and is not followed; in one that only looks, a block is followed only at
// the one place that the owner map gives it.  And no path is longer than kHeightMax.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "image.h"

namespace duet::wafl {

enum class LeafReads : std::uint8_t {
  kNone,
  kNew,  // those that no older snapshot has
  kAll,
};

struct WalkRules {
  TreeKind kind = TreeKind::kNone;
  std::uint32_t volume = 0;
  std::uint64_t inode = 0;
  // Blocks born at or before this CP were reached with an older snapshot.
  std::uint32_t shared_birth = 0;
  // Whether to go on below such blocks (their leaves are given too), or to pass them by.
  bool into_shared = false;
  // Blocks born at or before this CP are somebody else's and passed by without a look (zombies).
  std::uint64_t keep_birth = 0;
  std::uint32_t birth_max = 0;  // the birth of what points to the tree
  LeafReads reads = LeafReads::kNew;
  // False: only look; what is wrong was reported by the walk that marked.
  bool mark = true;
  // Where the tree begins in its file, for parts of trees; and whether to take that and the
  // inode from the owner map, when nobody else knows.
  std::uint64_t base = 0;
  bool place_from_owner = false;
};

struct Leaf {
  std::uint64_t index = 0;
  BlockPointer pointer;
  bool shared = false;
  ConstBytes bytes;  // empty: not read, or unreadable; valid until the next step
};

class TreeWalk {
 public:
  TreeWalk(Image& image, TreeRoot root, const WalkRules& rules, std::string where);

  // The next leaf, or the end.
  Task<std::optional<Leaf>> next();

  // Of the blocks above the leaves too: called for each that is shared, before its leaves.
  // Set before the first next().
  std::function<void(const BlockPointer&)> on_shared;

 private:
  struct Level {
    CheckBlockRef block;
    std::uint64_t base = 0;  // index of the first leaf below
    std::uint32_t birth = 0;
    std::uint32_t slot = 0;
  };
  enum class Verdict : std::uint8_t { kPass, kNew, kShared };

  Task<Verdict> judge(BlockPointer pointer, std::uint32_t level, std::uint64_t offset,
                      std::uint32_t birth_max);
  Task<Verdict> judge_shared(BlockPointer pointer, std::uint32_t level, std::uint64_t offset);
  bool possible(const BlockPointer& pointer, std::uint32_t birth_max);
  [[nodiscard]] bool owner_fits(const OwnerEntry& owner, const BlockPointer& pointer,
                                std::uint32_t level, std::uint64_t offset) const;
  Task<void> descend(BlockPointer pointer, std::uint64_t offset, bool shared);
  Task<Leaf> leaf_at(BlockPointer pointer, std::uint64_t index, bool shared);
  Task<ConstBytes> read_leaf(BlockPointer pointer);
  std::uint64_t run_length(const BlockPointer& pointer) const;
  void report(ProblemKind kind, const BlockPointer& pointer, std::string_view what);

  Image& image_;
  const TreeRoot root_;
  WalkRules rules_;
  const std::string where_;
  bool begun_ = false;
  std::vector<Level> stack_;  // the top block first
  CheckBlockRef held_;        // of the leaf that was given last
  // Neighbouring leaves read at once.
  std::unique_ptr<std::array<CheckBlock, 64>> run_;
  std::uint64_t run_block_ = 0;
  std::uint64_t run_blocks_ = 0;
};

}  // namespace duet::wafl
