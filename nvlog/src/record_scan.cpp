#include "record_scan.h"

#include <algorithm>
#include <optional>

#include "area_copy.h"
#include "region.h"

namespace duet::nvlog {

namespace {

constexpr Error kDamage{Errc::kCorrupt, "log: a record is damaged and later ones are whole"};

// One half as the scan sees it.
struct HalfView {
  ConstBytes bytes;
  std::uint64_t offset;  // in the region
  std::uint32_t half;
  const PrivateRegion* copy;  // null: the memory of a log

  // Where the next line after `at` may be that is worth a look.
  [[nodiscard]] std::uint64_t look_at(std::uint64_t at) const {
    return copy == nullptr ? at : copy->next_data(offset + at, offset + bytes.size()) - offset;
  }
};

HalfView view_half(const PersistentMemory& memory, std::uint64_t half_bytes, std::uint32_t area,
                   std::uint32_t half) {
  const std::uint64_t offset = half_offset(half_bytes, area, half);
  return {memory.bytes().subspan(offset, half_bytes), offset, half,
          dynamic_cast<const PrivateRegion*>(&memory)};
}

// A header that this log wrote at `at`, with a body that lies inside the half.
std::optional<RecordHeader> read_header(const HalfView& view, std::uint64_t at,
                                        std::uint32_t seed) {
  if (load<std::uint32_t>(view.bytes, at) != kRecordMagic) {
    return std::nullopt;
  }
  const auto header = load<RecordHeader>(view.bytes, at);
  const ConstBytes checked = bytes_of(header).first(offsetof(RecordHeader, header_checksum));
  if (crc32c(checked, seed) != header.header_checksum || header.body_bytes == 0 ||
      header.body_bytes > kBodyBytesMax ||
      record_bytes(header.body_bytes) > view.bytes.size() - at) {
    return std::nullopt;
  }
  return header;
}

bool whole(const HalfView& view, std::uint64_t at, const RecordHeader& header) {
  const ConstBytes body = view.bytes.subspan(at + sizeof(RecordHeader), header.body_bytes);
  return crc32c(body, header.header_checksum) == header.checksum;
}

// All headers after `covered` in both halves.  Those of whole records come into `records`.
struct Scan {
  std::vector<FoundRecord> records;
  std::uint64_t newest_torn = 0;  // the greatest sequence of one that is not whole; 0: none
  bool impossible = false;        // a header that no crash explains

  void half(const HalfView& view, const AreaHeader& area, std::uint32_t seed,
            std::uint64_t covered);
};

void Scan::half(const HalfView& view, const AreaHeader& area, std::uint32_t seed,
                std::uint64_t covered) {
  std::uint64_t at = 0;
  while (view.look_at(at) < view.bytes.size()) {
    const std::uint64_t here = view.look_at(at);
    at = here + kLineBytes;
    const auto header = read_header(view, here, seed);
    if (!header.has_value() || header->epoch != area.epoch || header->sequence <= covered ||
        header->generation < area.generation) {
      continue;
    }
    if (header->generation > area.generation || header->pass % 2 != view.half) {
      impossible = true;
    } else if (whole(view, here, *header)) {
      records.push_back({header->sequence, view.offset + here, header->body_bytes, header->pass});
      at = here + record_bytes(header->body_bytes);
    } else {
      newest_torn = std::max(newest_torn, header->sequence);
    }
  }
}

bool follows(const FoundRecord& before, const FoundRecord& after, const AreaHeader& area,
             std::uint64_t half_bytes) {
  if (after.pass == before.pass) {
    return after.offset == before.offset + record_bytes(before.body_bytes);
  }
  return after.pass == before.pass + 1 &&
         after.offset == half_offset(half_bytes, area.filer, after.pass % 2);
}

}  // namespace

Result<std::vector<FoundRecord>> find_records(const PersistentMemory& memory,
                                              std::uint64_t half_bytes, const AreaHeader& area,
                                              std::uint64_t covered) {
  const std::uint32_t seed = record_seed(identity_of(area));
  Scan scan;
  for (std::uint32_t half = 0; half < 2; ++half) {
    scan.half(view_half(memory, half_bytes, area.filer, half), area, seed, covered);
  }
  std::ranges::sort(scan.records, {}, &FoundRecord::sequence);

  std::uint64_t last = covered;
  const FoundRecord* before = nullptr;
  for (const FoundRecord& record : scan.records) {
    if (record.sequence != last + 1 ||
        (before != nullptr && !follows(*before, record, area, half_bytes))) {
      return kDamage;
    }
    last = record.sequence;
    before = &record;
  }
  const bool torn_is_the_tail = scan.newest_torn == 0 || scan.newest_torn == last + 1;
  if (scan.impossible || !torn_is_the_tail) {
    return kDamage;
  }
  return std::move(scan.records);
}

namespace {

// Calls `found(header, offset in the region)` for each header of the area's epoch and generation.
template <typename Found>
void for_each_header(const PersistentMemory& memory, std::uint64_t half_bytes,
                     const AreaHeader& area, Found found) {
  const std::uint32_t seed = record_seed(identity_of(area));
  for (std::uint32_t half = 0; half < 2; ++half) {
    const HalfView view = view_half(memory, half_bytes, area.filer, half);
    for (std::uint64_t at = view.look_at(0); at < half_bytes; at = view.look_at(at + kLineBytes)) {
      const auto header = read_header(view, at, seed);
      if (header.has_value() && header->epoch == area.epoch &&
          header->generation == area.generation) {
        found(*header, view.offset + at);
      }
    }
  }
}

}  // namespace

std::uint64_t newest_sequence(const PersistentMemory& memory, std::uint64_t half_bytes,
                              const AreaHeader& area) {
  std::uint64_t newest = 0;
  for_each_header(memory, half_bytes, area,
                  [&](const RecordHeader& header, std::uint64_t /*offset*/) {
                    newest = std::max(newest, header.sequence);
                  });
  return newest;
}

std::array<RecordSpan, 2> spans_up_to(const PersistentMemory& memory, std::uint64_t half_bytes,
                                      const AreaHeader& area, std::uint64_t last) {
  const std::uint64_t second = half_offset(half_bytes, area.filer, 1);
  std::array<RecordSpan, 2> spans{};
  for_each_header(memory, half_bytes, area, [&](const RecordHeader& header, std::uint64_t offset) {
    if (header.sequence > last) {
      return;
    }
    RecordSpan& span = spans[offset < second ? 0 : 1];
    const std::uint64_t end = offset + record_bytes(header.body_bytes);
    span.begin = span.end == 0 ? offset : std::min(span.begin, offset);
    span.end = std::max(span.end, end);
  });
  return spans;
}

void strike_out_after(PrivateRegion& region, std::uint64_t half_bytes, const AreaHeader& area,
                      std::uint64_t last) {
  for_each_header(region, half_bytes, area, [&](const RecordHeader& header, std::uint64_t offset) {
    if (header.sequence > last) {
      store(region.data(), offset, std::uint32_t{0});
    }
  });
}

bool holds_record(const PersistentMemory& memory, std::uint64_t half_bytes, const AreaHeader& area,
                  std::uint64_t offset, std::uint64_t sequence, std::uint32_t checksum) {
  for (std::uint32_t half = 0; half < 2; ++half) {
    const HalfView view = view_half(memory, half_bytes, area.filer, half);
    if (offset < view.offset || offset - view.offset >= half_bytes ||
        (offset - view.offset) % kLineBytes != 0) {
      continue;
    }
    const std::uint64_t at = offset - view.offset;
    const auto header = read_header(view, at, record_seed(identity_of(area)));
    return header.has_value() && header->epoch == area.epoch &&
           header->generation == area.generation && header->sequence == sequence &&
           header->checksum == checksum && whole(view, at, *header);
  }
  return false;
}

std::uint64_t count_records(const PersistentMemory& memory, std::uint64_t half_bytes,
                            const AreaHeader& area) {
  const std::uint32_t seed = record_seed(identity_of(area));
  Scan scan;
  for (std::uint32_t half = 0; half < 2; ++half) {
    scan.half(view_half(memory, half_bytes, area.filer, half), area, seed, 0);
  }
  return scan.records.size();
}

}  // namespace duet::nvlog
