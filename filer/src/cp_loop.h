// CpLoop: when consistency points happen, and what is frozen with them.
//
//   waiting --request() or administrate()--> freeze (one turn) --> writing --> waiting
//
//   freeze, in one turn: administrative changes, the reply cache's file, switch_half() and
//   Aggregate::consistency_point().  Then everything up to covered() is in the image.
//
// Invariants:
//   (1) I4: release() of a log half follows the durable root that covers it.
//   (2) An administrative change is answered when the CP that holds it is durable, and
//       nothing is logged between the change and the freeze.
//
// Ownership: part of the filer.  Thread-safety: the filer's strand.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "nvlog/request_log.h"
#include "platform/scheduler.h"
#include "platform/task.h"
#include "platform/wait.h"

namespace duet::filer {

class FilerState;

enum class CpCause : std::uint8_t { kTimer = 1, kLog = 2, kMemory = 4, kOperator = 8 };

class CpLoop {
 public:
  using Number = std::uint64_t;  // counts the CPs of this opening

  CpLoop(FilerState& filer, Scheduler& scheduler);

  // Runs CPs until end(); the filer's scope owns it.
  Task<void> run();
  // One CP now, of `epoch`, while run() does not run; `log_empty`: nothing follows in the log.
  Task<Status> one(std::uint64_t epoch, bool log_empty);

  // A CP that freezes in a later turn.
  void request(CpCause cause);
  // Requests a CP and waits for one that froze after this call, or for the filer to fail.
  Task<void> one_more(CpCause cause);
  // Runs `change` in the turn of a freeze.  Completes with its error at once, else when that CP
  // is durable.  Error: kIo when it fails, kClosed when the filer stops before it.
  Task<Status> administrate(std::function<Status()> change);

  // The filer has failed: who waits here looks again.
  void fail();

  // The timer of the next CP runs from the first change after a freeze.
  void start_timer();

  // Makes run() end with a CP that says "log empty".  Error: kIo.
  // REQUIRES: no request is running.
  Task<Status> end();
  // After end(): a CP that says "log not empty"; then run() may begin again.  Error: kIo.
  Task<Status> begin_again();
  [[nodiscard]] bool ended() const { return ended_.has_value(); }

  // Freezes so far, and those that are durable.
  [[nodiscard]] Number begun() const { return begun_; }
  [[nodiscard]] Number finished() const { return finished_; }
  [[nodiscard]] bool running() const { return begun_ != finished_; }
  // The newest one that holds an administrative change.
  [[nodiscard]] Number last_administrative() const { return last_administrative_; }
  // Wakes at the end of each, and when the filer fails; check in a loop.
  [[nodiscard]] WaitList& finished_changed() { return finished_changed_; }
  [[nodiscard]] nvlog::Sequence covered() const { return covered_; }

  std::uint64_t epoch = 0;  // of this opening

 private:
  struct Job {
    std::function<Status()> change;
    std::optional<Status> result;
  };
  using Jobs = std::vector<std::shared_ptr<Job>>;

  struct Timer final : Continuation {
    explicit Timer(CpLoop& loop) : owner(loop) {}
    void run() override { owner.request(CpCause::kTimer); }
    CpLoop& owner;
  };

  // Runs the queued changes; those that were refused are answered.
  Jobs apply_jobs();
  void count_causes();
  void answer(const Jobs& jobs, const Status& result);

  FilerState& filer_;
  Scheduler& scheduler_;
  Timer timer_;
  unsigned causes_ = 0;  // CpCause bits
  Jobs queue_;
  WaitList wake_;
  WaitList finished_changed_;
  Number begun_ = 0;
  Number finished_ = 0;
  Number last_administrative_ = 0;
  nvlog::Sequence covered_{};
  bool ending_ = false;
  std::optional<Status> ended_;
};

}  // namespace duet::filer
