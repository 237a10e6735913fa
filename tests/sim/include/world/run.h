// Run: one world from a seed: clients, an operator, faults and deaths, until all is answered.

#pragma once

#include <cstdint>
#include <string>

#include "world/node.h"
#include "world/tree.h"

namespace duet::world {

struct RunOptions {
  std::uint64_t seed = 1;
  std::uint64_t steps = 400;  // requests of all clients together
  Sabotage sabotage = Sabotage::kNone;
  bool wire = false;     // clients speak RPC
  bool restores = true;  // the operator restores snapshots
  bool verbose = false;  // each request to stderr
};

struct RunStatistics {
  std::uint64_t requests = 0;
  std::uint64_t changes = 0;
  std::uint64_t deaths = 0;
  std::uint64_t deaths_while_opening = 0;
  std::uint64_t replayed = 0;
  std::uint64_t retries = 0;
  std::uint64_t refusals = 0;  // of a memory that is blank
  std::uint64_t faults = 0;    // requests that got an I/O error
  std::uint64_t full = 0;      // requests that found no room
  std::uint64_t snapshots = 0;
  std::uint64_t restores = 0;
  std::uint64_t clones = 0;
  std::uint64_t cps = 0;
  std::uint64_t turns = 0;
  void add(const RunStatistics& other);
};

// The first complaint; empty: all was right.
Complaint run(const RunOptions& options, RunStatistics& statistics);

}  // namespace duet::world
