// The headers of the region and its areas: reading, checking, writing.
//
// Each header has two copies, rewritten one after the other with a persist between: at any
// crash one is whole, and one damaged copy is no loss.

#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "nvlog/record_format.h"
#include "platform/persistent_memory.h"

namespace duet::nvlog {

// The region header, if a copy is valid and its geometry lies inside the memory.
[[nodiscard]] std::optional<RegionHeader> read_region(const PersistentMemory& memory);

// Half size for a region that fills `memory`; 0 when it is too small for half_bytes_min().
[[nodiscard]] std::uint64_t half_bytes_for(const PersistentMemory& memory);

// The area's header: of the valid copies the one with the greater generation.
[[nodiscard]] std::optional<AreaHeader> read_area(const PersistentMemory& memory,
                                                  std::uint64_t half_bytes, std::uint32_t area);

// Writes the region header where there is none; an existing one keeps its geometry.
// Returns half_bytes.  Error: kIo; kInvalid; kNotSupported.
Result<std::uint64_t> ensure_region(PersistentMemory& memory);

// Gives the area a new header with the next generation, which empties both halves.
// Error: kIo.
Result<AreaHeader> renew_area(PersistentMemory& memory, std::uint64_t half_bytes,
                              const LogIdentity& identity, std::uint64_t epoch,
                              std::uint64_t first_sequence);

// The header as it is, with another mirror generation.  Error: kIo.
// REQUIRES: the area has a header of `identity`.
Status rewrite_mirror_generation(PersistentMemory& memory, std::uint64_t half_bytes,
                                 const LogIdentity& identity, std::uint64_t mirror_generation);

// A copy of the area's log begins: what was there is not to be replayed.  Error: kIo.
Status wipe_area(PersistentMemory& memory, std::uint64_t half_bytes, std::uint32_t area);

// `header` as it stands in memory, its checksum right.
[[nodiscard]] AreaHeader sealed(AreaHeader header);

[[nodiscard]] LogIdentity identity_of(const AreaHeader& header);

}  // namespace duet::nvlog
