// What the benchmark asks for: each workload fills in the next call of a slot and judges its reply.
//
// A slot is one of `depth` calls in flight.  next() and check() of one slot alternate.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nfs.h"

namespace duet::bench {

class Workload {
 public:
  virtual ~Workload() = default;
  virtual Procedure procedure(size_t slot) const = 0;
  // Appends the arguments of the slot's next call; returns what follows them on the wire.
  virtual std::span<const uint8_t> next(size_t slot, Encoder& out) = 0;
  // True if the result (from its status on) is what was asked for.
  virtual bool check(size_t slot, Decoder& result) = 0;
  // False while stopping now would leave something behind (a file not yet removed).
  virtual bool may_stop(size_t) const { return true; }
  // True when the workload has a fixed amount of work and the slot has none left.
  virtual bool finished(size_t) const { return false; }
  // Payload of one call, for MiB/s; 0 where that means nothing.
  virtual uint64_t bytes_per_call() const { return 0; }
};

struct WorkloadOptions {
  std::string name;  // see kWorkloadNames
  size_t depth = 1;
  uint64_t file_bytes = 64ULL << 20;
  std::string directory;    // for create and fill: made under the root; empty is the root
  uint64_t entries = 1000;  // fill
};

inline constexpr const char* kWorkloadNames[] = {"getattr", "read4k", "write4k", "create",
                                                 "write1m", "read1m", "fill"};

// Prepares files through `client` and returns the workload; null if the name is unknown.
std::unique_ptr<Workload> make_workload(const WorkloadOptions& options, Client& client,
                                        const Handle& root);

}  // namespace duet::bench
