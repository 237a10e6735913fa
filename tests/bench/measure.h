// Runs a workload with a fixed number of calls in flight on one connection, from one thread.
#pragma once

#include <cstdint>
#include <string>

#include "nfs.h"
#include "workload.h"

namespace duet::bench {

struct Result {
  uint64_t operations = 0;
  double seconds = 0;
  double mib_per_second = 0;
  double p50_us = 0;
  double p99_us = 0;
  double p999_us = 0;
  double max_us = 0;

  double operations_per_second() const { return static_cast<double>(operations) / seconds; }
};

struct MeasureOptions {
  size_t depth = 1;
  // Calls that become possible together leave in one send.  Off: each call is a send of its own,
  // as the Linux kernel's client does it.
  bool batch = false;
  double warm_up_seconds = 0.2;
  double seconds = 1;
};

// Warms up, measures for `seconds` (or until the workload is finished) and drains.
Result measure(Workload& workload, Stream& stream, const MeasureOptions& options);

}  // namespace duet::bench
