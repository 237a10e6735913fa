#include <algorithm>

#include "core.h"

namespace duet::raid {

// Blocks of a request that lie in one stripe; or did when it was planned.
struct Core::Part {
  std::uint64_t block = 0;
  PlacedStripe of;
  std::uint32_t first = 0;  // block within the stripe's data
  std::uint32_t count = 0;
  std::uint32_t done = 0;                // blocks that are written
  std::span<const MutableBytes> blocks;  // of the caller, one by one
  bool moved = false;                    // the rest lies elsewhere by now
};

// Of one request.
struct Core::Parts {
  explicit Parts(Scheduler& scheduler) : progress(scheduler) {}

  // So many of the blocks have come that far.
  void reached(Answer stage, std::uint32_t count) {
    if (answer == stage) {
      unanswered -= count;
      progress.wake_all();
    }
  }

  std::vector<MutableBytes> blocks;
  std::vector<Part> all;  // grows when some of it has moved meanwhile
  std::size_t next = 0;
  std::optional<WriteKind> write;  // none: they are read
  Answer answer = Answer::kWritten;
  std::size_t unanswered = 0;  // blocks
  std::optional<Error> failed;
  WaitList progress;
};

// A write that may be answered before it is done: what it writes is its own.
struct Core::Kept {
  Kept(Scheduler& scheduler, std::size_t blocks)
      : copy(blocks, Buffer::Holds::kAnything), parts(scheduler) {}
  Buffer copy;
  Parts parts;
  std::uint64_t number = 0;
};

namespace {

// Stripes of one request that are worked on at the same time.
constexpr std::size_t kStripesAtOnce = 8;

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

// The rows that `count` data blocks from `first` on are in: some of one column, or all.
struct Rows {
  std::uint32_t first;
  std::uint32_t count;
};
Rows rows_of(const Geometry& geometry, std::uint32_t first, std::uint32_t count) {
  const std::uint32_t chunk = geometry.chunk_blocks;
  const bool one_column = first / chunk == (first + count - 1) / chunk;
  return one_column ? Rows{first % chunk, count} : Rows{0, chunk};
}

// The sheet borrows blocks of the caller, from data block `first` on.
void lend(Sheet& sheet, const Geometry& geometry, std::uint32_t first,
          std::span<const MutableBytes> blocks) {
  for (const MutableBytes block : blocks) {
    sheet.borrow(first / geometry.chunk_blocks, first % geometry.chunk_blocks, block);
    ++first;
  }
}

}  // namespace

// Takes one part after the other, until none is left or one has failed.
Task<void> Core::take_parts(Parts& parts) {
  while (parts.next < parts.all.size() && !parts.failed.has_value()) {
    Part part = parts.all[parts.next++];
    Task<Status> task = parts.write.has_value() ? write_part(parts, part) : read_part(part);
    const Status status = co_await std::move(task);
    if (!status.ok() && !parts.failed.has_value()) {
      parts.failed = status.error();
    }
    if (part.moved) {
      plan_parts(parts, part.block + part.done, part.blocks.subspan(part.done));
    }
  }
}

// By where the blocks are now.
void Core::plan_parts(Parts& parts, std::uint64_t block, std::span<const MutableBytes> blocks) {
  while (!blocks.empty()) {
    const Site site = site_of(disks_.label(), block);
    const std::uint32_t width = disks_.geometry(site.of).stripe_blocks();
    const auto count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(width - site.first, blocks.size()));
    parts.all.push_back({block, site.of, site.first, count, 0, blocks.first(count)});
    blocks = blocks.subspan(count);
    block += count;
  }
}

// An expansion has moved some of it since it was planned.  Under the locks of the stripe in which
// it is: what lies there does so until they are let go.
bool Core::has_moved(Part& part) const {
  part.moved = site_of(disks_.label(), part.block) != Site{part.of, part.first};
  return part.moved;
}

void Core::split(std::uint64_t block, std::span<const MutableBytes> bytes, Parts& parts) {
  std::vector<MutableBytes>& blocks = parts.blocks;
  for (const MutableBytes some : bytes) {
    for (std::size_t at = 0; at < some.size(); at += kBlockBytes) {
      blocks.push_back(some.subspan(at, kBlockBytes));
    }
  }
  const std::uint64_t capacity = capacity_of(disks_.label()).block_count();
  DUET_CHECK(block <= capacity && blocks.size() <= capacity - block);
  plan_parts(parts, block, blocks);
  parts.unanswered = blocks.size();
}

// Each stripe is by itself: it has its own lock, and waits for none of the others.
Task<void> Core::for_each_part(Parts& parts) {
  const Request request(*this);
  TaskScope others(scheduler_);
  for (std::size_t i = 1; i < std::min(kStripesAtOnce, parts.all.size()); ++i) {
    others.spawn(take_parts(parts));
  }
  co_await take_parts(parts);
  if (!others.idle()) {
    co_await others.join();
  }
}

Task<Status> Core::read(std::uint64_t block, std::span<const MutableBytes> bytes) {
  if (closing_) {
    co_return kClosing;
  }
  Parts parts(scheduler_);
  split(block, bytes, parts);
  co_await for_each_part(parts);
  if (parts.failed.has_value()) {
    co_return *parts.failed;
  }
  co_return Ok{};
}

Task<Status> Core::write(std::uint64_t block, std::span<const MutableBytes> bytes, WriteKind kind,
                         Answer answer) {
  if (closing_) {
    co_return kClosing;
  }
  if (answer != Answer::kWritten && kind == WriteKind::kInPlace) {
    const Status answered = co_await write_kept(block, bytes, answer);
    co_return answered;
  }
  Parts parts(scheduler_);
  parts.write = kind;
  split(block, bytes, parts);
  co_await for_each_part(parts);
  if (parts.failed.has_value()) {
    co_return *parts.failed;
  }
  co_return Ok{};
}

// How much is kept is bounded: what is not answered by its caller, and the rest by the memory for
// intents, where it has its place by then.
Task<Status> Core::write_kept(std::uint64_t block, std::span<const MutableBytes> bytes,
                              Answer answer) {
  const Request request(*this);
  std::size_t count = 0;
  for (const MutableBytes some : bytes) {
    count += some.size() / kBlockBytes;
  }
  const auto kept = std::make_shared<Kept>(scheduler_, count);
  MutableBytes to = kept->copy.bytes();
  for (const MutableBytes some : bytes) {
    copy_bytes(some, to);
    to = to.subspan(some.size());
  }
  const std::array<MutableBytes, 1> own = {kept->copy.bytes()};
  split(block, own, kept->parts);
  kept->parts.write = WriteKind::kInPlace;
  kept->parts.answer = answer;
  kept->number = ++last_early_write_;
  early_writes_.insert(kept->number);
  scope_.spawn(finish(kept));
  for (;;) {
    if (kept->parts.failed.has_value()) {
      co_return *kept->parts.failed;
    }
    if (kept->parts.unanswered == 0) {
      co_return Ok{};
    }
    co_await kept->parts.progress.wait();
  }
}

// What fails here after the answer fails because this manager ends: then others, or its next life,
// carry out the intent.
Task<void> Core::finish(std::shared_ptr<Kept> kept) {
  co_await for_each_part(kept->parts);
  early_writes_.erase(kept->number);
  kept->parts.progress.wake_all();
  changed_.wake_all();
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
    if (use.granted() && looking_ == 0) {
      co_return Ok{};
    }
    // Woken by a grant, when it has looked for disks that it does not know, or when it ends.
    co_await granted_.wait();
  }
}

// Behind a write that was answered, and given up as this manager ends, its rows are as before it.
// And a disk that this node does not know yet cannot be read, though it has not failed.
Task<Status> Core::hold(RowLocks::Hold& rows) {
  for (;;) {
    if (rows.granted()) {
      if (stopped_.has_value()) {
        co_return *stopped_;
      }
      if (looking_ == 0) {
        co_return Ok{};
      }
      co_await changed_.wait();
    } else {
      co_await rows_.changed().wait();
    }
  }
}

Task<Status> Core::read_part(Part& part) {
  ++counters_.reads;
  const Geometry geometry = disks_.geometry(part.of);
  LockUse use(locks_, granted_);
  const Status locked = co_await hold(use, part.of.stripe, LockMode::kShared);
  if (!locked.ok()) {
    co_return locked;
  }
  const std::array<Span, kDisksMax> spans = spans_of(geometry, part.first, part.count);
  const auto [first_row, row_count] = rows_of(geometry, part.first, part.count);
  RowLocks::Hold rows(rows_, part.of.stripe, first_row, row_count, false);
  const Status held = co_await hold(rows);
  if (!held.ok()) {
    co_return held;
  }
  if (has_moved(part)) {
    co_return Ok{};
  }
  // To where it is wanted; only what cannot be read goes another way.
  Sheet sheet(part.of, first_row, row_count);
  lend(sheet, geometry, part.first, part.blocks);
  co_await io_.read_cells(sheet, spans);
  std::size_t done = 0;
  for (std::uint32_t column = 0; column < geometry.data_columns(); ++column) {
    const Span span = spans[column];
    if (span.count > 0 && (sheet.have & one(column)) == 0) {
      ++counters_.degraded_reads;
      const std::span<const MutableBytes> to = part.blocks.subspan(done, span.count);
      const Status computed =
          co_await read_computed(part.of, column, span, sheet.bad & one(column), to);
      if (!computed.ok()) {
        co_return computed;
      }
    }
    done += span.count;
  }
  co_return Ok{};
}

Task<Status> Core::read_computed(PlacedStripe stripe, std::uint32_t column, Span span,
                                 ColumnSet bad, std::span<const MutableBytes> to) {
  Sheet sheet(stripe, span.first, span.count);
  sheet.bad = bad;
  const Status obtained = co_await io_.obtain(sheet, one(column));
  if (!obtained.ok()) {
    notice_end();
    co_return obtained;
  }
  for (std::uint32_t i = 0; i < span.count; ++i) {
    copy_bytes(sheet.cells(column, span.first + i, 1), to[i]);
  }
  co_return Ok{};
}

// In one update, or in two when its ends lie in different rows of two columns: an update covers
// whole rows, and the rows between would be read for nothing.
Task<Status> Core::write_part(Parts& parts, Part& part) {
  const std::uint32_t chunk = geometry().chunk_blocks;
  const std::uint32_t first_row = part.first % chunk;
  const std::uint32_t last = part.first + part.count - 1;
  const std::uint32_t columns = last / chunk - part.first / chunk + 1;
  LockUse use(locks_, granted_);
  const Status locked = co_await hold(use, part.of.stripe, LockMode::kExclusive);
  if (!locked.ok()) {
    co_return locked;
  }
  const bool split = columns == 2 && last % chunk < first_row;
  while (part.done < part.count && !part.moved) {
    const std::uint32_t count =
        split && part.done == 0 ? chunk - first_row : part.count - part.done;
    const Status written = co_await write_rows(parts, part, count);
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return Ok{};
}

// The next `count` blocks of the part; none, if by the time that it could begin a disk gets writes
// again that it was planned without.
Task<Status> Core::write_rows(Parts& parts, Part& part, std::uint32_t count) {
  const WriteKind kind = *parts.write;
  const Geometry geometry = disks_.geometry(part.of);
  const std::uint32_t first = part.first + part.done;
  const std::array<Span, kDisksMax> spans = spans_of(geometry, first, count);
  const auto [first_row, rows] = rows_of(geometry, first, count);
  Sheet fresh(part.of, first_row, rows);
  lend(fresh, geometry, first, part.blocks.subspan(part.done, count));
  RowLocks::Hold hold_rows(rows_, part.of.stripe, first_row, rows, true);
  const Status held = co_await hold(hold_rows);
  if (!held.ok()) {
    co_return held;
  }
  if (has_moved(part)) {
    co_return Ok{};
  }
  const Status free = co_await end_intents(part.of.stripe, first_row, rows);
  if (!free.ok()) {
    co_return free;
  }
  const std::uint64_t returns = disks_.returns();
  Sheet sheet(part.of, first_row, rows);
  std::array<Span, kDisksMax> cells{};
  const Status planned = co_await io_.plan(sheet, fresh, spans, cells);
  if (!planned.ok()) {
    notice_end();
    co_return planned;
  }
  const Update update = io_.describe(sheet, kind == WriteKind::kInPlace ? cells : spans, kind);
  const Status free_to_begin = co_await wait_to_begin(update.intent);
  if (!free_to_begin.ok()) {
    co_return free_to_begin;
  }
  if (returns != disks_.returns()) {
    co_return Ok{};
  }
  const Result<IntentLog::Handle> begun = co_await begin(update, &parts, count);
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
  part.done += count;
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

// Comes back when the intent may begin in this very turn.
Task<Status> Core::wait_to_begin(const Intent& intent) {
  for (;;) {
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    if (paused_ || !active_ || looking_ > 0) {
      co_await changed_.wait();
      continue;
    }
    if (must_say_missed(intent.stripe)) {
      ask_to_say_missed(intent.stripe);
      co_await changed_.wait();
      continue;
    }
    if (log_.has_room(intent.page_count())) {
      co_return Ok{};
    }
    const bool nothing_to_end = log_.completed().empty();
    if (nothing_to_end) {
      co_await log_.changed().wait();
      continue;
    }
    const Status settled = co_await settle_all();
    static_cast<void>(settled);  // looked at above
  }
}

// I13: comes back when the intent is durable at every holder of the view; `blocks` of the request,
// if it is one, may be answered for before. REQUIRES: wait_to_begin() came back in this turn.
Task<Result<IntentLog::Handle>> Core::begin(const Update& update, Parts* parts,
                                            std::uint32_t blocks) {
  const Result<IntentLog::Handle> begun = log_.begin(update.intent, update.pages);
  if (!begun.ok()) {
    stop(begun.error());
    co_return begun.error();
  }
  if (parts != nullptr && parts->answer == Answer::kAsynchronous) {
    parts->reached(Answer::kAsynchronous, blocks);
    co_await yield(scheduler_);
  }
  log_.send(begun.value());
  if (parts != nullptr) {
    parts->reached(Answer::kPseudoSynchronous, blocks);
  }
  co_await log_.reach_targets(begun.value());
  if (const std::optional<Error> error = ended()) {
    co_return *error;
  }
  if (parts != nullptr) {
    parts->reached(Answer::kSynchronous, blocks);
  }
  co_return begun.value();
}

}  // namespace duet::raid
