// Finding the records of a log in memory that may be torn, stale or damaged.
//
// One pass over all lines of both halves finds every header of this log; what they say is
// believed only as far as checksums reach.  append() stores a record only when the one before is
// durable, so a header of sequence n + 2 or more proves that n + 1 was once whole:
//
//   all up to n, then nothing            the end
//   all up to n, then n + 1 not whole    a torn tail: the end
//   all up to n, then n + 2 or later     damage
//
// A header from before the last start() has an older generation and is no evidence.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "nvlog/record_format.h"
#include "platform/persistent_memory.h"

namespace duet::nvlog {

class PrivateRegion;

struct FoundRecord {
  std::uint64_t sequence;
  std::uint64_t offset;  // of its header, in the region
  std::uint32_t body_bytes;
  std::uint32_t pass;
};

// The records of the area's epoch and generation after `covered`, in order and without gaps.
// Error: kCorrupt.
Result<std::vector<FoundRecord>> find_records(const PersistentMemory& memory,
                                              std::uint64_t half_bytes, const AreaHeader& area,
                                              std::uint64_t covered);

// The greatest sequence of a header of the area's epoch and generation; 0 when there is none.
[[nodiscard]] std::uint64_t newest_sequence(const PersistentMemory& memory,
                                            std::uint64_t half_bytes, const AreaHeader& area);

struct RecordSpan {  // of a region, in bytes
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
// Where the records of the area's epoch and generation up to `last` stand, in each half.
[[nodiscard]] std::array<RecordSpan, 2> spans_up_to(const PersistentMemory& memory,
                                                    std::uint64_t half_bytes,
                                                    const AreaHeader& area, std::uint64_t last);

// Makes the headers of all records after `last` invalid, in a copy of a region.
void strike_out_after(PrivateRegion& region, std::uint64_t half_bytes, const AreaHeader& area,
                      std::uint64_t last);

// Whether the record whose header stands at `offset` of the region is whole and has this header.
// Trusts nothing in its arguments.
[[nodiscard]] bool holds_record(const PersistentMemory& memory, std::uint64_t half_bytes,
                                const AreaHeader& area, std::uint64_t offset,
                                std::uint64_t sequence, std::uint32_t checksum);

// Whole records of the area's epoch and generation, in any order.
[[nodiscard]] std::uint64_t count_records(const PersistentMemory& memory, std::uint64_t half_bytes,
                                          const AreaHeader& area);

}  // namespace duet::nvlog
