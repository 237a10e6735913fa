#include "cp_loop.h"

#include <utility>

#include "filer_state.h"

namespace duet::filer {

namespace {

constexpr std::chrono::microseconds kSwitchPoll{200};

}  // namespace

CpLoop::CpLoop(FilerState& filer, Scheduler& scheduler)
    : filer_(filer),
      scheduler_(scheduler),
      timer_(*this),
      wake_(scheduler),
      finished_changed_(scheduler) {}

Task<void> CpLoop::run() {
  for (;;) {
    while (causes_ == 0 && queue_.empty() && !ending_ && !filer_.failed()) {
      co_await wake_.wait();
    }
    // The partner may still lack records of the half that comes next.
    while (!filer_.log->can_switch() && !filer_.failed()) {
      co_await sleep(scheduler_, kSwitchPoll);
    }
    const bool last = ending_;
    Status done = co_await one(epoch, last);
    if (last || !done.ok()) {
      ended_ = done;
      break;
    }
  }
  finished_changed_.wake_all();
}

Task<Status> CpLoop::one(std::uint64_t cp_epoch, bool log_empty) {
  if (filer_.failed()) {
    co_return Error{Errc::kIo, "CP: the filer has failed"};
  }
  // One turn from here to the first suspension in consistency_point().
  const Jobs jobs = apply_jobs();
  count_causes();
  timer_.unlink();
  filer_.system_files.write_replies(filer_.replies, filer_.times.last());
  ++begun_;
  if (!jobs.empty()) {
    last_administrative_ = begun_;
  }
  // When the filer opens, the log is not started, and both of its halves are empty.
  const nvlog::Sequence covered =
      filer_.log->can_switch() ? filer_.log->switch_half() : filer_.log->last();
  wafl::LogPosition position;
  position.epoch = cp_epoch;
  position.log_id = filer_.root.log_id;
  position.last_sequence = static_cast<std::uint64_t>(covered);
  position.log_empty = log_empty;
  position.mirror_generation = filer_.log->mirror_generation();
  Status written = co_await filer_.aggregate->consistency_point(position);
  if (written.ok()) {
    written = filer_.log->release(covered);
  }
  finished_ = begun_;
  filer_.cp_finished();
  if (written.ok()) {
    covered_ = covered;
    filer_.log->durable_changed().wake_all();  // what it covers is durable, whatever the log says
    if (filer_.aggregate->dirty()) {
      start_timer();  // large files that were removed are freed bit by bit
    }
  } else {
    filer_.fail();
  }
  answer(jobs, written);
  if (!finished_changed_.empty()) {
    finished_changed_.wake_all();
  }
  co_return written;
}

CpLoop::Jobs CpLoop::apply_jobs() {
  Jobs applied;
  for (std::shared_ptr<Job>& job : std::exchange(queue_, {})) {
    Status changed = job->change();
    if (changed.ok()) {
      applied.push_back(std::move(job));
    } else if (changed.error().code == Errc::kTryAgain) {
      queue_.push_back(std::move(job));  // two snapshots of a volume: the second has its own CP
    } else {
      job->result = changed;
    }
  }
  return applied;
}

void CpLoop::answer(const Jobs& jobs, const Status& result) {
  for (const std::shared_ptr<Job>& job : jobs) {
    job->result = result;
  }
}

void CpLoop::count_causes() {
  const unsigned causes = std::exchange(causes_, 0U);
  const auto is = [causes](CpCause cause) -> std::uint64_t {
    return (causes & static_cast<unsigned>(cause)) != 0 ? 1 : 0;
  };
  filer_.statistics.cps_by_timer += is(CpCause::kTimer);
  filer_.statistics.cps_by_log += is(CpCause::kLog);
  filer_.statistics.cps_by_memory += is(CpCause::kMemory);
  filer_.statistics.cps_by_operator += is(CpCause::kOperator);
}

void CpLoop::request(CpCause cause) {
  causes_ |= static_cast<unsigned>(cause);
  if (!wake_.empty()) {
    wake_.wake_all();
  }
}

void CpLoop::fail() {
  wake_.wake_all();
  finished_changed_.wake_all();
}

Task<void> CpLoop::one_more(CpCause cause) {
  request(cause);
  const Number next = begun_ + 1;
  while (!filer_.failed() && finished_ < next) {
    co_await finished_changed_.wait();
  }
}

void CpLoop::start_timer() {
  if (!timer_.linked()) {
    scheduler_.post_at(timer_, scheduler_.now() + filer_.options.cp_interval);
  }
}

Task<Status> CpLoop::administrate(std::function<Status()> change) {
  const auto job = std::make_shared<Job>();
  job->change = std::move(change);
  queue_.push_back(job);
  request(CpCause::kOperator);
  while (!job->result.has_value()) {
    if (filer_.failed()) {
      co_return Error{Errc::kIo, "the filer has failed"};
    }
    co_await finished_changed_.wait();
  }
  co_return *job->result;
}

Task<Status> CpLoop::begin_again() {
  ending_ = false;
  ended_.reset();
  co_return co_await one(epoch, false);
}

Task<Status> CpLoop::end() {
  ending_ = true;
  wake_.wake_all();
  while (!ended_.has_value()) {
    co_await finished_changed_.wait();
  }
  co_return *ended_;
}

}  // namespace duet::filer
