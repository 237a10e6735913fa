// The part of StripeIo that compares columns, and puts right what is wrong.
//
// Of check column c, what is there differs from what the data says by the syndrome s(c).  If one
// column alone is wrong, by e:
//
//   check column c        s(c) = e, and no other syndrome
//   data column i         s(c) = factor(c, i) x e, for all c
//
// With two check columns or more at most one column fits.  With one, any does.

#include <algorithm>
#include <bit>

#include "message.h"
#include "stripe_io.h"

namespace duet::raid {

namespace {

std::uint32_t count(ColumnSet set) { return static_cast<std::uint32_t>(std::popcount(set)); }

std::uint32_t highest(ColumnSet set) { return static_cast<std::uint32_t>(std::bit_width(set) - 1); }

}  // namespace

void ScrubReport::add(const ScrubFinding& finding) {
  if (first.size() < kScrubRowsMax && std::ranges::find(first, finding) == first.end()) {
    first.push_back(finding);
  }
}

Task<Status> StripeIo::scrub(Sheet& sheet, const ScrubRules& rules, ScrubReport& report) {
  const ColumnSet readable = disks_.readable(sheet.of);
  const std::uint32_t columns = geometry(sheet).data_columns();
  if (count(readable) <= columns) {
    report.matches = false;
    co_return Ok{};  // nothing to compare with
  }
  co_await read(sheet, readable);
  if (disks_.fenced()) {
    co_return Error{Errc::kFenced, "a disk of the redundancy group refused this node"};
  }
  const ColumnSet bad = sheet.bad & readable;
  if (bad != 0) {
    Task<Status> task = sheet.rows > 1 ? scrub_by_rows(sheet, rules, report)
                                       : write_again(sheet, bad, rules, report);
    const Status done = co_await std::move(task);
    co_return done;
  }
  if (sheet.have == all(sheet)) {
    co_await scrub_whole(sheet, rules, report);
    co_return Ok{};
  }
  report.matches = false;
  const bool loose = rules.unneeded != nullptr;
  if (!loose) {
    scrub_partly(sheet, report);
  }
  co_return Ok{};
}

// A block that cannot be read says nothing of the column's other blocks, and what they would be
// computed from may be wrong.
Task<Status> StripeIo::scrub_by_rows(Sheet& sheet, const ScrubRules& rules, ScrubReport& report) {
  std::optional<Error> failed;
  for (std::uint32_t row = sheet.first_row; row < sheet.first_row + sheet.rows; ++row) {
    Sheet alone(sheet.of, row, 1);
    const Status done = co_await scrub(alone, rules, report);
    if (!done.ok()) {
      failed = done.error();
    }
  }
  if (failed.has_value()) {
    co_return *failed;
  }
  co_return Ok{};
}

// One row, in which these columns cannot be read.
Task<Status> StripeIo::write_again(Sheet& sheet, ColumnSet bad, const ScrubRules& rules,
                                   ScrubReport& report) {
  report.matches = false;  // the others are not compared
  const Status computed = co_await obtain(sheet, bad);
  const bool lost =
      !computed.ok() && rules.pass_by_lost && !disks_.fenced() && !disks_.too_many_failed();
  if (!computed.ok() && !lost) {
    co_return computed;
  }
  report.add({sheet.of.stripe, sheet.first_row, static_cast<std::uint32_t>(std::countr_zero(bad))});
  if (lost) {
    ++report.counts.unsure;
    co_return Ok{};
  }
  co_await put(sheet, bad);
  count_put_right(sheet.of, bad, sheet.rows);
  report.counts.unreadable += count(bad);
  co_return Ok{};
}

// All columns are there.
Task<void> StripeIo::scrub_whole(Sheet& sheet, const ScrubRules& rules, ScrubReport& report) {
  Sheet syndromes(sheet.of, sheet.first_row, sheet.rows);
  const ColumnSet check = all(sheet) & ~data(sheet);
  Columns columns = sheet.columns(data(sheet));
  const Columns to = syndromes.columns(check);
  for (std::uint32_t i = geometry(sheet).data_columns(); i < sheet.of.disks; ++i) {
    columns[i] = to[i];
  }
  codec(sheet).encode(columns, sheet.bytes());
  const Geometry geometry = this->geometry(sheet);
  for (std::uint32_t i = geometry.data_columns(); i < geometry.disks; ++i) {
    add_to(syndromes.column(i), sheet.column(i));
  }
  IoBatch batch;
  for (std::uint32_t row = sheet.first_row; row < sheet.first_row + sheet.rows; ++row) {
    ColumnSet wrong = 0;
    for (std::uint32_t i = geometry.data_columns(); i < geometry.disks; ++i) {
      wrong |= all_zero(syndromes.cells(i, row, 1)) ? 0 : one(i);
    }
    if (wrong == 0) {
      continue;
    }
    const ColumnSet put = judge(syndromes, row, wrong, rules, report);
    for (ColumnSet rest = put & disks_.writable(sheet.of); rest != 0; rest &= rest - 1) {
      const auto column = static_cast<std::uint32_t>(std::countr_zero(rest));
      const std::uint32_t difference =
          column < geometry.data_columns() ? geometry.data_columns() : column;
      add_to(sheet.cells(column, row, 1), syndromes.cells(difference, row, 1));
      const std::uint32_t disk = geometry.disk_of(sheet.of.stripe, column);
      batch.write(*disks_.device(disk), geometry.disk_block(sheet.of.stripe, row),
                  sheet.cells(column, row, 1), disk);
      ++counters_.blocks_written;
    }
  }
  co_await batch.run();
  note_errors(batch);
}

// The columns of a row that does not match that are to be put right: the one that is wrong for
// sure, or all check columns that the data does not fit, or none.  Who trusts the data knows more
// than syndromes tell: all check data that missed an update looks as if the data were wrong.
ColumnSet StripeIo::judge(Sheet& syndromes, std::uint32_t row, ColumnSet wrong,
                          const ScrubRules& rules, ScrubReport& report) {
  const Stripe stripe = syndromes.of.stripe;
  const bool loose = rules.unneeded != nullptr;
  if (loose && rules.unneeded(row)) {
    ++report.counts.loose;
    return wrong;
  }
  std::optional<std::uint32_t> column = wrong_column(syndromes, row, wrong);
  if (column.has_value() && rules.trust_data && (data(syndromes) & one(*column)) != 0 &&
      geometry(syndromes).level != Level::kMirror) {
    column.reset();
  }
  if (!column.has_value() && !rules.trust_data) {
    report.matches = false;
    if (loose) {
      ++report.counts.loose_left;
    } else {
      ++report.counts.unsure;
      report.add({stripe, row});
    }
    return 0;
  }
  const ColumnSet put = column.has_value() ? one(*column) : wrong;
  if (loose) {
    ++report.counts.loose;
    return put;
  }
  ++(column.has_value() ? report.counts.repaired : report.counts.trusted);
  report.add({stripe, row, static_cast<std::uint32_t>(std::countr_zero(put))});
  count_put_right(syndromes.of, put, 1);
  return put;
}

// The only column of the row that can be wrong.
std::optional<std::uint32_t> StripeIo::wrong_column(Sheet& syndromes, std::uint32_t row,
                                                    ColumnSet wrong) const {
  const Geometry geometry = this->geometry(syndromes);
  const std::uint32_t data_columns = geometry.data_columns();
  if (geometry.check_columns() < 2) {
    return std::nullopt;
  }
  if (count(wrong) == 1) {
    return highest(wrong);
  }
  // The factor of the first check column is 1: its syndrome is the difference.
  const ConstBytes difference = syndromes.cells(data_columns, row, 1);
  for (std::uint32_t i = 0; i < data_columns; ++i) {
    bool fits = true;
    for (std::uint32_t c = data_columns + 1; fits && c < geometry.disks; ++c) {
      const Buffer expected(1);
      Columns columns{};
      columns[c] = expected.data();
      codec(syndromes).update(columns, one(c), i, difference.data(), kBlockBytes);
      fits = same_bytes(expected.bytes(), syndromes.cells(c, row, 1));
    }
    if (fits) {
      return i;
    }
  }
  return std::nullopt;
}

// One column more than the data needs: it can be seen that something is wrong,
// not what.
void StripeIo::scrub_partly(Sheet& sheet, ScrubReport& report) {
  const std::uint32_t last = highest(sheet.have);
  const ColumnSet from = sheet.have & ~one(last);
  Sheet expected(sheet.of, sheet.first_row, sheet.rows);
  Columns columns = sheet.columns(from);
  columns[last] = expected.column(last).data();
  codec(sheet).decode(columns, from, one(last), sheet.bytes());
  for (std::uint32_t row = sheet.first_row; row < sheet.first_row + sheet.rows; ++row) {
    if (!same_bytes(sheet.cells(last, row, 1), expected.cells(last, row, 1))) {
      ++report.counts.unsure;
      report.add({sheet.of.stripe, row});
    }
  }
}

// ---- what a layer above with checksums asks for ----

std::uint32_t StripeIo::other_ways(const PlacedStripe& stripe, std::uint32_t column) const {
  const std::uint32_t others = count(disks_.readable(stripe) & ~one(column));
  const std::uint32_t needed = disks_.geometry(stripe).data_columns();
  return others < needed ? 0 : others == needed ? 1 : others;
}

// All others, or all but one of them: check columns are left out first.
ColumnSet StripeIo::sources(const PlacedStripe& stripe, std::uint32_t column,
                            std::uint32_t way) const {
  ColumnSet others = disks_.readable(stripe) & ~one(column);
  if (other_ways(stripe, column) == 1) {
    return others;
  }
  ColumnSet rest = others;
  for (; way > 0; --way) {
    rest &= ~one(highest(rest));
  }
  return others & ~one(highest(rest));
}

Task<Status> StripeIo::obtain_other(Sheet& sheet, std::uint32_t column, ColumnSet sources) {
  co_await read(sheet, sources);
  if (disks_.fenced()) {
    co_return Error{Errc::kFenced, "a disk of the redundancy group refused this node"};
  }
  if ((sources & ~sheet.have) != 0) {
    co_return Error{Errc::kIo, "a block that is needed to compute another cannot be read"};
  }
  codec(sheet).decode(sheet.columns(all(sheet)), sources, one(column), sheet.bytes());
  co_return Ok{};
}

Task<std::uint64_t> StripeIo::heal(Sheet& sheet, ColumnSet sources) {
  const ColumnSet rest = all(sheet) & ~sources;
  codec(sheet).decode(sheet.columns(all(sheet)), sources, rest, sheet.bytes());
  Sheet there(sheet.of, sheet.first_row, sheet.rows);
  co_await read(there, rest & disks_.readable(sheet.of));
  ColumnSet wrong = there.bad;
  for (std::uint32_t i = 0; i < sheet.of.disks; ++i) {
    if ((there.have & one(i)) != 0 && !same_bytes(there.column(i), sheet.column(i))) {
      wrong |= one(i);
    }
  }
  // And to disks that are being rebuilt: they may have been written from what was wrong.
  co_await put(sheet, wrong | (rest & disks_.rebuilding(sheet.of)));
  wrong &= disks_.writable(sheet.of);
  count_put_right(sheet.of, wrong, sheet.rows);
  co_return count(wrong);
}

void StripeIo::count_put_right(const PlacedStripe& stripe, ColumnSet columns, std::uint32_t rows) {
  for (std::uint32_t i = 0; i < stripe.disks; ++i) {
    if ((columns & one(i)) != 0) {
      counters_.put_right[disks_.geometry(stripe).disk_of(stripe.stripe, i)] += rows;
    }
  }
}

}  // namespace duet::raid
