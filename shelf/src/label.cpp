#include "shelf/label.h"

#include <algorithm>
#include <utility>

#include "shelf/label_format.h"

namespace duet::shelf {

namespace {

bool in_order(const LabelRecord& record) {
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < kKeysMax; ++i) {
    const std::uint64_t key = record.keys[i];
    if (i >= record.key_count ? key != 0 : key <= before) {
      return false;
    }
    before = key;
  }
  return true;
}

bool sensible(const LabelRecord& record) {
  if (record.key_count > kKeysMax || record.blocks == 0 || !in_order(record)) {
    return false;
  }
  const auto end = record.keys.begin() + record.key_count;
  switch (record.reservation) {
    case 0:
      return record.holder == 0;
    case 1:
    case 2:
      return std::find(record.keys.begin(), end, record.holder) != end;
    default:
      return false;
  }
}

std::uint32_t checksum_of(const LabelRecord& record) {
  LabelRecord copy = record;
  copy.checksum = 0;
  return crc32c(bytes_of(copy));
}

}  // namespace

Label::Copy Label::decode(ConstBytes bytes) {
  Copy copy;
  copy.blank = all_zero(bytes);
  const auto record = duet::load<LabelRecord>(bytes, 0);
  if (record.magic != kLabelMagic || record.checksum != checksum_of(record)) {
    return copy;
  }
  copy.newer = record.version != kLabelVersion || record.incompatible != 0 ||
               record.readonly_compatible != 0;
  if (copy.newer || !sensible(record)) {
    return copy;
  }
  copy.good = true;
  copy.sequence = record.sequence;
  copy.disk = {.id = record.disk, .blocks = record.blocks};
  for (std::size_t i = 0; i < record.key_count; ++i) {
    copy.state.keys.push_back(DiskKey{record.keys[i]});
  }
  copy.state.reservation = static_cast<Reservation>(record.reservation);
  copy.state.holder = DiskKey{record.holder};
  copy.state.generation = record.generation;
  copy.state.epoch = record.epoch;
  return copy;
}

void Label::encode(const DiskState& state, std::uint64_t sequence) {
  DUET_CHECK(state.keys.size() <= kKeysMax);
  LabelRecord record;
  record.key_count = static_cast<std::uint32_t>(state.keys.size());
  record.disk = disk_.id;
  record.blocks = disk_.blocks;
  record.sequence = sequence;
  record.generation = state.generation;
  record.epoch = state.epoch;
  record.holder = static_cast<std::uint64_t>(state.holder);
  record.reservation = static_cast<std::uint32_t>(state.reservation);
  std::ranges::transform(state.keys, record.keys.begin(),
                         [](DiskKey key) { return static_cast<std::uint64_t>(key); });
  DUET_CHECK(sensible(record));
  record.checksum = checksum_of(record);
  store(MutableBytes(buffer_->bytes), 0, record);
}

Task<Result<Label::Copy>> Label::read_copy(std::uint64_t block) {
  const MutableBytes part(buffer_->bytes);
  const Status read = co_await device_.read(block, std::span(&part, 1));
  if (!read.ok()) {
    co_return read.error();
  }
  co_return decode(buffer_->bytes);
}

Task<Status> Label::write_copy(std::uint64_t block) {
  const MutableBytes part(buffer_->bytes);
  const Status written = co_await device_.write(block, std::span(&part, 1));
  if (!written.ok()) {
    co_return written;
  }
  co_return co_await device_.flush();
}

Task<Status> Label::read_both() {
  if (device_.block_count() < kLabelBlocks) {
    co_return Error{Errc::kInvalid, "too small for a shelf label"};
  }
  const Result<Copy> a = co_await read_copy(kLabelCopyA);
  const Result<Copy> b = co_await read_copy(kLabelCopyB);
  if (!a.ok() || !b.ok()) {
    // An unreadable copy might be the newer one.
    co_return a.ok() ? b.error() : a.error();
  }
  if (a.value().newer || b.value().newer) {
    co_return Error{Errc::kNotSupported, "the shelf label is of a newer version"};
  }
  if (!a.value().good && !b.value().good) {
    const bool blank = a.value().blank && b.value().blank;
    co_return blank ? Error{Errc::kNotFound, "there is no shelf label"}
                    : Error{Errc::kCorrupt, "both copies of the shelf label are damaged"};
  }
  const bool b_counts =
      b.value().good && (!a.value().good || b.value().sequence > a.value().sequence);
  const Copy& counts = b_counts ? b.value() : a.value();
  disk_ = counts.disk;
  state_ = counts.state;
  sequence_ = counts.sequence;
  first_ = b_counts ? kLabelCopyA : kLabelCopyB;
  co_return Ok{};
}

Task<Status> Label::peek() { co_return co_await read_both(); }

Task<Status> Label::load() {
  const Status read = co_await read_both();
  if (!read.ok()) {
    co_return read;
  }
  // Also what power loss left in a disk's cache becomes durable here, before anyone acts on it.
  co_return co_await save(state_);
}

Task<Status> Label::create(const DiskIdentity& disk) {
  if (device_.block_count() < kLabelBlocks || disk.blocks == 0) {
    co_return Error{Errc::kInvalid, "too small for a shelf label"};
  }
  disk_ = disk;
  first_ = kLabelCopyA;
  co_return co_await save(DiskState());
}

Task<Status> Label::save(const DiskState& state) {
  DiskState next = state;
  encode(next, ++sequence_);
  const std::uint64_t second = first_ == kLabelCopyA ? kLabelCopyB : kLabelCopyA;
  const Status first = co_await write_copy(first_);
  if (!first.ok()) {
    co_return first;
  }
  // From here on the first copy is the newest, and the only whole one while the other is written.
  const std::uint64_t written = std::exchange(first_, second);
  const Status other = co_await write_copy(second);
  if (!other.ok()) {
    co_return other;
  }
  first_ = written;
  state_ = std::move(next);
  co_return Ok{};
}

}  // namespace duet::shelf
