// Scrubbing, by all nodes of the view; and what a layer above asks for whose checksum says that a
// block is wrong.
//
// A scrub has a number.  Whoever hears of a greater one than its own begins it; so it is enough to
// tell of it now and then: at its start, in every step, and when a view begins.  It is known to
// memories only, and ends with the last node that knows of it.

#include <algorithm>

#include "core.h"

namespace duet::raid {

namespace {

constexpr std::uint64_t kWindow = 4;  // steps of each node above what is done by all
constexpr Duration kRetry = std::chrono::milliseconds(200);

}  // namespace

Status Core::start_scrub() {
  if (!active_) {
    return Error{Errc::kTryAgain, "this node does not manage the redundancy group now"};
  }
  if (scrub_.running) {
    return Error{Errc::kExists, "a scrub of the redundancy group runs"};
  }
  begin_scrub(scrub_.number + 1);
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
                        .stripes = geometry().stripes,
                        .done = stripes_below(scrub_.sweep.reached()),
                        .began = scrub_.began,
                        .shares = scrub_.sweep.shares(),
                        .trouble = scrub_.trouble};
  for (const ScrubReport& report : scrub_.reports) {
    status.counts.repaired += report.counts.repaired;
    status.counts.unreadable += report.counts.unreadable;
    status.counts.unsure += report.counts.unsure;
    status.found.insert(status.found.end(), report.first.begin(), report.first.end());
  }
  return status;
}

void Core::begin_scrub(std::uint64_t number) {
  scrub_ = Scrub();
  scrub_.number = number;
  scrub_.running = true;
  scrub_.began = scheduler_.now();
  wake();
}

void Core::tell_of_scrub() {
  if (scrub_.number == 0) {
    return;
  }
  const ScrubBody body = {.number = scrub_.number,
                          .reached = scrub_.sweep.reached(),
                          .running = scrub_.running ? 1U : 0U};
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kScrub, view_, bytes_of(body)); });
  for (const std::uint64_t step : scrub_.sweep.done()) {
    tell_of_scrub_step(step);
  }
}

void Core::tell_of_scrub_step(std::uint64_t step) {
  const ScrubReport& mine = scrub_.reports[number(self_)];
  ScrubStepBody body = {.number = scrub_.number,
                        .step = step,
                        .repaired = mine.counts.repaired,
                        .unreadable = mine.counts.unreadable,
                        .unsure = mine.counts.unsure,
                        .rows = static_cast<std::uint32_t>(mine.first.size())};
  for (std::size_t i = 0; i < mine.first.size(); ++i) {
    const ScrubFinding& finding = mine.first[i];
    body.first[i] = {static_cast<std::uint64_t>(finding.stripe), finding.row, finding.column};
  }
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kScrubStep, view_, bytes_of(body)); });
}

void Core::on_scrub(const ScrubBody& body) {
  if (body.reached > step_count()) {
    return;
  }
  if (body.number < scrub_.number) {
    tell_of_scrub();  // its sender has not heard of this one
    return;
  }
  if (body.number > scrub_.number) {
    begin_scrub(body.number);
  }
  scrub_.running = scrub_.running && body.running != 0;
  scrub_.sweep.skip_to(body.reached);
  wake();
}

void Core::on_scrub_step(NodeId from, const ScrubStepBody& body) {
  if (body.number < scrub_.number || body.step >= step_count() || !sane(body, disks_.label())) {
    return;
  }
  if (body.number > scrub_.number) {
    begin_scrub(body.number);
  }
  ScrubReport& report = scrub_.reports[number(from)];
  report.counts = {body.repaired, body.unreadable, body.unsure};
  report.first.clear();
  for (std::uint32_t i = 0; i < body.rows; ++i) {
    report.add({Stripe{body.first[i].stripe}, body.first[i].row, body.first[i].column});
  }
  note_scrub_step(from, body.step);
}

void Core::note_scrub_step(NodeId node, std::uint64_t step) {
  scrub_.sweep.note(node, step, stripes_below(step + 1) - stripes_below(step));
  if (scrub_.sweep.reached() == step_count()) {
    scrub_.running = false;
  }
  wake();
}

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
    const std::uint64_t number_before = scrub_.number;
    const Status done = co_await for_each_stripe(*step, &Core::scrub_stripe);
    tell_of_suspects();
    if (number_before != scrub_.number) {
      continue;
    }
    if (done.ok()) {
      scrub_.trouble.reset();
      tell_of_scrub_step(*step);
      note_scrub_step(self_, *step);
      continue;
    }
    scrub_.trouble = done.error();
    notice_end();
    co_await sleep(scheduler_, kRetry);
  }
}

Task<Status> Core::scrub_stripe(PlacedStripe stripe) {
  if (disks_.loose(stripe.stripe)) {
    co_return Ok{};  // it need not match
  }
  Sheet sheet(stripe, 0, geometry().chunk_blocks);
  const std::uint64_t number_before = scrub_.number;
  ScrubReport report;
  const Status done = co_await io_.scrub(sheet, report);
  if (number_before == scrub_.number) {
    ScrubReport& mine = scrub_.reports[number(self_)];
    mine.counts.repaired += report.counts.repaired;
    mine.counts.unreadable += report.counts.unreadable;
    mine.counts.unsure += report.counts.unsure;
    for (const ScrubFinding& finding : report.first) {
      mine.add(finding);
    }
  }
  ++counters_.scrubbed;
  co_return done;
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
  std::ranges::copy(sheet.column(column), bytes.begin());
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
    if (!obtained.ok() || !std::ranges::equal(sheet.column(column), good)) {
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
