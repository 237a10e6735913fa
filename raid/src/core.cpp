#include "core.h"

#include <algorithm>

#include "io_batch.h"

namespace duet::raid {

Core::Core(Scheduler& scheduler, std::vector<BlockDevice*> devices, Assembly assembly,
           IntentMemory memory, Peers& peers, GroupOptions options)
    : scheduler_(scheduler),
      devices_(std::move(devices)),
      assembly_(std::move(assembly)),
      options_(options),
      self_(options.self),
      incarnation_(options.incarnation),
      peers_(peers),
      disks_(assembly_, devices_),
      io_(disks_, counters_),
      memory_(memory),
      log_(scheduler, memory_, peers, self_),
      locks_(self_, *this),
      rows_(scheduler),
      outbox_(scheduler, peers),
      changed_(scheduler),
      granted_(scheduler),
      wishing_(scheduler),
      scope_(scheduler) {}

Core::~Core() {
  dying_ = true;  // as a crash: what the tasks give up is told to nobody
  peers_.attach(nullptr);
  scope_.cancel();
}

void Core::start() {
  peers_.attach(this);
  for (std::uint8_t i = 0; i < kNodesMax; ++i) {
    if (NodeId{i} != self_ && peers_.session(NodeId{i}) != 0) {
      say_hello(NodeId{i}, true);
    }
  }
  scope_.spawn(lead());
  scope_.spawn(rebuild());
  scope_.spawn(expand_stripes());
  scope_.spawn(scrub());
}

std::optional<Error> Core::ended() const {
  if (stopped_.has_value()) {
    return stopped_;
  }
  if (disks_.fenced()) {
    return Error{Errc::kFenced, "a disk of the redundancy group refused this node"};
  }
  if (disks_.too_many_failed()) {
    return Error{Errc::kIo, "more disks of the redundancy group failed than it can lose"};
  }
  return std::nullopt;
}

void Core::stop(const Error& why) {
  if (!stopped_.has_value()) {
    stopped_ = why;
  }
  active_ = false;
  log_.stop();
  wake();
}

// After I/O: what the disks said may be the end.
void Core::notice_end() {
  if (const std::optional<Error> error = ended(); error.has_value() && !stopped_.has_value()) {
    stop(*error);
  }
}

void Core::wake() {
  changed_.wake_all();
  granted_.wake_all();
  log_.wake();
}

Task<Status> Core::wait_active() {
  for (;;) {
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    if (active_) {
      co_return Ok{};
    }
    co_await changed_.wait();
  }
}

GroupStatus Core::status() const {
  return {.active = active_,
          .ended = ended(),
          .view = view_,
          .members = members_,
          .holders = holders_,
          .incarnations = incarnations_,
          .leads = active_ && leads(),
          .intents = log_.size(),
          .rebuild = {.disks = disks_.rebuilding(),
                      .stripes = geometry().stripes,
                      .done = std::max(stripes_below(rebuild_.sweep.reached()), disks_.watermark()),
                      .recorded = disks_.watermark(),
                      .done_before = rebuild_.done_before,
                      .began = rebuild_.began,
                      .shares = rebuild_.sweep.shares(),
                      .trouble = rebuild_.trouble},
          .expansion = expansion_status(),
          .scrub = scrub_status(),
          .label = disks_.label()};
}

GroupCounters Core::counters() const {
  GroupCounters counters = counters_;
  counters.messages = outbox_.messages();
  counters.packets = outbox_.packets();
  counters.locks = locks_.counters();
  return counters;
}

void Core::node_fenced(NodeId node, std::uint64_t incarnation) {
  DUET_CHECK(node != self_);
  note_dead(node, incarnation);
  const std::uint64_t latest = started_[number(node)];
  fenced_ |= latest == 0 || latest == incarnation ? only(node) : 0;
  ++changes_;
  if (active_) {
    tell_present_view(members_);
  }
  wake();
}

void Core::node_started(NodeId node, std::uint64_t incarnation) {
  DUET_CHECK(node != self_);
  started_[number(node)] = incarnation;
  fenced_ &= ~only(node);
  ++changes_;
}

void Core::disk_failed(std::uint32_t disk) {
  DUET_CHECK(disk < geometry().disks);
  disks_.suspect(disk);
  tell_of_suspects();
}

void Core::tell_of_suspects() {
  if ((disks_.suspects() & ~reported_) != 0) {
    reported_ |= disks_.suspects();
    ++changes_;
    report();
    wake();
  }
}

// ---- settling: intents whose writes are done are ended ----

// A cycle that begins after this call has ended.
Task<Status> Core::settle_all() {
  const std::uint64_t mine = ++settles_wanted_;
  if (!settling_) {
    settling_ = true;
    scope_.spawn(settle_cycles());
  }
  for (;;) {
    if (settles_done_ >= mine) {
      co_return Ok{};
    }
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    co_await changed_.wait();
  }
}

Task<void> Core::settle_cycles() {
  while (settles_done_ < settles_wanted_ && !ended().has_value()) {
    const std::uint64_t covers = settles_wanted_;
    std::vector<IntentLog::Handle> lives = log_.completed();
    if (!lives.empty()) {
      ++counters_.settles;
      co_await io_.flush();
      const Status absorbed = co_await absorb_failures();
      if (!absorbed.ok()) {
        break;
      }
      const Status ended_there = co_await log_.end(std::move(lives));
      if (!ended_there.ok()) {
        stop(ended_there.error());
        break;
      }
    }
    settles_done_ = covers;
    changed_.wake_all();
  }
  settling_ = false;
  changed_.wake_all();
}

Task<void> Core::settle_later() {
  co_await sleep(scheduler_, options_.settle_after);
  timer_runs_ = false;
  const Status settled = co_await settle_all();
  static_cast<void>(settled);  // whoever needs it settled asks for himself
}

// A failing disk must be in the label, and this node in the view that goes by it, before what it
// missed is told done.  In the view before others may read it still, and would be given the lock.
Task<Status> Core::absorb_failures() {
  for (;;) {
    notice_end();
    if (stopped_.has_value()) {
      co_return *stopped_;
    }
    if (((disks_.suspects() | disks_.failed()) & ~failed_in_view_) == 0) {
      co_return Ok{};
    }
    tell_of_suspects();
    co_await changed_.wait();
  }
}

void Core::settle(LockRange range, std::uint64_t number) {
  if (!dying_) {
    scope_.spawn(settle_range(range, number));
  }
}

Task<void> Core::settle_range(LockRange range, std::uint64_t number) {
  const std::uint64_t from = static_cast<std::uint64_t>(range) * range_stripes();
  const Stripe first{from};
  const Stripe end{from + range_stripes()};
  while (log_.any_in(first, end)) {
    const Status settled = co_await settle_all();
    if (!settled.ok()) {
      co_return;  // the lock stays: what it protects may be half done
    }
    // An update whose caller abandoned it never completes, and keeps its lock.
    const bool stuck = log_.completed().empty() && log_.any_in(first, end);
    if (stuck) {
      co_await log_.changed().wait();
    }
  }
  // In a turn of its own: the table may be in the middle of something.
  co_await yield(scheduler_);
  locks_.settled(range, number);
}

// ---- the end ----

Task<Status> Core::flush() {
  const std::uint64_t answered = last_early_write_;
  while (!early_writes_.empty() && *early_writes_.begin() <= answered && !ended().has_value()) {
    co_await changed_.wait();
  }
  const Status settled = co_await settle_all();
  co_return settled;
}

Task<Status> Core::close() {
  closing_ = true;
  // The others go on before they tell this node: it may read nothing by then.
  while (requests_ > 0) {
    co_await changed_.wait();
  }
  while (log_.size() > 0) {
    const Status settled = co_await settle_all();
    if (!settled.ok()) {
      co_return settled;
    }
  }
  // From the moment it says so another one leads.
  ++giving_way_;
  co_await end_own_change();
  leaving_ |= only(self_);
  --giving_way_;
  ++changes_;
  report();
  wake();
  while (active_ && !ended().has_value()) {
    co_await changed_.wait();
  }
  if (stopped_.has_value() && stopped_->code == Errc::kClosed) {
    co_return Ok{};
  }
  co_return Error{Errc::kIo, "the redundancy group did not end in order"};
}

}  // namespace duet::raid
