#include "wafl/attempt.h"

#include <algorithm>

#include "aggregate_state.h"
#include "disk_set.h"
#include "heal.h"
#include "platform/wait.h"

namespace duet::wafl {

namespace {

struct Wanted {
  BlockPointer pointer;
  bool passing;
  std::uint32_t found_in;
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

Error Attempt::miss(const BlockPointer& pointer, bool passing) {
  missing_.push_back({pointer, passing, aggregate_.state().root.cp});
  return Error{Errc::kMiss, "a block must be read first"};
}

bool Attempt::leads_nowhere() const {
  const std::uint64_t end = aggregate_.state().disks.block_count();
  return std::ranges::any_of(missing_,
                             [end](const Missing& m) { return m.pointer.block() >= end; });
}

Task<Status> Attempt::load() {
  AggregateState& state = aggregate_.state();
  const bool nowhere = leads_nowhere();
  std::vector<Missing> missing = std::move(missing_);
  missing_.clear();
  passing_missing_ = 0;
  std::vector<BufferRef>& passing = passing_[loads_++ % kPassingLoads];
  passing.clear();
  std::ranges::sort(missing, {}, [](const Missing& m) {
    return std::pair(m.pointer.block(), m.passing);  // what must stay goes before what may go
  });

  // Before the first transfer starts: nothing may be left under way.
  if (nowhere) {
    co_return Error{Errc::kCorrupt, "a pointer leads behind the end of the aggregate"};
  }
  std::vector<Wanted> wanted;
  LoadingMarks marks(state);
  IoBatch reads(state.scheduler, state.disks, BlockOperation::Kind::kRead);
  bool others = false;
  std::uint64_t previous = 0;
  for (const auto& [pointer, passes, found_in] : missing) {
    if (pointer.block() == std::exchange(previous, pointer.block())) {
      continue;
    }
    if (!marks.mark(pointer.block())) {
      others = true;
      continue;
    }
    wanted.push_back({pointer, passes, found_in, state.pool.allocate()});
    reads.add(pointer.block(), wanted.back().buffer);
  }
  // What came whole is kept, whatever became of the others.
  Status read = co_await reads.finish();
  const bool all_read = read.ok();
  bool all_right = true;
  for (Wanted& block : wanted) {
    bool right = crc32c(block.buffer.bytes()) == block.pointer.checksum;
    if (!right) {
      right = co_await heal(state, block.pointer, block.found_in, block.buffer.mutable_bytes());
    }
    all_right = all_right && right;
    if (right) {
      state.cache.insert(block.buffer, block.pointer.block(), block.pointer.birth);
      (block.passing ? passing : held_).push_back(std::move(block.buffer));
    } else if (!all_read) {
      continue;  // perhaps it was not read at all
    } else if (std::ranges::find(suspects_, block.pointer) != suspects_.end()) {
      read = Error{Errc::kCorrupt, "a block's checksum is wrong"};
    } else {
      // A CP may have given the block to others meanwhile: the next try walks the new tree, and
      // comes back to this pointer only if the block is really damaged.
      suspects_.push_back(block.pointer);
    }
  }
  if (!read.ok() && !all_right) {
    co_return read;
  }
  if (wanted.empty() && others) {
    co_await state.load_done.wait();
  }
  co_return Ok{};
}

Task<Status> Attempt::load_patiently() {
  const bool in_vain = leads_nowhere();
  const Status loaded = co_await load();
  if (loaded.ok() || in_vain || ++failures_ == kFailuresMax) {
    co_return loaded;
  }
  co_await sleep(aggregate_.state().scheduler, kFirstPause * (1 << (failures_ - 1)));
  co_return Ok{};
}

}  // namespace duet::wafl
