// The simulated machines of this benchmark.

#pragma once

#include "ram.h"
#include "report.h"

namespace duet::raid::bench {

// NVMe disks behind a node's port of 100 Gbit/s, and RDMA between the nodes.
inline Timing flash_timing() {
  return {.disk_latency = std::chrono::microseconds(80),
          .disk_bytes_per_s = 2'000'000'000,
          .port_bytes_per_s = 6'000'000'000,
          .message_latency = std::chrono::microseconds(5),
          .message_bytes_per_s = 6'000'000'000};
}

inline std::string words(const Timing& timing) {
  const auto us = [](Duration d) { return seconds(d) * 1e6; };
  return text(
      "disk %.0f us + %.1f GB/s, a node's port to all disks %.1f GB/s, message %.0f us + "
      "%.1f GB/s, processors take no time",
      us(timing.disk_latency), static_cast<double>(timing.disk_bytes_per_s) / 1e9,
      static_cast<double>(timing.port_bytes_per_s) / 1e9, us(timing.message_latency),
      static_cast<double>(timing.message_bytes_per_s) / 1e9);
}

}  // namespace duet::raid::bench
