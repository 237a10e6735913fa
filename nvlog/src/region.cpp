#include "region.h"

#include <algorithm>

#include "base/check.h"
#include "record_scan.h"

namespace duet::nvlog {

namespace {

// Eight of the largest records fit in a half.
constexpr std::uint64_t kHalfBytesMin = 8 * record_bytes(kBodyBytesMax);

template <typename Header>
std::uint32_t header_checksum(Header header) {
  header.checksum = 0;
  return crc32c(bytes_of(header));
}

template <typename Header>
std::optional<Header> read_copy(const PersistentMemory& memory, std::uint64_t offset,
                                std::uint64_t magic) {
  const auto header = load<Header>(memory.bytes(), offset);
  if (header.magic != magic || header.version != kFormatVersion ||
      header.checksum != header_checksum(header)) {
    return std::nullopt;
  }
  return header;
}

template <typename Header>
Status write_copies(PersistentMemory& memory, Header header, std::uint64_t first_copy,
                    std::uint64_t second_copy) {
  header.checksum = header_checksum(header);
  for (const std::uint64_t offset : {first_copy, second_copy}) {
    memory.store(offset, bytes_of(header));
    if (Status persisted = memory.persist(); !persisted.ok()) {
      return persisted;
    }
  }
  return Ok{};
}

bool geometry_fits(const RegionHeader& header, std::uint64_t memory_bytes) {
  return header.area_count == kAreas && header.half_bytes >= kLineBytes &&
         header.half_bytes % kLineBytes == 0 && header.half_bytes <= memory_bytes &&
         region_bytes(header.half_bytes) <= memory_bytes;
}

// The copies of an area's header, and which is to be trusted.
struct AreaCopies {
  std::optional<AreaHeader> newest;
  std::uint64_t newest_offset = 0;
  std::uint64_t other_offset = 0;
};

AreaCopies read_area_copies(const PersistentMemory& memory, std::uint64_t half_bytes,
                            std::uint32_t area) {
  const std::uint64_t offset = area_offset(half_bytes, area);
  const auto first = read_copy<AreaHeader>(memory, offset, kAreaMagic);
  const auto second = read_copy<AreaHeader>(memory, offset + kHeaderCopyBytes, kAreaMagic);
  const bool take_second =
      second.has_value() && (!first.has_value() || second->generation > first->generation);
  if (take_second) {
    return {second, offset + kHeaderCopyBytes, offset};
  }
  return {first, offset, offset + kHeaderCopyBytes};
}

}  // namespace

std::uint64_t region_bytes(std::uint64_t half_bytes) {
  return kHeaderBytes + kAreas * (kHeaderBytes + 2 * half_bytes);
}

std::uint64_t half_bytes_min() { return kHalfBytesMin; }

std::uint32_t record_seed(const LogIdentity& identity) {
  const std::array<std::uint64_t, 4> words{identity.pair[0], identity.pair[1], identity.filer,
                                           identity.log_id};
  return crc32c(std::as_bytes(std::span(words)));
}

std::optional<RegionHeader> read_region(const PersistentMemory& memory) {
  const std::uint64_t memory_bytes = memory.bytes().size();
  if (memory_bytes < region_bytes(kLineBytes)) {
    return std::nullopt;
  }
  for (const std::uint64_t offset : {std::uint64_t{0}, kHeaderCopyBytes}) {
    const auto header = read_copy<RegionHeader>(memory, offset, kRegionMagic);
    if (header.has_value() && geometry_fits(*header, memory_bytes)) {
      return header;
    }
  }
  return std::nullopt;
}

std::uint64_t half_bytes_for(const PersistentMemory& memory) {
  const std::uint64_t memory_bytes = memory.bytes().size();
  if (memory_bytes < region_bytes(kHalfBytesMin)) {
    return 0;
  }
  const std::uint64_t halves = memory_bytes - region_bytes(0);
  return halves / (2 * kAreas) / kLineBytes * kLineBytes;
}

std::optional<AreaHeader> read_area(const PersistentMemory& memory, std::uint64_t half_bytes,
                                    std::uint32_t area) {
  return read_area_copies(memory, half_bytes, area).newest;
}

Result<std::uint64_t> ensure_region(PersistentMemory& memory) {
  if (const auto present = read_region(memory); present.has_value()) {
    if ((present->incompatible | present->readonly_compatible) != 0) {
      return Error{Errc::kNotSupported, "log region: written by a newer build"};
    }
    return present->half_bytes;
  }
  RegionHeader header;
  header.half_bytes = half_bytes_for(memory);
  if (header.half_bytes == 0) {
    return Error{Errc::kInvalid, "log region: memory too small"};
  }
  if (Status written = write_copies(memory, header, 0, kHeaderCopyBytes); !written.ok()) {
    return written.error();
  }
  return header.half_bytes;
}

Result<AreaHeader> renew_area(PersistentMemory& memory, std::uint64_t half_bytes,
                              const LogIdentity& identity, std::uint64_t epoch,
                              std::uint64_t first_sequence) {
  DUET_CHECK(identity.filer < kAreas);
  const AreaCopies copies = read_area_copies(memory, half_bytes, identity.filer);
  const bool ours = copies.newest.has_value() && identity_of(*copies.newest) == identity;
  AreaHeader header;
  header.filer = identity.filer;
  header.pair = identity.pair;
  header.log_id = identity.log_id;
  header.epoch = epoch;
  header.mirror_generation = ours ? copies.newest->mirror_generation : 0;
  header.generation = copies.newest.has_value() ? copies.newest->generation + 1 : 1;
  header.first_sequence = first_sequence;
  // The newest valid copy is overwritten last: until the other is durable it is the truth.
  Status written = write_copies(memory, header, copies.other_offset, copies.newest_offset);
  if (!written.ok()) {
    return written.error();
  }
  return header;
}

Status rewrite_mirror_generation(PersistentMemory& memory, std::uint64_t half_bytes,
                                 const LogIdentity& identity, std::uint64_t mirror_generation) {
  const AreaCopies copies = read_area_copies(memory, half_bytes, identity.filer);
  DUET_CHECK(copies.newest.has_value() && identity_of(*copies.newest) == identity);
  AreaHeader header = *copies.newest;
  header.mirror_generation = mirror_generation;
  return write_copies(memory, header, copies.other_offset, copies.newest_offset);
}

Status wipe_area(PersistentMemory& memory, std::uint64_t half_bytes, std::uint32_t area) {
  constexpr std::array<std::byte, sizeof(AreaHeader)> kNothing{};
  const std::uint64_t offset = area_offset(half_bytes, area);
  memory.store(offset, kNothing);
  memory.store(offset + kHeaderCopyBytes, kNothing);
  return memory.persist();
}

AreaHeader sealed(AreaHeader header) {
  header.checksum = header_checksum(header);
  return header;
}

LogIdentity identity_of(const AreaHeader& header) {
  return {.pair = header.pair, .filer = header.filer, .log_id = header.log_id};
}

RegionProbe probe_headers(const PersistentMemory& memory) {
  RegionProbe result;
  const ConstBytes bytes = memory.bytes();
  result.blank = all_zero(bytes.first(std::min<std::size_t>(bytes.size(), kHeaderBytes)));
  const auto region = read_region(memory);
  if (!region.has_value()) {
    return result;
  }
  result.ours = true;
  for (std::uint32_t area = 0; area < kAreas; ++area) {
    const auto header = read_area(memory, region->half_bytes, area);
    if (!header.has_value() || header->filer != area) {
      continue;
    }
    result.areas[area] = identity_of(*header);
    result.epochs[area] = header->epoch;
  }
  return result;
}

RegionProbe probe(const PersistentMemory& memory) {
  RegionProbe result = probe_headers(memory);
  for (std::uint32_t area = 0; area < kAreas; ++area) {
    if (result.areas[area] != LogIdentity{}) {
      const std::uint64_t half_bytes = read_region(memory)->half_bytes;
      result.records[area] =
          count_records(memory, half_bytes, *read_area(memory, half_bytes, area));
    }
  }
  return result;
}

Status format_area(PersistentMemory& memory, const LogIdentity& identity, std::uint64_t epoch) {
  if (identity.filer >= kAreas) {
    return Error{Errc::kInvalid, "log area: no such filer"};
  }
  const Result<std::uint64_t> half_bytes = ensure_region(memory);
  if (!half_bytes.ok()) {
    return half_bytes.error();
  }
  const auto header = renew_area(memory, half_bytes.value(), identity, epoch, 1);
  return header.ok() ? Status(Ok{}) : Status(header.error());
}

}  // namespace duet::nvlog
