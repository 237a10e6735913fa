// Load on a group: some requests at a time, each begun when another has ended.
//
// Thread-safety: one thread.

#pragma once

#include <functional>
#include <optional>

#include "lab.h"

namespace duet::raid::bench {

struct Call {
  bool write = true;
  WriteKind kind = WriteKind::kInPlace;
  std::uint64_t block = 0;
  MutableBytes bytes;  // of a read: each worker needs its own
  Answer answer = Answer::kWritten;
};

// Runs `depth` requests at a time until `next` gives none; `next` is told which worker asks.
Task<void> load(Scheduler& scheduler, Group& group, std::uint32_t depth,
                std::function<std::optional<Call>(std::uint32_t worker)> next);

}  // namespace duet::raid::bench
