#include "filer_state.h"

#include <algorithm>
#include <array>
#include <utility>

namespace duet::filer {

namespace {

// Calls `use` with the parts of a record as the log gathers them.
template <typename Use>
auto with_parts(const Record& record, const RecordBytes& fixed, Use use) {
  constexpr std::size_t kFixedParts = 3;
  constexpr std::size_t kInlineParts = 40;  // 1 MiB in pieces of 32 KiB needs no memory
  const std::array<ConstBytes, kFixedParts> first{bytes_of(fixed),
                                                  std::as_bytes(std::span(record.name)),
                                                  std::as_bytes(std::span(record.second_name))};
  const std::size_t count = kFixedParts + record.data.size();
  std::array<ConstBytes, kInlineParts> few;
  std::vector<ConstBytes> many;
  std::span<ConstBytes> parts(few.data(), std::min(count, few.size()));
  if (count > few.size()) {
    many.resize(count);
    parts = many;
  }
  std::copy(first.begin(), first.end(), parts.begin());
  std::copy(record.data.begin(), record.data.end(), parts.begin() + kFixedParts);
  return use(std::span<const ConstBytes>(parts));
}

// Every CP may write the whole reply cache, on a full aggregate too: what it takes is kept free
// beside the reserve, and is no more than the reserve itself could give when it is made larger.
FilerOptions bounded(FilerOptions options, const wafl::Aggregate& aggregate) {
  const std::uint64_t entries_max = aggregate.reserve_blocks() * 3 / 8 * ReplyCache::kSlotsPerBlock;
  options.reply_cache_entries =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(options.reply_cache_entries, entries_max));
  return options;
}

}  // namespace

FilerState::FilerState(Scheduler& scheduler_given, WallClock& clock, Entropy& entropy_given,
                       PersistentMemory& memory_given, const FilerOptions& options_given,
                       std::unique_ptr<wafl::Aggregate> aggregate_given,
                       std::optional<PairOpening> pair_given)
    : scheduler(scheduler_given),
      entropy(entropy_given),
      memory(memory_given),
      options(bounded(options_given, *aggregate_given)),
      root(aggregate_given->root()),
      pair(std::move(pair_given)),
      aggregate(std::move(aggregate_given)),
      handles(root.filer, root.handle_key),
      times(clock),
      replies(scheduler, options.reply_cache_entries),
      cps(*this, scheduler),
      idle(scheduler),
      scope(scheduler),
      unpaused_(scheduler) {
  aggregate->set_standing_blocks(replies.block_count());
}

bool FilerState::accepts(Failure& error) const {
  if (failed_) {
    error = failure();
  } else if (stopping) {
    error = Errc::kClosed;
  }
  return !failed_ && !stopping;
}

void FilerState::unpause() {
  paused_ = false;
  unpaused_.wake_all();
}

void FilerState::fail() {
  if (std::exchange(failed_, true)) {
    return;
  }
  if (options.on_failure && !abandoned) {
    options.on_failure();
  }
  cps.fail();
  unpaused_.wake_all();
  if (pair.has_value()) {
    pair->gate.resumed().wake_all();
  }
  log->durable_changed().wake_all();
  replies.run_ended().wake_all();
}

void FilerState::changed() {
  cps.start_timer();
  check_memory();
}

void FilerState::check_memory() {
  const std::uint64_t dirty = aggregate->dirty_bytes();
  if (dirty >= options.dirty_bytes_max) {
    cps.request(CpCause::kMemory);
  }
  // While one CP writes, as much again may gather; then changes wait for it.
  memory_full_ = dirty >= 2 * options.dirty_bytes_max;
}

bool FilerState::has_room(std::size_t record_bytes) {
  if (memory_full_) {
    check_memory();
  }
  if (!memory_full_ && log->fits(record_bytes)) {
    return true;
  }
  if (!memory_full_) {
    statistics.back_to_back_cps += cps.running() && !back_to_back_counted_ ? 1 : 0;
    back_to_back_counted_ = cps.running();
    cps.request(CpCause::kLog);
  }
  return false;
}

Result<nvlog::Sequence> FilerState::append(const Record& record) {
  const RecordBytes fixed = encode_record(record);
  nvlog::KnownTail tail;
  if (record.data_checksum.has_value()) {
    tail = {fixed.data_bytes, *record.data_checksum};
  }
  const Result<nvlog::Sequence> appended = with_parts(
      record, fixed,
      [this, &tail](std::span<const ConstBytes> parts) { return log->append(parts, tail); });
  if (!appended.ok()) {
    fail();
    return appended;
  }
  times.used(record.now);
  ++statistics.logged_records;
  statistics.logged_bytes +=
      sizeof(fixed) + record.name.size() + record.second_name.size() + fixed.data_bytes;
  // From half of a half on, so that what remains of it and the other one take what comes
  // while the CP runs.
  if (log->filling_bytes() >= log->half_bytes() / 2 ||
      log->filling_records() >= options.log_entries_max) {
    cps.request(CpCause::kLog);
  }
  changed();
  return appended;
}

bool FilerState::held(wafl::VolumeId id) const {
  return !held_volumes_.empty() &&
         std::find(held_volumes_.begin(), held_volumes_.end(), id) != held_volumes_.end();
}

void FilerState::cp_finished() {
  held_volumes_.clear();
  back_to_back_counted_ = false;
}

}  // namespace duet::filer
