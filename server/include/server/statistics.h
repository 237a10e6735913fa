// What the procedures of one reactor have done: for metrics and `duet top`.
// Thread-safety: the reactor's thread.

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "platform/scheduler.h"

namespace duet::server {

struct ProcedureStatistics {
  // latency[i]: answered in less than 2^(i + 10) ns: 1 us, 2 us, ... 16 s, longer.
  static constexpr std::size_t kBuckets = 25;

  std::uint64_t calls = 0;   // answered, or refused after decoding
  std::uint64_t errors = 0;  // of those: anything but success
  std::uint64_t latency_total_ns = 0;
  std::array<std::uint64_t, kBuckets> latency{};

  static constexpr std::uint64_t bucket_limit_ns(std::size_t bucket) {
    return std::uint64_t{1} << (bucket + 10);
  }
  void record(Duration taken, bool failed) {
    const auto ns = static_cast<std::uint64_t>(taken.count() < 0 ? 0 : taken.count());
    const auto bucket = static_cast<std::size_t>(std::bit_width(ns >> 10U));
    ++calls;
    errors += failed ? 1 : 0;
    latency_total_ns += ns;
    ++latency[bucket < kBuckets ? bucket : kBuckets - 1];
  }
  void add(const ProcedureStatistics& other) {
    calls += other.calls;
    errors += other.errors;
    latency_total_ns += other.latency_total_ns;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      latency[i] += other.latency[i];
    }
  }
};

struct ServiceStatistics {
  std::uint64_t connections = 0;  // open now
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_refused = 0;    // no room, and nobody to evict
  std::uint64_t connections_evicted = 0;    // closed to make room: for others, or in memory
  std::uint64_t connections_timed_out = 0;  // a record that did not end, replies not taken
  std::uint64_t records_refused = 0;        // connections closed for what is no RPC
  std::uint64_t calls_denied = 0;           // answered without reaching a program's procedure
  std::uint64_t receive_bytes = 0;          // buffer memory in use now
};

}  // namespace duet::server
