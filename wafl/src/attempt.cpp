#include "wafl/attempt.h"

#include <algorithm>

#include "aggregate_state.h"
#include "disk_set.h"

namespace duet::wafl {

namespace {

struct Wanted {
  BlockPointer pointer;
  bool passing;
  BufferRef buffer;
};

// Lets others see that these blocks are no longer being read, however the load ends.
class LoadingMarks {
 public:
  explicit LoadingMarks(AggregateState& state) : state_(state) {}
  ~LoadingMarks() {
    for (const std::uint64_t block : blocks_) {
      state_.loading.erase(block);
    }
    // Those that only waited wake nobody: two of them would wake each other without end.
    if (!blocks_.empty()) {
      state_.load_done.wake_all();
    }
  }
  LoadingMarks(const LoadingMarks&) = delete;
  LoadingMarks& operator=(const LoadingMarks&) = delete;
  // False: somebody reads it already.
  bool mark(std::uint64_t block) {
    if (!state_.loading.insert(block).second) {
      return false;
    }
    blocks_.push_back(block);
    return true;
  }

 private:
  AggregateState& state_;
  std::vector<std::uint64_t> blocks_;
};

}  // namespace

Task<Status> Attempt::load() {
  AggregateState& state = aggregate_.state();
  std::vector<Missing> missing = std::move(missing_);
  missing_.clear();
  passing_missing_ = 0;
  std::vector<BufferRef>& passing = passing_[loads_++ % kPassingLoads];
  passing.clear();
  std::ranges::sort(missing, {}, [](const Missing& m) {
    return std::pair(m.pointer.block(), m.passing);  // what must stay goes before what may go
  });

  // Before the first transfer starts: nothing may be left under way.
  if (!missing.empty() && missing.back().pointer.block() >= state.disks.block_count()) {
    co_return Error{Errc::kCorrupt, "a pointer leads behind the end of the aggregate"};
  }
  std::vector<Wanted> wanted;
  LoadingMarks marks(state);
  IoBatch reads(state.scheduler, state.disks, BlockOperation::Kind::kRead);
  bool others = false;
  std::uint64_t previous = 0;
  for (const auto& [pointer, passes] : missing) {
    if (pointer.block() == std::exchange(previous, pointer.block())) {
      continue;
    }
    if (!marks.mark(pointer.block())) {
      others = true;
      continue;
    }
    wanted.push_back({pointer, passes, state.pool.allocate()});
    reads.add(pointer.block(), wanted.back().buffer);
  }
  const Status read = co_await reads.finish();
  if (!read.ok()) {
    co_return read;
  }
  for (Wanted& block : wanted) {
    if (crc32c(block.buffer.bytes()) == block.pointer.checksum) {
      state.cache.insert(block.buffer, block.pointer.block(), block.pointer.birth);
      (block.passing ? passing : held_).push_back(std::move(block.buffer));
    } else if (std::ranges::find(suspects_, block.pointer) != suspects_.end()) {
      co_return Error{Errc::kCorrupt, "a block's checksum is wrong"};
    } else {
      // A CP may have given the block to others meanwhile: the next try walks the new tree, and
      // comes back to this pointer only if the block is really damaged.
      suspects_.push_back(block.pointer);
    }
  }
  if (wanted.empty() && others) {
    co_await state.load_done.wait();
  }
  co_return Ok{};
}

}  // namespace duet::wafl
