// MapWriter: the block map, owner map and area map of a CP.
//
// The maps describe the very blocks that they are written to: to record an allocation a
// map block changes, must be written elsewhere, and so allocates.  Each map block is
// given its new place once; the more of them have one, the fewer new ones an allocation
// touches, so the circle closes.
//
//   touch every map block that an allocation or a free of this CP changes
//     -> a map block touched first allocates its new place and frees its old one
//     -> until no change is left; then checksums upwards, and write
//
// Thread-safety: the strand; one CP.

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "cp_context.h"
#include "platform/task.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

class MapWriter {
 public:
  // `roots`: of the last CP, turned into those of this one by finish().
  // `area_free`: as of the last CP, likewise.
  MapWriter(CpContext& context, DiskRoot& root, std::vector<std::uint32_t>& area_free);

  // Blocks in use for ever, without an owner; and: write every area's count (a new aggregate,
  // or a new disk).
  void occupy(std::uint64_t block) { occupied_.push_back(block); }
  void write_all_areas() { write_all_areas_ = true; }

  // Records everything that the context allocated and freed.
  // Error: kNoSpace, kIo, kCorrupt.
  Task<Status> finish();

  [[nodiscard]] std::int64_t free_delta() const { return free_delta_; }

 private:
  struct Node {
    BufferRef buffer;
    std::uint64_t block = 0;  // its new place
  };
  struct Map {
    TreeKind kind;
    TreeRoot* root;
    std::uint32_t height;
    std::array<std::map<std::uint64_t, Node>, kHeightMax + 1> levels;
  };

  // The map's leaf or indirect block, changed in this CP from now on.
  Task<Result<Node*>> touch(Map& map, std::uint32_t level, std::uint64_t index);
  Task<Result<BlockPointer>> old_pointer(Map& map, std::uint32_t level, std::uint64_t index);
  // The leaf touched last, if it is that one; else empty.
  [[nodiscard]] MutableBytes recent(std::size_t which, std::uint64_t leaf) const;
  Task<Status> touch_leaves(std::uint64_t block, bool owners);
  bool set_bit(std::uint64_t block, bool allocated);
  Task<Status> apply(std::uint64_t block, const OwnerEntry* owner, bool allocated);
  Task<Status> settle();
  // The checksums upwards; what is to be written, by its place.
  void complete(Map& map, std::map<std::uint64_t, BufferRef>& writes);

  CpContext& context_;
  std::vector<std::uint32_t>& area_free_;
  std::vector<std::uint64_t> occupied_;
  bool write_all_areas_ = false;
  std::size_t allocated_done_ = 0;
  std::size_t freed_done_ = 0;
  std::int64_t free_delta_ = 0;
  std::array<Map, 3> maps_;
  // The leaves touched last: changes come in runs.
  std::array<std::pair<std::uint64_t, Node*>, 3> recent_{};
};

}  // namespace duet::wafl
