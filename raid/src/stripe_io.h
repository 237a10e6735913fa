// StripeIo: rows of one stripe in memory, read, computed and written.
//
// Nothing here knows of locks, intents or other nodes.
// Thread-safety: the scheduler's thread.

#pragma once

#include <bit>
#include <functional>
#include <vector>

#include "buffer.h"
#include "disks.h"
#include "intent_memory.h"
#include "io_batch.h"
#include "platform/task.h"
#include "raid/group.h"

namespace duet::raid {

// Some rows of a stripe, all or some columns of them.
//
// A column's memory is its own, or, cell by cell, borrowed from a caller: what is written goes to
// the disks from where it is, and what is read comes to where it is wanted.
class Sheet {
 public:
  Sheet(const PlacedStripe& stripe, std::uint32_t first, std::uint32_t count)
      : of(stripe), first_row(first), rows(count) {}

  // Own memory of the column; holds anything at first.
  MutableBytes column(std::uint32_t number) {
    if (buffers_[number].data() == nullptr) {
      buffers_[number] = Buffer(rows, Buffer::Holds::kAnything);
    }
    return buffers_[number].bytes();
  }
  // Rows [row, row + count) of it, as the stripe counts.
  MutableBytes cells(std::uint32_t number, std::uint32_t row, std::uint32_t count) {
    column(number);
    return buffers_[number].blocks(row - first_row, count);
  }
  // From now on these rows of the column are there, from `row` on.
  // REQUIRES: in order of columns and rows, each cell once; it outlives the sheet.
  void borrow(std::uint32_t number, std::uint32_t row, MutableBytes from);
  void borrow(std::uint32_t number, Span span, Sheet& from);

  // Where rows [row, row + count) are, one after the other, borrowed or not.
  std::vector<MutableBytes> places(std::uint32_t number, std::uint32_t row, std::uint32_t count);
  // Pointers to all columns of `set`, where nothing of them is borrowed.
  Columns columns(ColumnSet set) {
    Columns pointers{};
    for (std::uint32_t i = 0; i < kDisksMax; ++i) {
      pointers[i] = (set & one(i)) != 0 ? column(i).data() : nullptr;
    }
    return pointers;
  }
  // Calls visit(columns, bytes) for rows whose cells are contiguous in every column of `set`,
  // until all rows are done.
  template <typename Visit>
  void for_each_run(ColumnSet set, Visit visit) {
    for (std::uint32_t row = first_row; row < first_row + rows;) {
      Columns pointers{};
      std::uint32_t run = first_row + rows - row;
      for (ColumnSet rest = set; rest != 0; rest &= rest - 1) {
        const auto i = static_cast<std::uint32_t>(std::countr_zero(rest));
        const MutableBytes place = place_of(i, row, run);
        pointers[i] = place.data();
        run = static_cast<std::uint32_t>(place.size() / kBlockBytes);
      }
      visit(pointers, run * kBlockBytes);
      row += run;
    }
  }
  [[nodiscard]] std::size_t bytes() const { return rows * kBlockBytes; }

  const PlacedStripe of;
  const std::uint32_t first_row;
  const std::uint32_t rows;
  ColumnSet have = 0;  // columns that hold what the group holds
  ColumnSet bad = 0;   // columns that could not be read

 private:
  struct Borrowed {
    std::uint32_t column;
    std::uint32_t row;
    MutableBytes bytes;
    [[nodiscard]] std::uint32_t end() const {
      return row + static_cast<std::uint32_t>(bytes.size() / kBlockBytes);
    }
  };
  // Of rows [row, row + count), those at the beginning that are in one piece.
  MutableBytes place_of(std::uint32_t number, std::uint32_t row, std::uint32_t count);

  std::array<Buffer, kDisksMax> buffers_;
  std::vector<Borrowed> borrowed_;  // in order of columns and rows
};

// An update of some cells of a stripe, ready to be carried out.
struct Update {
  Intent intent;
  std::vector<ConstBytes> pages;  // of the intent: parts of the sheet, or of `partial`
  Buffer partial;
};

// What a scrub does about rows that do not match.
struct ScrubRules {
  bool trust_data = false;  // ScrubKind::kTrustData
  // A row in which more cannot be read than can be computed is counted, and is no error.
  bool pass_by_lost = false;
  // Of a stripe that a rebuild may have passed by: whether nobody needs the row's data.  Null: of
  // another.
  std::function<bool(std::uint32_t row)> unneeded;
};
// What a scrub has found.
struct ScrubReport {
  ScrubCounts counts;
  bool matches = true;              // now, all of it
  std::vector<ScrubFinding> first;  // at most kScrubRowsMax
  void add(const ScrubFinding& finding);
};

class StripeIo {
 public:
  StripeIo(Disks& disks, GroupCounters& counters) : disks_(disks), counters_(counters) {}

  // Brings the columns of `needed` into the sheet; what cannot be read is computed, row by row:
  // only the blocks that cannot be read, as another row may be wrong in what they are computed
  // from. `given`: cells that need not be obtained; what the sheet has there is not said. REQUIRES:
  // nothing of the sheet is borrowed. Error: kIo: too few columns of a row can be read; kFenced.
  Task<Status> obtain(Sheet& sheet, ColumnSet needed, const std::array<Span, kDisksMax>& given);
  Task<Status> obtain(Sheet& sheet, ColumnSet needed) {
    static constexpr std::array<Span, kDisksMax> kNone{};
    return obtain(sheet, needed, kNone);
  }

  // Reads these cells, which the sheet has borrowed; those it cannot read it does not have then.
  Task<void> read_cells(Sheet& sheet, const std::array<Span, kDisksMax>& spans);

  // The sheet has all data columns: computes the check columns.
  void encode(Sheet& sheet);

  // Completes an update: `fresh` has the new cells, which `spans` names, by column, all of them
  // borrowed.  The sheet then has all that changes: those columns, and the check columns.
  // `written`: the cells that are to be written.  Besides those of `spans` the rows of disks that
  // are rebuilt: so that a stripe that nobody needed, and a rebuild passed by, is whole where it
  // is used.
  // Error: as obtain().
  Task<Status> plan(Sheet& sheet, Sheet& fresh, const std::array<Span, kDisksMax>& spans,
                    std::array<Span, kDisksMax>& written);
  // The intent of a planned update, with parts of the sheet; `spans`: what is written, of kFresh
  // what may be lost.
  Update describe(Sheet& sheet, const std::array<Span, kDisksMax>& spans, WriteKind kind);
  // The intent of a whole stripe that takes the place of others: it names every column.
  Update describe_move(Sheet& sheet) const;
  // Writes a planned update to all disks that must have it.  A disk that fails is noted in Disks.
  Task<void> carry_out(Sheet& sheet, const Intent& intent);

  // Carries out, or undoes, what a node that is gone had begun.  Any number of times.
  // Error: kIo: too many disks failed; kFenced.
  Task<Status> recover(const FoundIntent& found);

  // Writes these columns of the sheet, all its rows.  A disk that fails is noted in Disks.
  Task<void> put(Sheet& sheet, ColumnSet columns);

  // Reads all columns and compares them; writes what is wrong for sure, or by the rules.
  // REQUIRES: the sheet has nothing yet; nobody writes its rows.
  // Error: kIo: too few columns of a row can be read, the others are done; kFenced.
  Task<Status> scrub(Sheet& sheet, const ScrubRules& rules, ScrubReport& report);

  // Ways to compute the column from others.
  [[nodiscard]] std::uint32_t other_ways(const PlacedStripe& stripe, std::uint32_t column) const;
  // The columns from which one of them computes it.
  [[nodiscard]] ColumnSet sources(const PlacedStripe& stripe, std::uint32_t column,
                                  std::uint32_t way) const;
  // Computes it from `sources`.
  // Error: kIo: one of them cannot be read; kFenced.
  Task<Status> obtain_other(Sheet& sheet, std::uint32_t column, ColumnSet sources);
  // The sheet has `sources`, which are right.  Reads the other columns, and writes those that
  // differ from what the sources say.  How many.
  Task<std::uint64_t> heal(Sheet& sheet, ColumnSet sources);

  // Flushes those of the disks that are written.  A disk that fails is noted in Disks.
  Task<void> flush(ColumnSet disks = ~ColumnSet{0});

 private:
  Task<void> read(Sheet& sheet, ColumnSet columns);
  Task<Status> obtain_by_rows(Sheet& sheet, ColumnSet needed,
                              const std::array<Span, kDisksMax>& given);
  Task<void> read_or_zero(Sheet& sheet, std::uint32_t column);
  static void overlay(Sheet& sheet, Sheet& fresh, const std::array<Span, kDisksMax>& spans);
  void modify(Sheet& sheet, Sheet& fresh, const std::array<Span, kDisksMax>& spans,
              ColumnSet check);
  Buffer without(Sheet& sheet, const std::array<Span, kDisksMax>& spans, ColumnSet check) const;
  Task<Status> recover_partial(const FoundIntent& found);
  void note_read(Sheet& sheet, const IoBatch& batch);
  void note_errors(const IoBatch& batch);
  Task<Status> scrub_by_rows(Sheet& sheet, const ScrubRules& rules, ScrubReport& report);
  Task<Status> write_again(Sheet& sheet, ColumnSet bad, const ScrubRules& rules,
                           ScrubReport& report);
  Task<void> scrub_whole(Sheet& sheet, const ScrubRules& rules, ScrubReport& report);
  ColumnSet judge(Sheet& syndromes, std::uint32_t row, ColumnSet wrong, const ScrubRules& rules,
                  ScrubReport& report);
  void scrub_partly(Sheet& sheet, ScrubReport& report);
  void count_put_right(const PlacedStripe& stripe, ColumnSet columns, std::uint32_t rows);
  [[nodiscard]] std::optional<std::uint32_t> wrong_column(Sheet& syndromes, std::uint32_t row,
                                                          ColumnSet wrong) const;
  [[nodiscard]] Geometry geometry(const Sheet& sheet) const { return disks_.geometry(sheet.of); }
  [[nodiscard]] Codec codec(const Sheet& sheet) const { return Codec(geometry(sheet)); }
  [[nodiscard]] ColumnSet data(const Sheet& sheet) const {
    return first(geometry(sheet).data_columns());
  }
  [[nodiscard]] static ColumnSet all(const Sheet& sheet) { return first(sheet.of.disks); }

  Disks& disks_;
  GroupCounters& counters_;
};

}  // namespace duet::raid
