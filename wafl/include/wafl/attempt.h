// Attempt: one try at an operation that must not wait.
//
// Operations on an aggregate are ordinary functions: they find everything they
// need in memory and then change it in one turn, or change nothing.  What was
// not in memory they name in the Attempt and return kMiss; the caller loads it
// and tries again:
//
//   Attempt attempt(aggregate);
//   for (;;) {
//     Result<T> result = operation(attempt, ...);
//     if (result.ok() || result.error().code != Errc::kMiss) { ... break; }
//     Status loaded = co_await attempt.load();
//     if (!loaded.ok()) { ... break; }
//   }
//
// What an attempt has loaded stays in memory until it ends, so each round gets further; but for
// blocks that only pass by.
// An InodeRef must not be kept across load(): find the inode again in each round.
//
// Thread-safety: the aggregate's strand.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "platform/task.h"
#include "wafl/buffer.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"

namespace duet::wafl {

class Aggregate;

class Attempt {
 public:
  explicit Attempt(Aggregate& aggregate) : aggregate_(aggregate) {}
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  [[nodiscard]] Aggregate& aggregate() const { return aggregate_; }

  // Set while the request log is replayed: space limits do not apply (they did at first).
  bool replaying = false;

  // For implementations of operations: this block is needed and not in memory.  Returns kMiss.
  Error miss(const BlockPointer& pointer) { return miss(pointer, false); }

  // --- For walks over trees of any size: a block that only passes by is let go some loads later
  // (enough of them to come back down from a tree's root), and what was found below it is kept
  // instead.  REQUIRES: !passing_full().
  Error miss_passing(const BlockPointer& pointer) {
    ++passing_missing_;
    return miss(pointer, true);
  }
  [[nodiscard]] bool passing_full() const { return passing_missing_ >= kPassingMax; }
  [[nodiscard]] std::optional<std::uint64_t> leaves_below(const BlockPointer& pointer) const {
    const auto it = leaves_below_.find(pointer.block());
    return it != leaves_below_.end() && it->second.first == pointer
               ? std::optional(it->second.second)
               : std::nullopt;
  }
  void keep_leaves_below(const BlockPointer& pointer, std::uint64_t leaves) {
    leaves_below_[pointer.block()] = {pointer, leaves};
  }
  void forget_leaves_below(const BlockPointer& pointer) { leaves_below_.erase(pointer.block()); }
  [[nodiscard]] bool missed() const { return !missing_.empty(); }

  // Reads everything that was named since the last load().  What is wrong on a disk that can tell
  // in other ways what it is, is healed (src/heal.h).
  // Error: kIo, kCorrupt.
  Task<Status> load();
  // The same for those who give up for good what they cannot read (CPs): what failed is Ok until it
  // did so kFailuresMax times, with growing pauses, 2.5 s in all, as a path that fails or turns
  // bits may come back.
  // Error: kIo, kCorrupt.
  Task<Status> load_patiently();

 private:
  static constexpr int kFailuresMax = 10;
  static constexpr std::chrono::milliseconds kFirstPause{5};  // each is twice the one before
  static constexpr std::size_t kPassingMax = 64;
  static constexpr std::size_t kPassingLoads = kHeightMax + 2;
  struct Missing {
    BlockPointer pointer;
    bool passing;
    std::uint32_t found_in;  // the committed CP when the pointer was found
  };
  Error miss(const BlockPointer& pointer, bool passing);
  [[nodiscard]] bool leads_nowhere() const;

  Aggregate& aggregate_;
  std::vector<Missing> missing_;
  std::size_t passing_missing_ = 0;
  std::array<std::vector<BufferRef>, kPassingLoads> passing_;  // of the last loads
  std::size_t loads_ = 0;
  std::unordered_map<std::uint64_t, std::pair<BlockPointer, std::uint64_t>> leaves_below_;
  std::vector<BufferRef> held_;
  std::vector<BlockPointer> suspects_;  // read once with a wrong checksum
  int failures_ = 0;                    // of load_patiently()
};

}  // namespace duet::wafl
