// DirectoryTree: the B+-tree of a directory's entries.
//
// A change has two steps.  find() and prepare_*() read all that the change needs and check
// it (kMiss, kCorrupt); insert(), remove() and retarget() then only change, within the same turn.
//
// Invariants:
//   (1) An entry's cookie never changes.
//   (2) All leaves are `level of the root` steps below the root; none is empty but the root.
//   (3) A root has at least two children, unless the other child was not held when it left.
//   (4) Blocks are: block 0, those of the tree, and those of the free chain; each once.
//
// Thread-safety: one thread.  Lives for one turn.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "operations/directory_blocks.h"
#include "operations/directory_node.h"
#include "wafl/directory_format.h"

namespace duet::wafl {

// The hash of names.  A mask other than ~0 makes collisions (tests).
struct NameHash {
  SipKey key{};
  std::uint64_t mask = ~std::uint64_t{0};
  [[nodiscard]] std::uint64_t cookie_base(std::string_view name) const {
    return directory_cookie_base(key, name) & mask;
  }
};

class DirectoryTree {
 public:
  struct Step {
    std::uint64_t block = 0;
    std::uint32_t slot = 0;  // the child gone to; in the leaf: the entry
  };
  // From the root to a leaf.
  struct Path {
    std::array<Step, kDirectoryLevelsMax + 1> steps{};
    std::uint32_t depth = 0;           // 0: the directory has no blocks yet
    std::uint64_t upper = kCookieEnd;  // cookies from here on are in later leaves
    Step& leaf() { return steps[depth - 1]; }
    [[nodiscard]] const Step& leaf() const { return steps[depth - 1]; }
  };
  struct Position {
    bool found = false;
    std::uint64_t cookie = 0;  // when not found: what a new entry of this name would get
    std::uint64_t inode = 0;   // when found
    std::uint8_t type = 0;
    Path path;  // to where it is, or would go
    std::uint64_t version = 0;
  };
  struct Change {
    Position position;
    std::uint32_t new_blocks = 0;
    bool grows = false;                // the root must get another level
    std::vector<std::uint64_t> spare;  // taken from the free chain
    std::uint64_t spare_next = 0;      // the chain's head behind those
    std::uint64_t dirties = 0;         // blocks that will change, new ones included
  };

  DirectoryTree(DirectoryBlocks& blocks, const NameHash& hash) : blocks_(blocks), hash_(hash) {}

  // Error: kMiss; kCorrupt; kNoSpace: no cookie is left for a name of this hash.
  Result<Position> find(std::string_view name);
  // True: no entry.  Error: kMiss, kCorrupt.
  Result<bool> empty();
  // Entries behind cookie `after`, in order, until `visit` returns false or the end (true).
  // Error: kMiss, kCorrupt.
  Result<bool> list(std::uint64_t after, const std::function<bool(const DirectoryRecord&)>& visit);

  // Error: kMiss; kCorrupt; kNoSpace (no level is left).
  Result<Change> prepare_insert(const Position& position, std::string_view name);
  Result<Change> prepare_remove(const Position& position);

  // REQUIRES: prepared in this turn, with no change since.
  void insert(const Change& change, std::string_view name, std::uint64_t inode, std::uint8_t type);
  // REQUIRES: prepared in this turn.  The tree may have changed since: the same name is found
  // again.
  void remove(const Change& change, std::string_view name);
  // REQUIRES: position.found, in this turn and with no change since.
  void retarget(const Position& position, std::uint64_t inode, std::uint8_t type);

 private:
  Result<NodeView> node_at(std::uint64_t index);
  // The same for a block that is about to change: its whole layout is checked.
  Result<NodeView> checked_node(std::uint64_t index);
  NodeView held_node(std::uint64_t index);
  Result<Path> descend(std::uint64_t cookie);
  void prefetch_leaves(std::uint64_t cookie);
  Status place_new(Position& position, std::uint64_t cookie, bool same_leaf);
  Status find_spare(Change& change);
  Status prepare_collapse(std::uint64_t child, Change& change);

  MutableBytes modify(std::uint64_t index);
  struct Fresh {
    std::uint64_t index;
    MutableBytes bytes;
  };
  Fresh take_block(const Change& change);
  void release_block(std::uint64_t index);
  void grow_root(const Change& change, Path& path);
  DirectoryChild split_leaf(const Change& change, const Path& path, ConstBytes record);
  DirectoryChild split_interior(const Change& change, const Path& path, std::uint32_t depth,
                                const DirectoryChild& added);
  void unlink_leaf(const Path& path);
  void collapse_root();
  void reset_to_empty();

  DirectoryBlocks& blocks_;
  NameHash hash_;
  std::uint64_t version_ = 0;
  std::size_t spare_used_ = 0;
};

}  // namespace duet::wafl
