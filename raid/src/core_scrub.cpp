// Scrubbing, by all nodes of the view; and what a layer above asks for whose checksum says that a
// block is wrong.
//
// A scrub has a number.  Whoever hears of a greater one than its own begins it; so it is enough to
// tell of it now and then: at its start, in every step, and when a view begins.  It is known to
// memories only, and ends with the last node that knows of it.
//
// It also makes rows match that a rebuild has passed by (core_rebuild.cpp), and at its end the
// leader takes their regions out of the label.  From then on updates there modify check data, so
// every row must match by then, for good:
//
//   (1) A step says that it matches when all of its rows do and the disks were flushed since.
//   (2) A row that matches does so until a disk comes that does not hold it.  Each time a disk
//       comes into another state the label says so with a sequence that no state had before: as
//       long as whole_since() is what it was when the scrub began, none has.
//   (3) So a region is taken out when all of its steps have said so, and whole_since(), of the one
//       that did the step and of the leader that writes the label, is as it was when the scrub
//       began.  Of what a node does not know for sure it says that it does not match.
//
// A node with the label before computes all check data from all data there: more than it must.

#include <algorithm>

#include "core.h"

namespace duet::raid {

namespace {

constexpr std::uint64_t kWindow = 4;  // steps of each node above what is done by all
constexpr Duration kRetry = std::chrono::milliseconds(200);
// Of a step in which a row can be neither read nor computed: by then disks that only were away are
// back, or known to have failed, and what is left is damage.
constexpr std::uint32_t kTries = 5;

void add(ScrubCounts& to, const ScrubCounts& counts) {
  to.repaired += counts.repaired;
  to.unreadable += counts.unreadable;
  to.unsure += counts.unsure;
  to.trusted += counts.trusted;
  to.loose += counts.loose;
  to.loose_left += counts.loose_left;
}

bool is_same(const ScrubName& a, const ScrubName& b) { return !is_later(a, b) && !is_later(b, a); }

}  // namespace

Status Core::start_scrub(ScrubKind kind) {
  if (!active_) {
    return Error{Errc::kTryAgain, "this node does not manage the redundancy group now"};
  }
  if (scrub_.running) {
    return Error{Errc::kExists, "a scrub of the redundancy group runs"};
  }
  if (kind == ScrubKind::kTrustData && whole_since() == 0) {
    return Error{Errc::kRefused,
                 "a disk of the redundancy group is not in sync, or it is being expanded"};
  }
  begin_scrub({.number = scrub_.of.number + 1,
               .whole_since = whole_since(),
               .kind = static_cast<std::uint32_t>(kind)});
  tell_of_scrub();
  return Ok{};
}

Status Core::stop_scrub() {
  if (!scrub_.running) {
    return Error{Errc::kNotFound, "no scrub of the redundancy group runs"};
  }
  scrub_.running = false;
  tell_of_scrub();
  return Ok{};
}

ScrubStatus Core::scrub_status() const {
  ScrubStatus status = {.running = scrub_.running,
                        .kind = static_cast<ScrubKind>(scrub_.of.kind),
                        .stripes = geometry().stripes,
                        .done = stripes_below(scrub_.sweep.reached()),
                        .began = scrub_.began,
                        .shares = scrub_.sweep.shares(),
                        .trouble = scrub_.trouble};
  for (const ScrubReport& report : scrub_.reports) {
    add(status.counts, report.counts);
    status.found.insert(status.found.end(), report.first.begin(), report.first.end());
  }
  return status;
}

void Core::begin_scrub(const ScrubName& name) {
  scrub_ = Scrub();
  scrub_.of = name;
  scrub_.running = true;
  scrub_.began = scheduler_.now();
  wake();
}

// Whether what is said of a scrub is said of the one that this node knows, or knows from now on.
bool Core::follow_scrub(const ScrubName& name) {
  if (is_later(scrub_.of, name)) {
    return false;
  }
  if (is_later(name, scrub_.of)) {
    begin_scrub(name);
  }
  if (name.whole_since != scrub_.of.whole_since) {
    scrub_.of.whole_since = 0;  // two nodes have begun it, and differ: neither is believed
  }
  return true;
}

void Core::tell_of_scrub() {
  if (scrub_.of.number == 0) {
    return;
  }
  const ScrubBody body = {.of = scrub_.of,
                          .reached = scrub_.sweep.reached(),
                          .running = scrub_.running ? 1U : 0U,
                          .left = scrub_.left};
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kScrub, view_, bytes_of(body)); });
  for (const std::uint64_t step : scrub_.sweep.done()) {
    tell_of_scrub_step(step, true);  // if it does not match, that was said above
  }
}

void Core::tell_of_scrub_step(std::uint64_t step, bool matches) {
  const ScrubReport& mine = scrub_.reports[number(self_)];
  ScrubStepBody body = {.of = scrub_.of,
                        .step = step,
                        .repaired = mine.counts.repaired,
                        .unreadable = mine.counts.unreadable,
                        .unsure = mine.counts.unsure,
                        .trusted = mine.counts.trusted,
                        .loose = mine.counts.loose,
                        .loose_left = mine.counts.loose_left,
                        .matches = matches ? 1U : 0U,
                        .rows = static_cast<std::uint32_t>(mine.first.size())};
  for (std::size_t i = 0; i < mine.first.size(); ++i) {
    const ScrubFinding& finding = mine.first[i];
    body.first[i] = {static_cast<std::uint64_t>(finding.stripe), finding.row, finding.column};
  }
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kScrubStep, view_, bytes_of(body)); });
}

void Core::on_scrub(const ScrubBody& body) {
  if (body.reached > step_count() || !sane(body.of)) {
    return;
  }
  if (!follow_scrub(body.of)) {
    tell_of_scrub();  // its sender has not heard of this one
    return;
  }
  scrub_.running = scrub_.running && body.running != 0;
  for (std::size_t i = 0; i < scrub_.left.size(); ++i) {
    scrub_.left[i] |= body.left[i];
  }
  scrub_.sweep.skip_to(body.reached);
  wake();
}

void Core::on_scrub_step(NodeId from, const ScrubStepBody& body) {
  if (body.step >= step_count() || !sane(body, disks_.label()) || !follow_scrub(body.of)) {
    return;
  }
  ScrubReport& report = scrub_.reports[number(from)];
  report.counts = {.repaired = body.repaired,
                   .unreadable = body.unreadable,
                   .unsure = body.unsure,
                   .trusted = body.trusted,
                   .loose = body.loose,
                   .loose_left = body.loose_left};
  report.first.clear();
  for (std::uint32_t i = 0; i < body.rows; ++i) {
    report.add({Stripe{body.first[i].stripe}, body.first[i].row, body.first[i].column});
  }
  note_scrub_step(from, body.step, body.matches != 0);
}

void Core::note_scrub_step(NodeId node, std::uint64_t step, bool matches) {
  if (!matches) {
    const std::uint64_t region = region_of(disks_.label(), Stripe{stripes_below(step)});
    scrub_.left[region / 64] |= std::uint64_t{1} << (region % 64);
  }
  scrub_.sweep.note(node, step, stripes_below(step + 1) - stripes_below(step));
  if (scrub_.sweep.reached() == step_count()) {
    scrub_.running = false;
  }
  wake();
}

// ---- whether what a scrub made to match does so for good ----

// Grows each time a disk comes into another state; 0: not all are in sync, or they become more.
std::uint64_t Core::whole_since() const {
  if (!all_in_sync() || disks_.expanding()) {
    return 0;
  }
  std::uint64_t newest = 0;
  for (std::uint32_t i = 0; i < geometry().disks; ++i) {
    newest = std::max(newest, disks_.label().members[i].since);
  }
  return newest + 1;
}

bool Core::same_disks_as_scrubbed() const {
  return scrub_.of.whole_since != 0 && scrub_.of.whole_since == whole_since();
}

// As the leader: whether the next label takes regions out of those that are loose.
bool Core::tightening_due() const {
  if (!active_ || !leads() || scrub_.of.number == 0 || scrub_.sweep.reached() != step_count() ||
      !same_disks_as_scrubbed()) {
    return false;
  }
  bool any = false;
  for (std::size_t i = 0; i < scrub_.left.size(); ++i) {
    any = any || (disks_.label().loose[i] & ~scrub_.left[i]) != 0;
  }
  return any;
}

// ---- every node ----

// A rebuild goes first.
std::optional<std::uint64_t> Core::next_scrub_step() const {
  if (!active_ || closing_ || looking_ > 0 || !scrub_.running || !rebuild_.of.empty()) {
    return std::nullopt;
  }
  const auto nodes = static_cast<std::uint64_t>(std::popcount(members_));
  return scrub_.sweep.next(members_, self_,
                           std::min(step_count(), scrub_.sweep.reached() + kWindow * nodes));
}

Task<void> Core::scrub() {
  for (;;) {
    if (stopped_.has_value()) {
      co_return;
    }
    const std::optional<std::uint64_t> step = next_scrub_step();
    if (!step.has_value()) {
      co_await changed_.wait();
      continue;
    }
    const ScrubName name = scrub_.of;
    const ScrubCounts before = scrub_.reports[number(self_)].counts;
    scrub_.matches = true;
    scrub_.touched = false;
    const Status done = co_await for_each_stripe(*step, &Core::scrub_stripe);
    const bool matches = co_await scrubbed_for_good();
    tell_of_suspects();
    if (!is_same(name, scrub_.of)) {
      continue;
    }
    if (done.ok()) {
      scrub_.tries = 0;
      scrub_.trouble.reset();
      tell_of_scrub_step(*step, matches);
      note_scrub_step(self_, *step, matches);
      continue;
    }
    ++scrub_.tries;
    scrub_.trouble = done.error();
    // What was not put right is found again.
    scrub_.reports[number(self_)].counts.unsure = before.unsure;
    scrub_.reports[number(self_)].counts.loose_left = before.loose_left;
    notice_end();
    co_await sleep(scheduler_, kRetry);
  }
}

// What was written of the step is on the disks then, or has failed.  Whether all of it matches.
Task<bool> Core::scrubbed_for_good() {
  if (scrub_.touched) {
    co_await io_.flush();
  }
  const bool matches = scrub_.matches && same_disks_as_scrubbed();
  co_return matches;
}

Task<Status> Core::scrub_stripe(PlacedStripe stripe) {
  const bool loose = disks_.loose(stripe.stripe);
  const bool same_disks = same_disks_as_scrubbed();
  if (loose && !same_disks) {
    scrub_.matches = false;
    co_return Ok{};  // it need not match
  }
  ScrubRules rules;
  rules.trust_data =
      same_disks && scrub_.of.kind == static_cast<std::uint32_t>(ScrubKind::kTrustData);
  rules.pass_by_lost = scrub_.tries >= kTries;
  if (loose) {
    rules.unneeded = [this, stripe](std::uint32_t row) { return unneeded(stripe, row); };
  }
  Sheet sheet(stripe, 0, geometry().chunk_blocks);
  const ScrubName name = scrub_.of;
  ScrubReport report;
  const Status done = co_await io_.scrub(sheet, rules, report);
  if (is_same(name, scrub_.of)) {
    ScrubReport& mine = scrub_.reports[number(self_)];
    add(mine.counts, report.counts);
    for (const ScrubFinding& finding : report.first) {
      mine.add(finding);
    }
    scrub_.matches = scrub_.matches && report.matches;
    scrub_.touched = scrub_.touched || loose || report.counts != ScrubCounts();
  }
  ++counters_.scrubbed;
  co_return done;
}

// Whether those who live on the row's blocks have said that nobody needs them.
bool Core::unneeded(const PlacedStripe& stripe, std::uint32_t row) const {
  const Geometry geometry = disks_.geometry(stripe);
  const std::uint64_t first =
      static_cast<std::uint64_t>(stripe.stripe) * geometry.stripe_blocks() + row;
  bool any = disks_.expanding();  // needed(), the same
  for (std::uint32_t column = 0; column < geometry.data_columns(); ++column) {
    const std::uint64_t block = first + std::uint64_t{column} * geometry.chunk_blocks;
    any = any || anyone_needs(block, block + 1);
  }
  return !any;
}

// ---- self-healing ----

// Does the work where the block lies, under locks of its cell.
Task<Status> Core::with_block(std::uint64_t block, LockMode mode, const BlockWork& work) {
  DUET_CHECK(block < capacity_of(disks_.label()).block_count());
  if (closing_) {
    co_return Error{Errc::kClosed, "the redundancy group is being closed"};
  }
  const Request request(*this);
  for (;;) {
    const Site site = site_of(disks_.label(), block);
    const std::uint32_t chunk = geometry().chunk_blocks;
    const Cell cell = {site.first / chunk, site.first % chunk};
    LockUse use(locks_, granted_);
    const Status locked = co_await hold(use, site.of.stripe, mode);
    if (!locked.ok()) {
      co_return locked;
    }
    RowLocks::Hold rows(rows_, site.of.stripe, cell.row, 1, mode == LockMode::kExclusive);
    const Status held = co_await hold(rows);
    if (!held.ok()) {
      co_return held;
    }
    const bool moved = site_of(disks_.label(), block) != site;
    if (moved) {
      continue;
    }
    const Status done = co_await work(site.of, cell);
    co_return done;
  }
}

Task<Status> Core::read_other(std::uint64_t block, std::uint32_t attempt, MutableBytes bytes) {
  DUET_CHECK(bytes.size() == kBlockBytes);
  const BlockWork work = [this, attempt, bytes](PlacedStripe stripe, Cell cell) {
    return read_other_cell(stripe, cell, attempt, bytes);
  };
  const Status read = co_await with_block(block, LockMode::kShared, work);
  const std::optional<Error> over = ended();
  if (!read.ok() && read.error().code == Errc::kIo && over.has_value()) {
    co_return Error{Errc::kClosed, over->context};  // another way would be tried else, for ever
  }
  co_return read;
}

Task<Status> Core::read_other_cell(PlacedStripe stripe, Cell cell, std::uint32_t attempt,
                                   MutableBytes bytes) {
  const std::uint32_t column = cell.column;
  if (attempt >= io_.other_ways(stripe, column)) {
    co_return Error{Errc::kNotFound, "there is no other way to compute this block"};
  }
  ++counters_.others_read;
  Sheet sheet(stripe, cell.row, 1);
  const Status obtained =
      co_await io_.obtain_other(sheet, column, io_.sources(stripe, column, attempt));
  if (!obtained.ok()) {
    notice_end();
    co_return obtained;
  }
  copy_bytes(sheet.column(column), bytes);
  co_return Ok{};
}

Task<Status> Core::repair(std::uint64_t block, ConstBytes good) {
  DUET_CHECK(good.size() == kBlockBytes);
  const BlockWork work = [this, good](PlacedStripe stripe, Cell cell) {
    return repair_cell(stripe, cell, good);
  };
  const Status repaired = co_await with_block(block, LockMode::kExclusive, work);
  co_return repaired;
}

// What computes to `good` is right, all of it: every source counts in every
// byte of the result.
Task<Status> Core::repair_cell(PlacedStripe stripe, Cell cell, ConstBytes good) {
  const std::uint32_t column = cell.column;
  const Status free = co_await end_intents(stripe.stripe, cell.row, 1);
  if (!free.ok()) {
    co_return free;
  }
  for (std::uint32_t way = 0; way < io_.other_ways(stripe, column); ++way) {
    const ColumnSet sources = io_.sources(stripe, column, way);
    Sheet sheet(stripe, cell.row, 1);
    const Status obtained = co_await io_.obtain_other(sheet, column, sources);
    if (!obtained.ok() && obtained.error().code == Errc::kFenced) {
      notice_end();
      co_return obtained;
    }
    if (!obtained.ok() || !same_bytes(sheet.column(column), good)) {
      continue;
    }
    const std::uint64_t healed = co_await io_.heal(sheet, sources);
    counters_.healed += healed;
    const Status absorbed = co_await absorb_failures();
    co_return absorbed;
  }
  co_return Error{Errc::kRefused, "the disks of the redundancy group do not hold this block"};
}

}  // namespace duet::raid
