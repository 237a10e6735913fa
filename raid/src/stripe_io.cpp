#include "stripe_io.h"

#include <algorithm>
#include <bit>

#include "io_batch.h"

namespace duet::raid {

namespace {

constexpr Error kTooManyFailed = {Errc::kIo,
                                  "more disks of the redundancy group failed than it can lose"};
constexpr Error kRowLost = {
    Errc::kIo, "more blocks of a row of the redundancy group cannot be read than it can lose"};
constexpr Error kRefusedByDisk = {Errc::kFenced,
                                  "a disk of the redundancy group refused this node"};

std::uint32_t count(ColumnSet set) { return static_cast<std::uint32_t>(std::popcount(set)); }

template <typename Visit>
void for_each_column(ColumnSet set, Visit visit) {
  for (; set != 0; set &= set - 1) {
    visit(static_cast<std::uint32_t>(std::countr_zero(set)));
  }
}

bool covers(const Span& span, std::uint32_t row) {
  return row >= span.first && row - span.first < span.count;
}

// The first `wanted` columns of `set`.
ColumnSet some(ColumnSet set, std::uint32_t wanted) {
  ColumnSet result = 0;
  for (; wanted > 0 && set != 0; --wanted) {
    result |= set & (~set + 1);
    set &= set - 1;
  }
  return result;
}

}  // namespace

void Sheet::borrow(std::uint32_t number, std::uint32_t row, MutableBytes from) {
  if (!borrowed_.empty()) {
    Borrowed& last = borrowed_.back();
    DUET_CHECK(last.column < number || (last.column == number && last.end() <= row));
    if (last.column == number && last.end() == row &&
        last.bytes.data() + last.bytes.size() == from.data()) {
      last.bytes = {last.bytes.data(), last.bytes.size() + from.size()};
      return;
    }
  }
  DUET_CHECK(row >= first_row && row + from.size() / kBlockBytes <= first_row + rows);
  borrowed_.push_back({number, row, from});
}

void Sheet::borrow(std::uint32_t number, Span span, Sheet& from) {
  for (const MutableBytes place : from.places(number, span.first, span.count)) {
    borrow(number, span.first, place);
    span.first = static_cast<std::uint16_t>(span.first + place.size() / kBlockBytes);
  }
}

MutableBytes Sheet::place_of(std::uint32_t number, std::uint32_t row, std::uint32_t count) {
  const auto found = std::ranges::find_if(borrowed_, [&](const Borrowed& borrowed) {
    return borrowed.column > number || (borrowed.column == number && borrowed.end() > row);
  });
  if (found == borrowed_.end() || found->column != number) {
    return cells(number, row, count);
  }
  if (found->row > row) {
    return cells(number, row, std::min(count, found->row - row));
  }
  return found->bytes.subspan((row - found->row) * kBlockBytes,
                              std::min(count, found->end() - row) * kBlockBytes);
}

std::vector<MutableBytes> Sheet::places(std::uint32_t number, std::uint32_t row,
                                        std::uint32_t count) {
  std::vector<MutableBytes> result;
  while (count > 0) {
    result.push_back(place_of(number, row, count));
    const auto run = static_cast<std::uint32_t>(result.back().size() / kBlockBytes);
    row += run;
    count -= run;
  }
  return result;
}

Task<void> StripeIo::read(Sheet& sheet, ColumnSet columns) {
  const Geometry geometry = this->geometry(sheet);
  IoBatch batch;
  for_each_column(columns, [&](std::uint32_t column) {
    BlockDevice* const device = disks_.device(geometry.disk_of(sheet.of.stripe, column));
    batch.read(*device, geometry.disk_block(sheet.of.stripe, sheet.first_row), sheet.column(column),
               column);
  });
  counters_.blocks_read += static_cast<std::uint64_t>(count(columns)) * sheet.rows;
  co_await batch.run();
  note_read(sheet, batch);
}

Task<void> StripeIo::read_cells(Sheet& sheet, const std::array<Span, kDisksMax>& spans) {
  const Geometry geometry = this->geometry(sheet);
  const ColumnSet readable = disks_.readable(sheet.of) & data(sheet);
  IoBatch batch;
  for_each_column(readable, [&](std::uint32_t column) {
    if (const Span span = spans[column]; span.count > 0) {
      batch.read(*disks_.device(geometry.disk_of(sheet.of.stripe, column)),
                 geometry.disk_block(sheet.of.stripe, span.first),
                 sheet.places(column, span.first, span.count), column);
      counters_.blocks_read += span.count;
    }
  });
  co_await batch.run();
  note_read(sheet, batch);
}

void StripeIo::note_read(Sheet& sheet, const IoBatch& batch) {
  for (const IoBatch::Op& op : batch.ops()) {
    if (op.result.ok()) {
      sheet.have |= one(op.tag);
    } else {
      // A block that cannot be read is computed; the disk goes on.
      sheet.bad |= one(op.tag);
      if (op.result.error().code == Errc::kFenced) {
        disks_.note_error(geometry(sheet).disk_of(sheet.of.stripe, op.tag), op.device,
                          op.result.error());
      }
    }
  }
}

Task<Status> StripeIo::obtain(Sheet& sheet, ColumnSet needed,
                              const std::array<Span, kDisksMax>& given) {
  for (;;) {
    const ColumnSet missing = needed & ~sheet.have;
    if (missing == 0) {
      co_return Ok{};
    }
    if (disks_.fenced()) {
      co_return kRefusedByDisk;
    }
    if (sheet.bad != 0 && sheet.rows > 1) {
      const Status done = co_await obtain_by_rows(sheet, needed, given);
      co_return done;
    }
    const ColumnSet readable = (disks_.readable(sheet.of) & ~sheet.bad) | sheet.have;
    if ((missing & ~readable) == 0) {
      co_await read(sheet, missing);
      continue;
    }
    const std::uint32_t columns = geometry(sheet).data_columns();
    if (count(readable) < columns) {
      co_return sheet.bad != 0 ? kRowLost : kTooManyFailed;
    }
    if (count(sheet.have) >= columns) {
      codec(sheet).decode(sheet.columns(sheet.have | missing), sheet.have, missing, sheet.bytes());
      sheet.have |= missing;
      co_return Ok{};
    }
    // Those that are needed anyway, then others.
    const ColumnSet wanted = (needed & readable) & ~sheet.have;
    const ColumnSet others = readable & ~sheet.have & ~wanted;
    const std::uint32_t lacking = columns - std::min(columns, count(sheet.have) + count(wanted));
    co_await read(sheet, wanted | some(others, lacking));
  }
}

// Something of a column could not be read: that may be one block of it.
Task<Status> StripeIo::obtain_by_rows(Sheet& sheet, ColumnSet needed,
                                      const std::array<Span, kDisksMax>& given) {
  const ColumnSet missing = needed & ~sheet.have;
  for (std::uint32_t row = sheet.first_row; row < sheet.first_row + sheet.rows; ++row) {
    ColumnSet wanted = 0;
    for_each_column(missing, [&](std::uint32_t column) {
      wanted |= covers(given[column], row) ? 0 : one(column);
    });
    Sheet alone(sheet.of, row, 1);
    const Status obtained = co_await obtain(alone, wanted);
    if (!obtained.ok()) {
      co_return obtained;
    }
    for_each_column(wanted, [&](std::uint32_t column) {
      copy_bytes(alone.column(column), sheet.cells(column, row, 1));
    });
  }
  sheet.have |= missing;
  co_return Ok{};
}

void StripeIo::encode(Sheet& sheet) {
  sheet.for_each_run(all(sheet), [&](const Columns& columns, std::size_t bytes) {
    codec(sheet).encode(columns, bytes);
  });
  sheet.have = all(sheet);
}

void StripeIo::overlay(Sheet& sheet, Sheet& fresh, const std::array<Span, kDisksMax>& spans) {
  for (std::uint32_t i = 0; i < kDisksMax; ++i) {
    if (spans[i].count > 0) {
      sheet.borrow(i, spans[i], fresh);
      sheet.have |= one(i);
    }
  }
}

// Check columns of `check` follow the change of the data columns.  What the sheet had in the cells
// that change is lost.
void StripeIo::modify(Sheet& sheet, Sheet& fresh, const std::array<Span, kDisksMax>& spans,
                      ColumnSet check) {
  for (std::uint32_t i = 0; i < geometry(sheet).data_columns(); ++i) {
    if (spans[i].count == 0) {
      continue;
    }
    std::uint32_t row = spans[i].first;
    for (const MutableBytes place : fresh.places(i, row, spans[i].count)) {
      const auto run = static_cast<std::uint32_t>(place.size() / kBlockBytes);
      const MutableBytes delta = sheet.cells(i, row, run);
      add_to(delta, place);
      Columns columns{};
      for_each_column(check,
                      [&](std::uint32_t c) { columns[c] = sheet.cells(c, row, run).data(); });
      codec(sheet).update(columns, check, i, delta.data(), delta.size());
      row += run;
    }
  }
}

Task<Status> StripeIo::plan(Sheet& sheet, Sheet& fresh, const std::array<Span, kDisksMax>& spans,
                            std::array<Span, kDisksMax>& written) {
  written = spans;
  const ColumnSet rebuilding = disks_.rebuilding(sheet.of);
  for_each_column(rebuilding & data(sheet), [&](std::uint32_t column) {
    written[column] = {static_cast<std::uint16_t>(sheet.first_row),
                       static_cast<std::uint16_t>(sheet.rows)};
  });
  ColumnSet whole = 0;
  ColumnSet touched = 0;
  for (std::uint32_t i = 0; i < geometry(sheet).data_columns(); ++i) {
    touched |= spans[i].count > 0 ? one(i) : 0;
    whole |= spans[i].count == sheet.rows ? one(i) : 0;
  }
  const ColumnSet rest = data(sheet) & ~whole;
  if (rest == 0) {
    ++counters_.whole_stripes;
    overlay(sheet, fresh, spans);
    encode(sheet);
    co_return Ok{};
  }
  const ColumnSet readable = disks_.readable(sheet.of);
  // Check columns of all disks that the label does not call failed, even if this node suspects
  // them: until the label says so the intent must be complete for who comes after.  One that
  // cannot be read, or is being rebuilt, cannot be modified, only computed.
  const ColumnSet check = all(sheet) & ~data(sheet) & disks_.expected(sheet.of);
  const bool matches = rebuilding == 0 && !disks_.loose(sheet.of.stripe);
  const bool can_modify = matches && ((touched | check) & ~readable) == 0;
  const bool can_rest = (rest & ~readable) == 0;
  if (can_modify && (!can_rest || count(touched | check) < count(rest))) {
    co_await read(sheet, touched | check);
    if (((touched | check) & ~sheet.have) == 0) {
      ++counters_.read_modify;
      modify(sheet, fresh, spans, check);
      overlay(sheet, fresh, spans);
      co_return Ok{};
    }
  }
  // With what was read or computed of the columns that are not wholly written.
  const Status obtained = co_await obtain(sheet, rest, spans);
  if (!obtained.ok()) {
    co_return obtained;
  }
  ++counters_.reconstruct;
  overlay(sheet, fresh, spans);
  encode(sheet);
  co_return Ok{};
}

Update StripeIo::describe(Sheet& sheet, const std::array<Span, kDisksMax>& spans, WriteKind kind) {
  const ColumnSet writable = disks_.expected(sheet.of);
  Update update;
  Intent& intent = update.intent;
  intent.kind = kind == WriteKind::kInPlace ? IntentKind::kContent : IntentKind::kPartial;
  intent.stripe = sheet.of.stripe;
  intent.disks = sheet.of.disks;
  intent.first_row = sheet.first_row;
  intent.row_count = sheet.rows;
  bool everything = true;
  for (std::uint32_t i = 0; i < geometry(sheet).data_columns(); ++i) {
    const bool there = (writable & one(i)) != 0;
    // What is not there is in the check data alone; a partial intent tells it all the same.
    intent.spans[i] = there || intent.kind == IntentKind::kPartial ? spans[i] : Span();
    everything = everything && spans[i].count == sheet.rows;
  }
  intent.check = all(sheet) & ~data(sheet) & writable & sheet.have;
  if (intent.kind == IntentKind::kPartial) {
    // Without what is written the check data of whole rows is zero: nothing to keep.
    if (everything) {
      intent.check = 0;
      return update;
    }
    update.partial = without(sheet, spans, intent.check);
    update.pages = {update.partial.bytes()};
    return update;
  }
  const auto add = [&](std::uint32_t column, std::uint32_t row, std::uint32_t rows) {
    for (const MutableBytes place : sheet.places(column, row, rows)) {
      update.pages.push_back(place);
    }
  };
  for (std::uint32_t i = 0; i < geometry(sheet).data_columns(); ++i) {
    add(i, intent.spans[i].first, intent.spans[i].count);
  }
  for_each_column(intent.check,
                  [&](std::uint32_t column) { add(column, sheet.first_row, sheet.rows); });
  return update;
}

Update StripeIo::describe_move(Sheet& sheet) const {
  Update update;
  Intent& intent = update.intent;
  intent.kind = IntentKind::kMove;
  intent.stripe = sheet.of.stripe;
  intent.disks = sheet.of.disks;
  intent.first_row = sheet.first_row;
  intent.row_count = sheet.rows;
  intent.check = all(sheet) & ~data(sheet);
  for (std::uint32_t i = 0; i < sheet.of.disks; ++i) {
    if ((data(sheet) & one(i)) != 0) {
      intent.spans[i] = {static_cast<std::uint16_t>(sheet.first_row),
                         static_cast<std::uint16_t>(sheet.rows)};
    }
    update.pages.push_back(sheet.column(i));
  }
  return update;
}

// Check columns of `check`, one behind the other, without the cells of `spans`.
Buffer StripeIo::without(Sheet& sheet, const std::array<Span, kDisksMax>& spans,
                         ColumnSet check) const {
  Buffer partial(std::size_t{count(check)} * sheet.rows, Buffer::Holds::kAnything);
  Columns columns{};
  std::size_t at = 0;
  for_each_column(check, [&](std::uint32_t column) {
    const MutableBytes to = partial.blocks(at, sheet.rows);
    copy_bytes(sheet.column(column), to);
    columns[column] = to.data();
    at += sheet.rows;
  });
  for (std::uint32_t i = 0; i < geometry(sheet).data_columns(); ++i) {
    if (spans[i].count == 0) {
      continue;
    }
    std::size_t behind = (spans[i].first - sheet.first_row) * kBlockBytes;
    for (const MutableBytes place : sheet.places(i, spans[i].first, spans[i].count)) {
      Columns rows{};
      for_each_column(check, [&](std::uint32_t c) { rows[c] = columns[c] + behind; });
      codec(sheet).update(rows, check, i, place.data(), place.size());
      behind += place.size();
    }
  }
  return partial;
}

Task<void> StripeIo::carry_out(Sheet& sheet, const Intent& intent) {
  const Geometry geometry = this->geometry(sheet);
  const ColumnSet writable = disks_.writable(sheet.of) & sheet.have;
  IoBatch batch;
  for_each_column(writable, [&](std::uint32_t column) {
    const std::uint32_t disk = geometry.disk_of(sheet.of.stripe, column);
    const Span span = column < geometry.data_columns()
                          ? intent.spans[column]
                          : Span{static_cast<std::uint16_t>(sheet.first_row),
                                 static_cast<std::uint16_t>(sheet.rows)};
    if (span.count > 0) {
      batch.write(*disks_.device(disk), geometry.disk_block(sheet.of.stripe, span.first),
                  sheet.places(column, span.first, span.count), disk);
      counters_.blocks_written += span.count;
    }
  });
  co_await batch.run();
  note_errors(batch);
}

Task<void> StripeIo::put(Sheet& sheet, ColumnSet columns) {
  const Geometry geometry = this->geometry(sheet);
  IoBatch batch;
  for_each_column(columns & disks_.writable(sheet.of), [&](std::uint32_t column) {
    const std::uint32_t disk = geometry.disk_of(sheet.of.stripe, column);
    batch.write(*disks_.device(disk), geometry.disk_block(sheet.of.stripe, sheet.first_row),
                sheet.column(column), disk);
    counters_.blocks_written += sheet.rows;
  });
  co_await batch.run();
  note_errors(batch);
}

void StripeIo::note_errors(const IoBatch& batch) {
  for (const IoBatch::Op& op : batch.ops()) {
    if (!op.result.ok()) {
      disks_.note_error(op.tag, op.device, op.result.error());
    }
  }
}

Task<void> StripeIo::flush(ColumnSet disks) {
  IoBatch batch;
  for_each_column(disks & disks_.written(),
                  [&](std::uint32_t disk) { batch.flush(*disks_.device(disk), disk); });
  co_await batch.run();
  note_errors(batch);
}

Task<Status> StripeIo::recover(const FoundIntent& found) {
  const Intent& intent = found.intent;
  ++counters_.recovered;
  if (intent.kind == IntentKind::kPartial) {
    const Status done = co_await recover_partial(found);
    co_return done;
  }
  Sheet sheet(intent.of(), intent.first_row, intent.row_count);
  ConstBytes rest = found.pages;
  const auto take = [&rest](MutableBytes to) {
    copy_bytes(rest.first(to.size()), to);
    rest = rest.subspan(to.size());
  };
  for (std::uint32_t i = 0; i < geometry(sheet).data_columns(); ++i) {
    if (const Span span = intent.spans[i]; span.count > 0) {
      take(sheet.cells(i, span.first, span.count));
      sheet.have |= one(i);
    }
  }
  for_each_column(intent.check, [&](std::uint32_t column) {
    take(sheet.column(column));
    sheet.have |= one(column);
  });
  co_await carry_out(sheet, intent);
  if (disks_.fenced()) {
    co_return kRefusedByDisk;
  }
  if (disks_.too_many_failed()) {
    co_return kTooManyFailed;
  }
  co_return Ok{};
}

// The cells that were being written hold what they happen to hold; check data is made to match it
// and the cells that were not.
Task<Status> StripeIo::recover_partial(const FoundIntent& found) {
  const Intent& intent = found.intent;
  const Geometry geometry = disks_.geometry(intent.of());
  Sheet there(intent.of(), intent.first_row, intent.row_count);
  ColumnSet touched = 0;
  bool everything = true;
  for (std::uint32_t i = 0; i < geometry.data_columns(); ++i) {
    touched |= intent.spans[i].count > 0 ? one(i) : 0;
    everything = everything && intent.spans[i].count == intent.row_count;
  }
  co_await read(there, touched & disks_.readable(intent.of()));
  if (disks_.fenced()) {
    co_return kRefusedByDisk;
  }
  Sheet sheet(intent.of(), intent.first_row, intent.row_count);
  Intent written = intent;
  for (std::uint32_t i = 0; i < geometry.data_columns(); ++i) {
    if ((touched & one(i)) == 0 || (there.have & one(i)) != 0) {
      written.spans[i] = {};
      continue;
    }
    // Not readable: zeros, on the disk too if it is there.
    std::ranges::fill(there.column(i), std::byte{0});
    std::ranges::fill(sheet.column(i), std::byte{0});
    sheet.have |= one(i);
  }
  ConstBytes rest = found.pages;
  const ColumnSet check =
      everything ? all(sheet) & ~data(sheet) & disks_.writable(intent.of()) : intent.check;
  for_each_column(check, [&](std::uint32_t column) {
    const MutableBytes to = sheet.column(column);
    if (everything) {
      std::ranges::fill(to, std::byte{0});
    } else {
      copy_bytes(rest.first(to.size()), to);
      rest = rest.subspan(to.size());
    }
    sheet.have |= one(column);
  });
  // From zero cells to those that are there.
  for (std::uint32_t i = 0; i < geometry.data_columns(); ++i) {
    const Span span = intent.spans[i];
    if (span.count > 0) {
      const MutableBytes cells = there.cells(i, span.first, span.count);
      Columns columns{};
      for_each_column(check, [&](std::uint32_t c) {
        columns[c] = sheet.cells(c, span.first, span.count).data();
      });
      codec(sheet).update(columns, check, i, cells.data(), cells.size());
    }
  }
  co_await carry_out(sheet, written);
  if (disks_.fenced()) {
    co_return kRefusedByDisk;
  }
  if (disks_.too_many_failed()) {
    co_return kTooManyFailed;
  }
  co_return Ok{};
}

}  // namespace duet::raid
