#include "local_log.h"

#include <optional>

#include "base/check.h"
#include "record_scan.h"
#include "region.h"

namespace duet::nvlog {

namespace {

constexpr std::size_t kJoinedBytesMin = 4096;

}  // namespace

LocalLog::LocalLog(Scheduler& scheduler, PersistentMemory& memory, const LogIdentity& identity,
                   std::uint64_t half_bytes, std::uint64_t last)
    : memory_(memory),
      identity_(identity),
      seed_(record_seed(identity)),
      durable_changed_(scheduler),
      half_bytes_(half_bytes),
      last_(last) {}

Status LocalLog::start(std::uint64_t epoch) {
  started_ = false;
  const Result<std::uint64_t> half_bytes = ensure_region(memory_);
  if (!half_bytes.ok()) {
    return half_bytes.error();
  }
  half_bytes_ = half_bytes.value();
  const auto header = renew_area(memory_, half_bytes_, identity_, epoch, last_ + 1);
  if (!header.ok()) {
    return header.error();
  }
  epoch_ = epoch;
  generation_ = header.value().generation;
  pass_ = 0;
  filling_bytes_ = 0;
  filling_records_ = 0;
  frozen_ = false;
  started_ = true;
  failed_ = false;
  return Ok{};
}

bool LocalLog::fits(std::size_t body_bytes) const {
  return started_ && body_bytes <= kBodyBytesMax &&
         record_bytes(body_bytes) <= half_bytes_ - filling_bytes_;
}

Result<Sequence> LocalLog::append_parts(std::span<const ConstBytes> parts, const KnownTail& tail) {
  if (const Status stored = store_next(parts, tail); !stored.ok()) {
    return stored.error();
  }
  return commit();
}

Status LocalLog::store_next(std::span<const ConstBytes> parts, const KnownTail& tail) {
  std::size_t body_bytes = 0;
  for (const ConstBytes part : parts) {
    body_bytes += part.size();
  }
  DUET_CHECK(body_bytes > 0 && fits(body_bytes));
  if (failed_) {
    return Error{Errc::kIo, "log: the memory failed before"};
  }
  DUET_CHECK(tail.bytes <= body_bytes);
  store_record(parts, static_cast<std::uint32_t>(body_bytes), tail);
  return Ok{};
}

Result<Sequence> LocalLog::commit() {
  if (Status persisted = memory_.persist(); !persisted.ok()) {
    failed_ = true;
    return persisted.error();
  }
  filling_bytes_ += record_bytes(newest_.header.body_bytes);
  ++filling_records_;
  ++last_;
  if (!durable_changed_.empty()) {
    durable_changed_.wake_all();
  }
  return Sequence{last_};
}

void LocalLog::store_record(std::span<const ConstBytes> parts, std::uint32_t body_bytes,
                            const KnownTail& tail) {
  RecordHeader header;
  header.body_bytes = body_bytes;
  header.sequence = last_ + 1;
  header.epoch = epoch_;
  header.generation = generation_;
  header.pass = pass_;
  header.header_checksum =
      crc32c(bytes_of(header).first(offsetof(RecordHeader, header_checksum)), seed_);
  header.checksum = header.header_checksum;

  const std::uint64_t offset =
      half_offset(half_bytes_, identity_.filer, pass_ % 2) + filling_bytes_;
  std::uint64_t at = offset + sizeof(RecordHeader);
  // A short tail is read sooner than its checksum is joined.
  const std::size_t joined = tail.bytes < kJoinedBytesMin ? 0 : tail.bytes;
  std::size_t left = body_bytes;
  for (const ConstBytes part : parts) {
    if (left > joined) {
      header.checksum = crc32c(part, header.checksum);
    }
    memory_.store(at, part);
    at += part.size();
    left -= part.size();
  }
  if (joined > 0) {
    header.checksum = crc32c_join(header.checksum, tail.checksum, joined);
  }
  memory_.store(offset, bytes_of(header));
  newest_ = {offset, pass_ % 2, header};
}

Status LocalLog::note_mirror(std::uint64_t mirror_generation) {
  DUET_CHECK(started_);
  return rewrite_mirror_generation(memory_, half_bytes_, identity_, mirror_generation);
}

Sequence LocalLog::switch_half() {
  DUET_CHECK(can_switch());
  frozen_ = true;
  frozen_last_ = last_;
  ++pass_;
  filling_bytes_ = 0;
  filling_records_ = 0;
  return Sequence{last_};
}

Status LocalLog::release(Sequence covered) {
  if (frozen_) {
    DUET_CHECK(static_cast<std::uint64_t>(covered) >= frozen_last_);
    frozen_ = false;
  }
  return Ok{};
}

namespace {

constexpr Error kNotOurs{Errc::kForeign, "log: blank, or of another pair or filer"};
constexpr Error kOtherEpoch{Errc::kForeign, "log: of another epoch than the root"};

}  // namespace

Result<FoundArea> find_area(const PersistentMemory& memory, const LogIdentity& identity) {
  if (identity.filer >= kAreas) {
    return Error{Errc::kInvalid, "log: no such filer"};
  }
  FoundArea found;
  const auto region = read_region(memory);
  if (!region.has_value()) {
    found.half_bytes = half_bytes_for(memory);
    if (found.half_bytes == 0) {
      return Error{Errc::kInvalid, "log region: memory too small"};
    }
    return found;
  }
  if (region->incompatible != 0) {
    return Error{Errc::kNotSupported, "log region: written by a newer build"};
  }
  found.half_bytes = region->half_bytes;
  found.area = read_area(memory, region->half_bytes, identity.filer);
  if (found.area.has_value() && identity_of(*found.area) != identity) {
    found.area.reset();
  }
  return found;
}

Result<std::uint64_t> replay_area(const PersistentMemory& memory, const FoundArea& found,
                                  const Covered& covered,
                                  const std::function<Status(const ReplayRecord&)>& replay) {
  auto last = static_cast<std::uint64_t>(covered.last);
  if (last < found.area->first_sequence && found.area->first_sequence - last > 1) {
    return Error{Errc::kCorrupt, "log: begins later than the root ends"};
  }
  const auto records = find_records(memory, found.half_bytes, *found.area, last);
  if (!records.ok()) {
    return records.error();
  }
  for (const FoundRecord& record : records.value()) {
    const ConstBytes body =
        memory.bytes().subspan(record.offset + sizeof(RecordHeader), record.body_bytes);
    const ReplayRecord given{Sequence{record.sequence}, found.area->epoch, body};
    if (Status replayed = replay(given); !replayed.ok()) {
      return replayed.error();
    }
    last = record.sequence;
  }
  return last;
}

Result<std::unique_ptr<RequestLog>> RequestLog::recover(
    Scheduler& scheduler, PersistentMemory& memory, const LogIdentity& identity,
    const Covered& covered, const std::function<Status(const ReplayRecord&)>& replay) {
  const Result<FoundArea> looked = find_area(memory, identity);
  if (!looked.ok()) {
    return looked.error();
  }
  const FoundArea& found = looked.value();
  const bool same_epoch = found.area.has_value() && found.area->epoch == covered.epoch;
  if (!same_epoch && !covered.log_empty) {
    return found.area.has_value() ? kOtherEpoch : kNotOurs;
  }
  auto last = static_cast<std::uint64_t>(covered.last);
  if (same_epoch) {
    const Result<std::uint64_t> replayed = replay_area(memory, found, covered, replay);
    if (!replayed.ok()) {
      return replayed.error();
    }
    last = replayed.value();
  }
  return std::unique_ptr<RequestLog>(
      std::make_unique<LocalLog>(scheduler, memory, identity, found.half_bytes, last));
}

}  // namespace duet::nvlog
