// Allocator: which free blocks a CP writes to.
//
// It fills one area after the other, the emptiest first, each from its start to its end, so
// that what a CP writes is as sequential as the free space allows.
//
// On disks with stripes it gives those first that are free as a whole: writing one of them reads
// nothing.  It opens areas until it has found some, kLooksInVain of them in vain at most; only then
// single blocks are given, of the areas opened first.
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
#include <optional>
#include <vector>

#include "aggregate_state.h"
#include "base/result.h"
#include "platform/task.h"

namespace duet::wafl {

class Allocator {
 public:
  explicit Allocator(AggregateState& state);

  // Error: kNoSpace; kIo, kCorrupt.
  Task<Status> prepare(std::uint64_t blocks);
  [[nodiscard]] bool prepared(std::uint64_t blocks) const {
    return ready_ >= blocks && (in_stripes_ >= blocks || !searching_);
  }
  // REQUIRES: prepared.
  std::uint64_t take();

  // Blocks that can never be used: the reserved ones of each disk, in a new aggregate.
  void exclude(std::uint64_t block) { excluded_.push_back(block); }

  // Whether one of the blocks [first, end) was given, or is not free.  Of areas that were not
  // opened it knows nothing, and gave nothing.
  [[nodiscard]] bool holds(std::uint64_t first, std::uint64_t end) const;

 private:
  static constexpr int kLooksInVain = 16;  // reads of the block map, for one CP

  struct Area {
    std::uint64_t number = 0;
    std::vector<std::uint64_t> busy;  // one bit per block
    std::uint64_t cursor = 0;         // below it no single block is free
    std::uint64_t stripe_at = 0;      // what is given next of a stripe,
    std::uint64_t stripe_end = 0;     // and where that stripe ends
  };
  Task<Status> open_area();
  Task<Status> read_map(Area& area);
  [[nodiscard]] std::optional<std::uint64_t> best_area() const;
  // The next stripe from `from` on that lies in the area and is free, as blocks of the area.
  struct Stripe {
    std::uint64_t first, end;
  };
  [[nodiscard]] std::optional<Stripe> find_whole_stripe(const Area& area, std::uint64_t from) const;
  [[nodiscard]] std::uint64_t count_in_stripes(const Area& area) const;
  std::uint64_t take_of_stripe();
  std::uint64_t take_single();

  AggregateState& state_;
  std::vector<std::uint32_t> left_;  // free blocks of areas that were not opened
  std::vector<Area> areas_;          // opened; the last one is newest
  std::size_t striping_ = 0;         // stripes are taken from this one of them,
  std::size_t current_ = 0;          // and single blocks from this
  std::uint64_t ready_ = 0;          // free in areas_
  std::uint64_t in_stripes_ = 0;     // of those, in stripes that were free as a whole
  bool searching_;                   // there may be more of these in other areas
  int looks_left_ = kLooksInVain;
  std::vector<std::uint64_t> excluded_;
};

}  // namespace duet::wafl
