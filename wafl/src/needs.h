// Needs: tells the disks under an aggregate which of their blocks are needed, so that a disk that
// is rebuilt is spared the others.
//
// The block map of the committed CP says what is allocated: snapshots' blocks, and what the running
// CP frees, too.  What the running CP writes is its allocator's to say.  Where a part of the map is
// not in memory everything is needed; it is read then, with some more, for the next question.
//
// Invariants: needed() is true
//   (1) of every block that the root on disk refers to, whichever root a crash would leave there;
//   (2) of every block that is being written;
//   (3) of all once a CP has failed, as its root may be on disk, and of what joins with the next
//   CP.
//
// Ownership: borrows the aggregate's state.  Thread-safety: the strand.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "aggregate_state.h"
#include "platform/task_scope.h"
#include "wafl/attempt.h"

namespace duet::wafl {

class Needs {
 public:
  explicit Needs(AggregateState& state);
  // Nothing is said any more.  What is being read of the map is forgotten: end() waits for it.
  ~Needs();
  Needs(const Needs&) = delete;
  Needs& operator=(const Needs&) = delete;

  // Speaks for this disk, too.
  void add(const DiskSet::Disk& disk);
  // Nothing is said any more when it is called, and nothing is under way when it comes back.
  Task<void> end();

  // Blocks [first, end) of the aggregate.
  bool needed(std::uint64_t first, std::uint64_t end);

 private:
  void silence();
  [[nodiscard]] bool allocated(std::uint64_t area, std::uint64_t first, std::uint64_t end);
  // The area's part of the map.  Null: not in memory.  No reference: a hole, all is free.
  std::optional<BufferRef> map_of(std::uint64_t area);
  void want(std::uint64_t area);
  Task<void> read_maps(std::uint64_t first);

  AggregateState& state_;
  std::vector<Redundancy*> told_;  // none of plain disks
  bool reading_ = false;
  bool ended_ = false;
  std::unique_ptr<Attempt> held_;  // keeps what was read last in memory
  TaskScope scope_;
};

}  // namespace duet::wafl
