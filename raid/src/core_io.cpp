#include <algorithm>

#include "core.h"

namespace duet::raid {

// Blocks of a request that lie in one stripe.
struct Core::Part {
  Stripe stripe{};
  std::uint32_t first = 0;  // block within the stripe's data
  std::uint32_t count = 0;
  std::vector<MutableBytes> blocks;  // of the caller, one by one
};

namespace {

constexpr Error kClosing = {Errc::kClosed, "the redundancy group is being closed"};

// The cells of `count` data blocks from `first` on, by column.
std::array<Span, kDisksMax> spans_of(const Geometry& geometry, std::uint32_t first,
                                     std::uint32_t count) {
  std::array<Span, kDisksMax> spans{};
  for (std::uint32_t at = first; at < first + count;) {
    const std::uint32_t row = at % geometry.chunk_blocks;
    const std::uint32_t run = std::min(geometry.chunk_blocks - row, first + count - at);
    spans[at / geometry.chunk_blocks] = {static_cast<std::uint16_t>(row),
                                         static_cast<std::uint16_t>(run)};
    at += run;
  }
  return spans;
}

}  // namespace

template <typename Visit>
Task<Status> Core::for_each_part(std::uint64_t block, std::span<const MutableBytes> parts,
                                 Visit visit) {
  std::vector<MutableBytes> blocks;
  for (const MutableBytes part : parts) {
    for (std::size_t at = 0; at < part.size(); at += kBlockBytes) {
      blocks.push_back(part.subspan(at, kBlockBytes));
    }
  }
  DUET_CHECK(block <= geometry().block_count() &&
             blocks.size() <= geometry().block_count() - block);
  const std::uint32_t width = geometry().stripe_blocks();
  for (std::size_t done = 0; done < blocks.size();) {
    Part part;
    part.stripe = Stripe{(block + done) / width};
    part.first = static_cast<std::uint32_t>((block + done) % width);
    part.count = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(width - part.first, blocks.size() - done));
    part.blocks.assign(blocks.begin() + static_cast<std::ptrdiff_t>(done),
                       blocks.begin() + static_cast<std::ptrdiff_t>(done + part.count));
    done += part.count;
    const Status status = co_await visit(part);
    if (!status.ok()) {
      co_return status;
    }
  }
  co_return Ok{};
}

Task<Status> Core::read(std::uint64_t block, std::span<const MutableBytes> parts) {
  if (closing_) {
    co_return kClosing;
  }
  const Request request(*this);
  const auto visit = [this](Part& part) { return read_part(part); };
  const Status status = co_await for_each_part(block, parts, visit);
  co_return status;
}

Task<Status> Core::write(std::uint64_t block, std::span<const MutableBytes> parts, WriteKind kind) {
  if (closing_) {
    co_return kClosing;
  }
  const Request request(*this);
  const auto visit = [this, kind](Part& part) { return write_part(part, kind); };
  const Status status = co_await for_each_part(block, parts, visit);
  co_return status;
}

Task<Status> Core::hold(LockUse& use, Stripe stripe, LockMode mode) {
  return hold(use, stripe, mode, options_.prefetch);
}

Task<Status> Core::hold(LockUse& use, Stripe stripe, LockMode mode, std::uint8_t extra) {
  use.want(range_of(stripe), mode, extra);
  for (;;) {
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    if (use.granted()) {
      co_return Ok{};
    }
    // Woken by a grant, or when this manager ends.
    co_await granted_.wait();
  }
}

Task<Status> Core::hold(RowLocks::Hold& rows) {
  for (;;) {
    if (rows.granted()) {
      co_return Ok{};
    }
    co_await rows_.changed().wait();
  }
}

Task<Status> Core::read_part(Part& part) {
  ++counters_.reads;
  LockUse use(locks_, granted_);
  const Status locked = co_await hold(use, part.stripe, LockMode::kShared);
  if (!locked.ok()) {
    co_return locked;
  }
  const std::array<Span, kDisksMax> spans = spans_of(geometry(), part.first, part.count);
  std::size_t done = 0;
  for (std::uint32_t column = 0; column < geometry().data_columns(); ++column) {
    const Span span = spans[column];
    if (span.count == 0) {
      continue;
    }
    RowLocks::Hold rows(rows_, part.stripe, span.first, span.count, false);
    const Status held = co_await hold(rows);
    static_cast<void>(held);
    Sheet sheet(part.stripe, span.first, span.count);
    const bool direct = (disks_.readable(part.stripe) & one(column)) != 0;
    const Status obtained = co_await io_.obtain(sheet, one(column));
    if (!obtained.ok()) {
      notice_end();
      co_return obtained;
    }
    counters_.degraded_reads += direct && sheet.bad == 0 ? 0 : 1;
    for (std::uint32_t row = span.first; row < span.first + span.count; ++row) {
      std::ranges::copy(sheet.cells(column, row, 1), part.blocks[done++].begin());
    }
  }
  co_return Ok{};
}

// In one update, or in two when its ends lie in different rows of two columns: an update covers
// whole rows, and the rows between would be read for nothing.
Task<Status> Core::write_part(Part& part, WriteKind kind) {
  const std::uint32_t chunk = geometry().chunk_blocks;
  const std::uint32_t first_row = part.first % chunk;
  const std::uint32_t last = part.first + part.count - 1;
  const std::uint32_t columns = last / chunk - part.first / chunk + 1;
  LockUse use(locks_, granted_);
  const Status locked = co_await hold(use, part.stripe, LockMode::kExclusive);
  if (!locked.ok()) {
    co_return locked;
  }
  const bool split = columns == 2 && last % chunk < first_row;
  std::uint32_t done = 0;
  while (done < part.count) {
    const std::uint32_t first = part.first + done;
    const std::uint32_t count = split && done == 0 ? chunk - first_row : part.count - done;
    const std::array<Span, kDisksMax> spans = spans_of(geometry(), first, count);
    const bool one_column = first / chunk == (first + count - 1) / chunk;
    const std::uint32_t row = one_column ? first % chunk : 0;
    const std::uint32_t rows = one_column ? count : chunk;
    Sheet fresh(part.stripe, row, rows);
    for (std::uint32_t i = 0; i < count; ++i) {
      std::ranges::copy(part.blocks[done + i],
                        fresh.cells((first + i) / chunk, (first + i) % chunk, 1).begin());
    }
    const Status written = co_await write_rows(part, kind, row, rows, spans, fresh);
    if (!written.ok()) {
      co_return written;
    }
    done += count;
  }
  co_return Ok{};
}

Task<Status> Core::write_rows(Part& part, WriteKind kind, std::uint32_t first_row,
                              std::uint32_t rows, const std::array<Span, kDisksMax>& spans,
                              Sheet& fresh) {
  RowLocks::Hold hold_rows(rows_, part.stripe, first_row, rows, true);
  const Status held = co_await hold(hold_rows);
  static_cast<void>(held);
  const Status free = co_await end_intents(part.stripe, first_row, rows);
  if (!free.ok()) {
    co_return free;
  }
  Sheet sheet(part.stripe, first_row, rows);
  std::array<Span, kDisksMax> cells{};
  const Status planned = co_await io_.plan(sheet, fresh, spans, cells);
  if (!planned.ok()) {
    notice_end();
    co_return planned;
  }
  const Update update = io_.describe(sheet, kind == WriteKind::kInPlace ? cells : spans, kind);
  const Result<IntentLog::Handle> begun = co_await begin(update);
  if (!begun.ok()) {
    co_return begun.error();
  }
  Intent all_cells = update.intent;
  all_cells.spans = cells;
  co_await io_.carry_out(sheet, all_cells);
  const Status absorbed = co_await absorb_failures();
  if (!absorbed.ok()) {
    co_return absorbed;
  }
  begun.value()->completed = true;
  log_.wake();
  if (!timer_runs_) {
    timer_runs_ = true;
    scope_.spawn(settle_later());
  }
  co_return Ok{};
}

// At most one intent per row: an earlier one ends first.
// REQUIRES: this node's requests keep off these rows.
Task<Status> Core::end_intents(Stripe stripe, std::uint32_t first_row, std::uint32_t rows) {
  while (log_.overlaps(stripe, first_row, rows)) {
    const Status settled = co_await settle_all();
    if (!settled.ok()) {
      co_return settled;
    }
    const bool abandoned = log_.completed().empty() && log_.overlaps(stripe, first_row, rows);
    if (abandoned) {
      co_await log_.changed().wait();
    }
  }
  co_return Ok{};
}

// I13: comes back when the intent is durable at every node of the view.
Task<Result<IntentLog::Handle>> Core::begin(const Update& update) {
  const std::uint32_t pages = update.intent.page_count();
  for (;;) {
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    if (paused_ || !active_ || looking_ > 0) {
      co_await changed_.wait();
      continue;
    }
    if (log_.has_room(pages)) {
      break;
    }
    const bool nothing_to_end = log_.completed().empty();
    if (nothing_to_end) {
      co_await log_.changed().wait();
      continue;
    }
    const Status settled = co_await settle_all();
    static_cast<void>(settled);  // looked at above
  }
  const Result<IntentLog::Handle> begun = log_.begin(update.intent, update.pages.bytes());
  if (!begun.ok()) {
    stop(begun.error());
    co_return begun.error();
  }
  co_await log_.reach_targets(begun.value());
  if (const std::optional<Error> error = ended()) {
    co_return *error;
  }
  co_return begun.value();
}

}  // namespace duet::raid
