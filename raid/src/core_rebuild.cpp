// Rebuilding disks, by all nodes of the view at the same time.
//
//   steps of the label's size; step k is for the (k mod nodes)th node of the view
//     each stripe: exclusive lock, its rows, no intent left -> compute from the others, write
//     flush -> "step k is done" to all
//   leader: all steps below k are done -> a label with a higher watermark -> to all
//
// Invariants:
//   (1) Below the watermark of the label every stripe's data is on the disk, flushed before the
//       label was written.
//   (2) A stripe that was rebuilt is kept: every later write gets to the disk (core_disks.cpp), and
//       no earlier intent is left that does not know it.
//   (3) What is done stays done while the same disks are rebuilt, whoever comes or goes.
//   (4) No step begins that is further than kWindow steps of each node above the watermark: that
//       is all that is done again when everybody ends.
//
// Steps whose stripes nobody needs are passed by.  What the new disk holds there does not match the
// others, so (a) the label that takes the watermark over them says that they are loose: from then
// on updates there compute check data from all data of a row; and (b) below that, at nodes that
// do not know that label yet, updates write the rows of the new disk, too.  So a row in which
// something is needed always matches.  A scrub makes the others match (core_scrub.cpp).
//
// A node may have an older watermark than another: it computes what the other reads.

#include <algorithm>

#include "core.h"

namespace duet::raid {

namespace {

constexpr std::uint64_t kWindow = 8;  // steps of each node
// Of one step: enough to keep the disks at work while others are waited for.
constexpr std::size_t kStripesAtOnce = 4;
constexpr Duration kRetry = std::chrono::milliseconds(200);
constexpr Duration kLook = std::chrono::microseconds(500);

}  // namespace

std::uint64_t Core::step_count() const {
  const std::uint64_t step = disks_.label().step_stripes;
  return (geometry().stripes + step - 1) / step;
}

std::uint64_t Core::stripes_below(std::uint64_t step) const {
  return std::min(geometry().stripes, step * disks_.label().step_stripes);
}

// The step in which the label's watermark stands.
std::uint64_t Core::first_step() const {
  return disks_.watermark() == geometry().stripes
             ? step_count()
             : disks_.watermark() / disks_.label().step_stripes;
}

// A view begins, or a newer label of it is known.
void Core::begin_rebuild() {
  std::vector<std::pair<DiskId, std::uint64_t>> of;
  for (std::uint32_t i = 0; i < geometry().disks; ++i) {
    if (disks_.state(i) == DiskState::kRebuilding) {
      of.emplace_back(disks_.label().members[i].id, disks_.label().members[i].since);
    }
  }
  if (of != rebuild_.of) {
    rebuild_ = Rebuild();
    rebuild_.of = std::move(of);
    for (std::uint32_t i = 0; i < geometry().disks; ++i) {
      if (disks_.state(i) == DiskState::kRebuilding) {
        counters_.put_right[i] = 0;  // another disk's
      }
    }
    if (!rebuild_.of.empty()) {
      rebuild_.began = scheduler_.now();
      rebuild_.done_before = disks_.watermark();
    }
  }
  rebuild_.sweep.skip_to(first_step());
  rebuild_.passed_by.erase(rebuild_.passed_by.begin(),
                           rebuild_.passed_by.lower_bound(first_step()));
  wake();
}

// What was done in earlier views: somebody may have missed it.
void Core::repeat_steps() {
  if (rebuild_.of.empty()) {
    return;
  }
  for (std::uint64_t step = first_step(); step < rebuild_.sweep.reached(); ++step) {
    tell_of_step(step);
  }
  for (const std::uint64_t step : rebuild_.sweep.done()) {
    tell_of_step(step);
  }
}

void Core::tell_of_step(std::uint64_t step) {
  const StepBody body = {.step = step, .passed_by = rebuild_.passed_by.contains(step) ? 1U : 0U};
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kStep, view_, bytes_of(body)); });
}

void Core::note_step(NodeId node, std::uint64_t step, bool passed_by) {
  if (rebuild_.of.empty() || step >= step_count()) {
    return;
  }
  const std::uint64_t stripes = stripes_below(step + 1) - stripes_below(step);
  const bool news = rebuild_.sweep.note(node, step, stripes);
  if (news && passed_by) {
    rebuild_.passed_by.insert(step);
  }
  if (news && rebuild_due()) {
    changes_ += paused_ ? 0 : 1;  // before those who want to be let in
    wake();
  }
}

// ---- the leader ----

bool Core::progress_due() const {
  return rebuild_due() || expansion_due() || tightening_due() || missed_due();
}

bool Core::rebuild_due() const {
  const std::uint64_t reached = rebuild_.sweep.reached();
  if (!active_ || rebuild_.of.empty() || !leads() || reached <= first_step()) {
    return false;
  }
  return reached == step_count() ||
         reached - first_step() >= static_cast<std::uint64_t>(std::popcount(members_));
}

Task<Status> Core::write_progress() {
  const auto label = std::make_unique<GroupLabel>(disks_.label());
  ++label->sequence;
  label->term = std::max(label->term, term_);
  if (tightening_due()) {
    for (std::size_t i = 0; i < label->loose.size(); ++i) {
      label->loose[i] &= scrub_.left[i];
    }
  }
  const std::uint64_t done = stripes_below(rebuild_.sweep.reached());
  for (std::uint32_t i = 0; i < label->disks; ++i) {
    LabelDisk& disk = label->members[i];
    if (static_cast<DiskState>(disk.state) != DiskState::kRebuilding) {
      continue;
    }
    disk.watermark = std::max(disk.watermark, done);
    if ((disk.flags & kRecorded) != 0) {
      disk.watermark = next_missed(*label, disk.watermark);
    }
    if (disk.watermark == label->stripes) {
      disk.state = static_cast<std::uint32_t>(DiskState::kInSync);
      disk.flags = 0;
      disk.watermark = 0;
      disk.since = label->sequence;
    }
  }
  for (const std::uint64_t step : rebuild_.passed_by) {
    for (std::uint64_t at = stripes_below(step); at < std::min(done, stripes_below(step + 1));
         ++at) {
      set_loose(*label, Stripe{at});
    }
  }
  advance(*label, moved_below());
  say_missed(*label, missed_);
  const Status written = co_await write_labels(*label);
  if (!written.ok()) {
    co_return written;
  }
  begin_rebuild();
  begin_expansion();
  tell_present_view(members_);
  say_what_is_known();
  co_return Ok{};
}

// ---- every node ----

// What this node does next.
std::optional<std::uint64_t> Core::next_step() const {
  if (!active_ || closing_ || looking_ > 0 || disks_.rebuilding() == 0 || rebuild_.of.empty()) {
    return std::nullopt;
  }
  const auto nodes = static_cast<std::uint64_t>(std::popcount(members_));
  return rebuild_.sweep.next(members_, self_,
                             std::min(step_count(), first_step() + kWindow * nodes));
}

Task<void> Core::rebuild() {
  for (;;) {
    if (stopped_.has_value()) {
      co_return;
    }
    const std::optional<std::uint64_t> step = next_step();
    if (!step.has_value()) {
      co_await changed_.wait();
      continue;
    }
    if (!lacks_any(*step)) {
      note_step(self_, *step, false);
      tell_of_step(*step);
      co_await yield(scheduler_);
      continue;
    }
    if (!needed(*step)) {
      counters_.passed_by += stripes_below(*step + 1) - stripes_below(*step);
      note_step(self_, *step, true);
      tell_of_step(*step);
      co_await yield(scheduler_);
      continue;
    }
    const std::vector<std::pair<DiskId, std::uint64_t>> of = rebuild_.of;
    const Status done = co_await rebuild_step(*step);
    notice_end();
    tell_of_suspects();
    if (of != rebuild_.of) {
      continue;
    }
    if (done.ok()) {
      rebuild_.trouble.reset();
      note_step(self_, *step, false);
      tell_of_step(*step);
      continue;
    }
    rebuild_.trouble = done.error();
    co_await sleep(scheduler_, kRetry);
  }
}

void Core::set_needed(const raid::Part& part, Needed needed) {
  if (needed) {
    needed_[part.first_block] = {part, std::move(needed)};
  } else {
    needed_.erase(part.first_block);
  }
}

// Whether there is a stripe in the step that a disk does not hold.
bool Core::lacks_any(std::uint64_t step) const {
  for (std::uint64_t at = stripes_below(step); at < stripes_below(step + 1); ++at) {
    const std::optional<PlacedStripe> there = stripe_in(disks_.label(), Stripe{at});
    if (there.has_value() && disks_.lacked_by_any(*there)) {
      return true;
    }
  }
  return false;
}

// Whether something in the step is, or could be.
bool Core::needed(std::uint64_t step) const {
  if (disks_.expanding()) {
    return true;  // what a stripe holds may change, and another node know it earlier
  }
  const std::uint64_t width = geometry().stripe_blocks();
  return anyone_needs(stripes_below(step) * width, stripes_below(step + 1) * width);
}

// Blocks [first, end).
bool Core::anyone_needs(std::uint64_t first, std::uint64_t end) const {
  for (std::uint64_t at = first; at < end;) {
    auto found = needed_.upper_bound(at);
    if (found == needed_.begin()) {
      return true;
    }
    const auto& [part, ask] = (--found)->second;
    const std::uint64_t part_end = part.first_block + part.blocks;
    if (at >= part_end || ask(at, std::min(end, part_end) - at)) {
      return true;
    }
    at = std::min(end, part_end);
  }
  return false;
}

// Its stripes are on the disks, for good, when this comes back without an error.
Task<Status> Core::rebuild_step(std::uint64_t step) {
  const Status done = co_await for_each_stripe(step, &Core::rebuild_stripe);
  if (!done.ok()) {
    co_return done;
  }
  const ColumnSet disks = disks_.rebuilding();
  co_await io_.flush(disks);
  if (disks != disks_.rebuilding() || disks != disks_.in_state(DiskState::kRebuilding)) {
    co_return Error{Errc::kIo, "a disk failed that was being rebuilt"};
  }
  co_return Ok{};
}

Task<Status> Core::rebuild_stripe(PlacedStripe stripe) {
  const ColumnSet wanted = disks_.rebuilding(stripe);
  if (wanted == 0) {
    co_return Ok{};
  }
  Sheet sheet(stripe, 0, geometry().chunk_blocks);
  const Status obtained = co_await io_.obtain(sheet, wanted);
  if (!obtained.ok()) {
    co_return obtained;
  }
  co_await io_.put(sheet, wanted);
  ++counters_.rebuilt;
  co_return Ok{};
}

// ---- what a rebuild and a scrub do with each stripe of a step ----

// A few at the same time.  One after the other gives way, so that requests see no more of it.
struct Core::Fleet {
  explicit Fleet(Scheduler& scheduler) : landed(scheduler) {}
  std::size_t under_way = 0;
  std::optional<Error> failed;
  WaitList landed;
};

Task<Status> Core::for_each_stripe(std::uint64_t step, StripeWork work) {
  const std::uint64_t end = stripes_below(step + 1);
  const std::uint64_t blocks = std::uint64_t{geometry().chunk_blocks} * geometry().disks;
  Fleet fleet(scheduler_);
  TaskScope scope(scheduler_);
  for (std::uint64_t at = stripes_below(step); at < end && !fleet.failed.has_value(); ++at) {
    co_await give_way(blocks);
    while (fleet.under_way == kStripesAtOnce) {
      co_await fleet.landed.wait();
    }
    ++fleet.under_way;
    scope.spawn(send_out(fleet, Stripe{at}, ranges_left(at, end), work));
  }
  co_await scope.join();
  if (fleet.failed.has_value()) {
    co_return *fleet.failed;
  }
  co_return Ok{};
}

Task<void> Core::send_out(Fleet& fleet, Stripe stripe, std::uint8_t extra, StripeWork work) {
  const Status done = co_await alone_with(stripe, extra, work);
  if (!done.ok() && !fleet.failed.has_value()) {
    fleet.failed = done.error();
  }
  --fleet.under_way;
  fleet.landed.wake_all();
}

// Nobody else reads or writes the stripe meanwhile, and no intent covers it.
Task<Status> Core::alone_with(Stripe stripe, std::uint8_t extra, StripeWork work) {
  if (closing_) {
    co_return Error{Errc::kClosed, "the redundancy group is being closed"};
  }
  const Request request(*this, Request::Of::kBackground);
  const std::uint32_t rows = geometry().chunk_blocks;
  LockUse use(locks_, granted_);
  const Status locked = co_await hold(use, stripe, LockMode::kExclusive, extra);
  if (!locked.ok()) {
    co_return locked;
  }
  RowLocks::Hold hold_rows(rows_, stripe, 0, rows, true);
  const Status held = co_await hold(hold_rows);
  if (!held.ok()) {
    co_return held;
  }
  const Status free = co_await end_intents(stripe, 0, rows);
  if (!free.ok()) {
    co_return free;
  }
  // Under its locks: what stands there is there until they are let go.
  const std::optional<PlacedStripe> there = stripe_in(disks_.label(), stripe);
  if (!there.has_value()) {
    co_return Ok{};  // an expansion has moved it, and puts another there
  }
  const Status done = co_await (this->*work)(*there);
  co_return done;
}

// Ranges behind that of the stripe, before `end`: those of the step, and none of another node's.
std::uint8_t Core::ranges_left(std::uint64_t stripe, std::uint64_t end) const {
  const std::uint64_t left = (end - 1) / range_stripes() - stripe / range_stripes();
  return static_cast<std::uint8_t>(std::min<std::uint64_t>(left, 255));
}

// Requests go first, and the rate is kept.
Task<void> Core::give_way(std::uint64_t blocks) {
  const Instant until = scheduler_.now() + options_.give_way;
  while (requests_ > background_ && scheduler_.now() < until) {
    co_await sleep(scheduler_, kLook);
  }
  if (options_.background_blocks_per_s == 0) {
    co_return;
  }
  // Two at the same time wait one after the other.
  const Instant turn = std::max(scheduler_.now(), background_due_);
  background_due_ =
      turn + std::chrono::nanoseconds(blocks * 1'000'000'000U / options_.background_blocks_per_s);
  if (turn > scheduler_.now()) {
    co_await sleep(scheduler_, turn - scheduler_.now());
  }
}

}  // namespace duet::raid
