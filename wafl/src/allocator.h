// Allocator: which free blocks a CP writes to.
//
// It fills one area after the other, the emptiest first, each from its start to its end, so
// that what a CP writes is as sequential as the free space allows.  Of an area on disks with
// stripes it gives the stripes first that are free as a whole: writing one of them reads nothing.
//
// Only blocks that are free in the committed CP are given, each once: a block freed by
// the running CP is not among them before that CP is durable (I2).
//
//   co_await allocator.prepare(n);  // may read a block of the block map
//   block = allocator.take();       // n times
//
// Thread-safety: the strand; used by the running CP only.

#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "aggregate_state.h"
#include "base/result.h"
#include "platform/task.h"

namespace duet::wafl {

class Allocator {
 public:
  explicit Allocator(AggregateState& state) : state_(state), left_(state.area_free) {}

  // Error: kNoSpace; kIo, kCorrupt.
  Task<Status> prepare(std::uint64_t blocks);
  [[nodiscard]] bool prepared(std::uint64_t blocks) const { return ready_ >= blocks; }
  // REQUIRES: prepared.
  std::uint64_t take();

  // Blocks that can never be used: the reserved ones of each disk, in a new aggregate.
  void exclude(std::uint64_t block) { excluded_.push_back(block); }

 private:
  struct Area {
    std::uint64_t number = 0;
    std::vector<std::uint64_t> busy;  // one bit per block
    std::uint64_t cursor = 0;
    std::uint64_t stripe_end = 0;  // up to here the cursor is in a stripe that was free
    bool whole_stripes = false;    // there may be more of them from the cursor on
  };
  Task<Status> open_area();
  bool find_whole_stripe(Area& area) const;

  AggregateState& state_;
  std::vector<std::uint32_t> left_;  // free and not yet taken, or being given out; per area
  std::vector<Area> areas_;          // opened; the last one is newest
  std::size_t current_ = 0;
  std::uint64_t ready_ = 0;  // free in areas_ from current_ on
  std::vector<std::uint64_t> excluded_;
};

}  // namespace duet::wafl
