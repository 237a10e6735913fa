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
// What an attempt has loaded stays in memory until it ends, so each round gets further.
// An InodeRef must not be kept across load(): find the inode again in each round.
//
// Thread-safety: the aggregate's strand.

#pragma once

#include <cstdint>
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
  Error miss(const BlockPointer& pointer) {
    missing_.push_back(pointer);
    return Error{Errc::kMiss, "a block must be read first"};
  }
  [[nodiscard]] bool missed() const { return !missing_.empty(); }

  // Reads everything that was named since the last load().
  // Error: kIo, kCorrupt.
  Task<Status> load();

 private:
  Aggregate& aggregate_;
  std::vector<BlockPointer> missing_;
  std::vector<BufferRef> held_;
  std::vector<BlockPointer> suspects_;  // read once with a wrong checksum
};

}  // namespace duet::wafl
