// Expansion: the stripes of a group spread over more disks while it is used, by all nodes of the
// view.
//
//   batches of stripes, from the first on; those of step k by the (k mod nodes)th node of the view
//     locks of all their rows and of those where their data is -> read, write, flush -> tell all
//   leader: all below is done -> a label that says "expanded" up to there -> tell all
//     each node that goes by it says so; then the locks are let go
//
// Invariants:
//   (1) What the label says is expanded was flushed before, on every disk in that view.
//   (2) No row is written that holds something: a batch goes to rows that were emptied by the label
//       (raid/label.h).  Where there are none, as at the beginning, one stripe goes over what it
//       takes the place of: all of it is in an intent first, and until the label is there.
//   (3) Whoever has a lock knows where its stripes are: rows that move stay locked until every node
//       of the view goes by the label.  Sources are shared meanwhile, as old data may still be
//       read there, but not written.
//   (4) Locks are taken in the order of rows, and no two batches that are done at the same time
//       have one in common: else each could wait for the other's, and for the label.
//
// Whatever changes the view may have brought a disk that a batch did not write: it is done again.
// A request looks where its block is when it has the locks, and looks again if it has
// moved.
//
// While a disk has failed, or is rebuilt, no batch begins: a stripe on all disks but one is worse
// off than one on all of fewer.

#include <algorithm>
#include <numeric>

#include "core.h"

namespace duet::raid {

namespace {

constexpr Duration kRetry = std::chrono::milliseconds(200);

constexpr Error kEnded = {Errc::kClosed, "the redundancy group has ended"};

}  // namespace

// Stripes [begin, end) of all disks.
struct Core::Batch {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool in_place = false;  // over what they take the place of; then it is one
  Generation view{};      // in which it is this node's
};

// ---- every node: what is said ----

// A view begins, or a newer label of it is known.
void Core::begin_expansion() {
  const GroupLabel& label = disks_.label();
  if (expansion_.before != label.disks_before || expansion_.after != label.disks) {
    expansion_ = Expansion();
    expansion_.before = label.disks_before;
    expansion_.after = label.disks;
    expansion_.began = scheduler_.now();
  }
  wake();
}

ExpansionStatus Core::expansion_status() const {
  const GroupLabel& label = disks_.label();
  if (!is_expanding(label)) {
    return {};
  }
  return {.disks_before = label.disks_before,
          .disks_after = label.disks,
          .stripes = label.stripes,
          .done = label.expanded,
          .waits = !all_in_sync(),
          .began = expansion_.began,
          .shares = expansion_.shares,
          .trouble = expansion_.trouble};
}

// A node has moved this, and holds the locks until it hears that the label says so.
void Core::note_move(NodeId node, const MoveBody& body) {
  const GroupLabel& label = disks_.label();
  if (!is_expanding(label) || body.begin > body.end || body.end > label.stripes) {
    return;
  }
  if (body.begin == body.end) {
    note_trouble(body.begin);
    return;
  }
  std::uint64_t& end = expansion_.done[body.begin];
  if (end < body.end) {
    end = body.end;
    expansion_.shares[number(node)] += body.end - body.begin;
    changes_ += paused_ || !expansion_due() ? 0 : 1;  // before those who want to be let in
    wake();
  }
}

void Core::tell_of_trouble(const Batch& batch) {
  const MoveBody body = {.begin = batch.begin, .end = batch.begin};
  if (active_ && view_ == batch.view) {
    for_each_node(members_ & ~only(self_),
                  [&](NodeId node) { say(node, MessageKind::kMove, view_, bytes_of(body)); });
    note_trouble(batch.begin);
  }
}

// What comes next in the label cannot be moved now.  Whoever has moved what is above would keep
// the locks of it, perhaps for long: the next view gives them back.
void Core::note_trouble(std::uint64_t stripe) {
  if (stripe != disks_.label().expanded) {
    return;
  }
  expansion_.stuck = stripe;
  if (!expansion_.done.empty() && renewals_ == renewed_) {
    ++renewals_;
    ++changes_;
    report();
  }
  wake();
}

// Then nothing is begun but that.
bool Core::is_stuck() const { return expansion_.stuck == disks_.label().expanded; }

// Which label this node goes by.
void Core::say_what_is_known() {
  const KnowsBody body = {.incarnation = incarnation_, .sequence = disks_.label().sequence};
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kKnows, view_, bytes_of(body)); });
}

// Of no view: who has gone on to the next one says it there before others have.
void Core::note_known(NodeId node, const KnowsBody& body) {
  KnowsBody& known = known_[number(node)];
  if (body.incarnation > known.incarnation) {
    known = body;
  } else if (body.incarnation == known.incarnation) {
    known.sequence = std::max(known.sequence, body.sequence);
  }
  wake();
}

bool Core::all_know(std::uint64_t sequence) const {
  bool all = true;
  for_each_node(members_ & ~only(self_), [&](NodeId node) {
    const KnowsBody& known = known_[number(node)];
    all = all && known.incarnation == incarnations_[number(node)] && known.sequence >= sequence;
  });
  return all;
}

bool Core::all_in_sync() const {
  return disks_.in_state(DiskState::kInSync) == first(geometry().disks) && disks_.suspects() == 0 &&
         disks_.missing() == 0;
}

// ---- the leader ----

// All stripes below are done, by this view.
std::uint64_t Core::moved_below() const {
  std::uint64_t at = disks_.label().expanded;
  for (const auto& [begin, end] : expansion_.done) {
    at = begin <= at ? std::max(at, end) : at;
  }
  return at;
}

bool Core::expansion_due() const {
  return active_ && disks_.expanding() && leads() && moved_below() > disks_.label().expanded;
}

// The label says that stripes below `reached` are of all disks; with the last one it is at its end.
void Core::advance(GroupLabel& label, std::uint64_t reached) {
  if (!is_expanding(label)) {
    return;
  }
  label.expanded = std::max(label.expanded, reached);
  if (label.expanded == label.stripes) {
    label.disks_before = 0;
    label.expanded = 0;
  }
}

// ---- every node: moving ----

// Stripes of a step: a part of the data that begins with a range in both geometries.
std::uint64_t Core::move_step() const {
  const std::uint64_t after = geometry().data_columns();
  const std::uint64_t before = capacity_of(disks_.label()).data_columns();
  const std::uint64_t unit = before / std::gcd(before, after) * range_stripes();
  return unit * std::max<std::uint64_t>(1, disks_.label().step_stripes / unit);
}

std::optional<Core::Batch> Core::next_batch() const {
  const GroupLabel& label = disks_.label();
  if (!active_ || closing_ || looking_ > 0 || !is_expanding(label) || !all_in_sync()) {
    return std::nullopt;
  }
  const std::uint64_t emptied = emptied_rows(label);
  const std::uint64_t step = move_step();
  const auto nodes = static_cast<std::uint64_t>(std::popcount(members_));
  const auto rank = static_cast<std::uint64_t>(std::popcount(members_ & (only(self_) - 1)));
  for (std::uint64_t at = label.expanded; at < label.stripes;) {
    Batch batch = {
        .begin = at, .end = std::min(label.stripes, (at / step + 1) * step), .view = view_};
    at = batch.end;
    if (batch.begin != label.expanded && (batch.end > emptied || is_stuck())) {
      return std::nullopt;
    }
    if (batch.end > emptied) {
      // Not enough is empty for a whole step: one node after the other, as much as there is.
      batch.in_place = emptied == batch.begin;
      batch.end = batch.in_place ? batch.begin + 1 : emptied;
      at = label.stripes;
    }
    const auto told = expansion_.done.find(batch.begin);
    const bool done = told != expansion_.done.end() && told->second >= batch.end;
    if (batch.begin / step % nodes == rank && !done) {
      return batch;
    }
  }
  return std::nullopt;
}

// Under the locks: another node may have done it meanwhile, or be the one who does it.
bool Core::still_due(const Batch& batch) const {
  const GroupLabel& label = disks_.label();
  const std::uint64_t emptied = emptied_rows(label);
  return view_ == batch.view && is_expanding(label) && label.expanded <= batch.begin &&
         (batch.in_place ? emptied == batch.begin && label.expanded == batch.begin
                         : batch.end <= emptied);
}

bool Core::recorded(const Batch& batch) const {
  return !disks_.expanding() || disks_.label().expanded >= batch.end;
}

Task<void> Core::expand_stripes() {
  for (;;) {
    if (stopped_.has_value()) {
      co_return;
    }
    const std::optional<Batch> batch = next_batch();
    if (!batch.has_value()) {
      co_await changed_.wait();
      continue;
    }
    const std::uint64_t columns = geometry().disks + geometry().data_columns();
    co_await give_way((batch->end - batch->begin) * geometry().chunk_blocks * columns);
    const Status moved = co_await move(*batch);
    if (moved.ok()) {
      expansion_.trouble.reset();
      continue;
    }
    expansion_.trouble = moved.error();
    notice_end();
    tell_of_suspects();
    tell_of_trouble(*batch);
    co_await sleep(scheduler_, kRetry);
  }
}

Task<Status> Core::move(Batch batch) {
  if (closing_ || !still_due(batch)) {
    co_return Ok{};  // it waited for its turn, and close() waits for nothing that begins now
  }
  const Request request(*this, Request::Of::kBackground);
  auto locks = std::make_unique<MoveLocks>();
  const Status locked = co_await lock_rows(batch, *locks);
  if (!locked.ok()) {
    co_return locked;
  }
  if (!still_due(batch)) {
    co_return Ok{};
  }
  const PlacedStripe first_stripe{Stripe{batch.begin}, geometry().disks};
  bool told = false;
  Task<Status> task =
      batch.in_place ? move_over(first_stripe, batch, told) : move_away(batch, told);
  const Status moved = co_await std::move(task);
  if (told && !moved.ok()) {
    kept_.push_back(std::move(locks));  // what they protect may have moved, or be half written
  }
  co_return moved;
}

// (3): rows that are written alone, those that are read with others who read.  Not all of them when
// another node has got the batch meanwhile: it may hold one of these for what comes behind, and
// wait for what this one is to do now.
Task<Status> Core::lock_rows(Batch batch, MoveLocks& locks) {
  const std::uint64_t after = geometry().data_columns();
  const std::uint64_t before = capacity_of(disks_.label()).data_columns();
  const std::uint64_t stripes = geometry().stripes;
  std::map<Stripe, LockMode> rows;
  const std::uint64_t sources_end = std::min(stripes, (batch.end * after + before - 1) / before);
  for (std::uint64_t at = batch.begin * after / before; at < sources_end; ++at) {
    rows[Stripe{at}] = LockMode::kShared;
  }
  for (std::uint64_t at = batch.begin; at < batch.end; ++at) {
    rows[Stripe{at}] = LockMode::kExclusive;
  }
  std::map<LockRange, LockMode> ranges;
  for (const auto& [stripe, mode] : rows) {
    LockMode& wanted = ranges[range_of(stripe)];
    wanted = std::max(wanted, mode);
  }
  for (const auto& entry : ranges) {
    const Stripe in_range{static_cast<std::uint64_t>(entry.first) * range_stripes()};
    const LockMode mode = entry.second;
    LockUse& use = locks.ranges.emplace_back(locks_, granted_);
    use.want(range_of(in_range), mode, 0);
    while (!use.granted()) {
      if (const std::optional<Error> error = ended()) {
        co_return *error;
      }
      // Woken by a grant, a label or a view.
      if (!still_due(batch)) {
        co_return Ok{};
      }
      co_await granted_.wait();
    }
  }
  const std::uint32_t chunk = geometry().chunk_blocks;
  for (const auto& entry : rows) {
    const Stripe stripe = entry.first;
    const bool alone = entry.second == LockMode::kExclusive;
    RowLocks::Hold& row = locks.rows.emplace_back(rows_, stripe, 0, chunk, alone);
    const Status held = co_await hold(row);
    if (!held.ok()) {
      co_return held;
    }
    const Status free = co_await end_intents(stripe, 0, chunk);
    if (!free.ok()) {
      co_return free;
    }
  }
  co_return Ok{};
}

// The sheet gets what the stripe is to hold, from the stripes of the disks before.
Task<Status> Core::gather(Sheet& sheet) {
  const Geometry before = capacity_of(disks_.label());
  const std::uint32_t columns = before.data_columns();
  const std::uint32_t wanted = disks_.geometry(sheet.of).data_columns();
  const std::uint64_t first_chunk = static_cast<std::uint64_t>(sheet.of.stripe) * wanted;
  for (std::uint32_t column = 0; column < wanted;) {
    const std::uint64_t chunk = first_chunk + column;
    const PlacedStripe from{Stripe{chunk / columns}, before.disks};
    const auto first_column = static_cast<std::uint32_t>(chunk % columns);
    const std::uint32_t run = std::min(columns - first_column, wanted - column);
    if (static_cast<std::uint64_t>(from.stripe) >= before.stripes) {
      std::ranges::fill(sheet.column(column), std::byte{0});  // room that nobody had
      ++column;
      continue;
    }
    Sheet old(from, 0, before.chunk_blocks);
    const ColumnSet needed = first(run) << first_column;
    const Status obtained = co_await io_.obtain(old, needed);
    if (!obtained.ok()) {
      co_return obtained;
    }
    for (std::uint32_t i = 0; i < run; ++i) {
      copy_bytes(old.column(first_column + i), sheet.column(column + i));
    }
    column += run;
  }
  io_.encode(sheet);
  co_return Ok{};
}

Task<Status> Core::move_stripe(Stripe stripe) {
  Sheet sheet({stripe, geometry().disks}, 0, geometry().chunk_blocks);
  const Status gathered = co_await gather(sheet);
  if (!gathered.ok()) {
    co_return gathered;
  }
  co_await io_.put(sheet, first(sheet.of.disks));
  co_return Ok{};
}

// To rows that hold nothing.  What was told in a view that is over and is not in the label counts
// for nothing: then the locks go back, as others may have other steps by now, and wait for them.
Task<Status> Core::move_away(Batch batch, bool& told) {
  const Generation at = batch.view;
  for (std::uint64_t number = batch.begin; number < batch.end; ++number) {
    const auto stripe = static_cast<Stripe>(number);
    const Status moved = co_await move_stripe(stripe);
    if (!moved.ok()) {
      co_return moved;
    }
  }
  co_await io_.flush();
  const Status absorbed = co_await absorb_failures();
  if (!absorbed.ok()) {
    co_return absorbed;
  }
  const bool too_early = is_stuck() && batch.begin != disks_.label().expanded;
  if (too_early) {
    co_return Ok{};
  }
  told = at == view_;
  const Status over = co_await tell_of_move(batch, at);
  if (!over.ok()) {
    co_return over;
  }
  if (!recorded(batch)) {
    co_return Ok{};
  }
  told = true;
  counters_.moved += batch.end - batch.begin;
  const Status known = co_await wait_until_known();
  co_return known;
}

// Over what it takes the place of: from its intent on it is carried through.
Task<Status> Core::move_over(PlacedStripe stripe, Batch batch, bool& told) {
  Sheet sheet(stripe, 0, geometry().chunk_blocks);
  const Status gathered = co_await gather(sheet);
  if (!gathered.ok()) {
    co_return gathered;
  }
  const Update update = io_.describe_move(sheet);
  told = true;
  const Status free_to_begin = co_await wait_to_begin(update.intent);
  if (!free_to_begin.ok()) {
    co_return free_to_begin;
  }
  const Result<IntentLog::Handle> begun = co_await begin(update);
  if (!begun.ok()) {
    co_return begun.error();
  }
  while (!recorded(batch)) {
    const Generation at = view_;
    co_await io_.put(sheet, first(stripe.disks));
    co_await io_.flush();
    const Status absorbed = co_await absorb_failures();
    if (!absorbed.ok()) {
      co_return absorbed;
    }
    const Status over = co_await tell_of_move(batch, at);
    if (!over.ok()) {
      co_return over;
    }
  }
  counters_.moved += 1;
  begun.value()->completed = true;
  log_.wake();
  const Status gone = co_await end_intents(stripe.stripe, 0, sheet.rows);
  if (!gone.ok()) {
    co_return gone;
  }
  const Status known = co_await wait_until_known();
  co_return known;
}

// Comes back when the label says so, or when it must be written again: in another view than `at`.
Task<Status> Core::tell_of_move(Batch batch, Generation at) {
  if (view_ != at) {
    co_return Ok{};
  }
  const MoveBody body = {.begin = batch.begin, .end = batch.end};
  note_move(self_, body);
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kMove, view_, bytes_of(body)); });
  for (;;) {
    if (stopped_.has_value()) {
      co_return kEnded;
    }
    if (recorded(batch) || view_ != at) {
      co_return Ok{};
    }
    co_await changed_.wait();
  }
}

// (3).  REQUIRES: the label that this node goes by says it.
Task<Status> Core::wait_until_known() {
  const std::uint64_t sequence = disks_.label().sequence;
  for (;;) {
    if (stopped_.has_value()) {
      co_return kEnded;
    }
    if (all_know(sequence)) {
      co_return Ok{};
    }
    co_await changed_.wait();
  }
}

}  // namespace duet::raid
