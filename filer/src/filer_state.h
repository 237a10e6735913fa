// FilerState: what the parts of a filer share.  Each part is its own class; this only holds
// them together, in the order in which they must be destroyed.
//
// Invariants:
//   (1) Between a change of the aggregate and its append() nothing suspends, so the log's
//       order is the order of the changes.
//   (2) What a reply shows is durable when the reply is given.
//   (3) After fail() nothing changes any more and nothing is answered but failure().

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "context.h"
#include "cp_loop.h"
#include "export_cache.h"
#include "file_clock.h"
#include "filer/filer.h"
#include "handles.h"
#include "nvlog/request_log.h"
#include "platform/task_scope.h"
#include "platform/wait.h"
#include "receive.h"
#include "reply_cache.h"
#include "snapshot_directory.h"
#include "system_files.h"

namespace duet::filer {

// The largest READ and WRITE.
inline constexpr std::uint32_t kIoBytesMax = 1U << 20U;

class FilerState {
 public:
  FilerState(Scheduler& scheduler_given, WallClock& clock, Entropy& entropy_given,
             PersistentMemory& memory_given, const FilerOptions& options_given,
             std::unique_ptr<wafl::Aggregate> aggregate_given,
             std::optional<PairOpening> pair_given = std::nullopt);
  FilerState(const FilerState&) = delete;
  FilerState& operator=(const FilerState&) = delete;

  // Brings the filer to where it was when it last answered (src/open.cpp).
  // Error: as Filer::open.
  Task<Status> recover();

  // Whether a new request is taken; else `error` says what it gets.
  [[nodiscard]] bool accepts(Failure& error) const;
  // Of a pair: before the first step of a request, and after the last one.
  [[nodiscard]] bool paused() const { return paused_; }
  void pause() { paused_ = true; }
  void unpause();
  [[nodiscard]] WaitList& unpaused() { return unpaused_; }
  [[nodiscard]] bool may_answer() const {
    return !pair.has_value() || failed_ || pair->gate.may_answer();
  }

  // A change or its log failed: the memory state is no longer what the disk will say.
  void fail();
  [[nodiscard]] bool failed() const { return failed_; }
  // What requests get then.  In a pair no answer: the filer is opened anew, here or at the partner,
  // replays what they logged, and their retries get its replies.
  [[nodiscard]] Errc failure() const { return pair.has_value() ? Errc::kClosed : Errc::kIo; }

  [[nodiscard]] bool is_durable(nvlog::Sequence sequence) const {
    return sequence <= log->durable() || sequence <= cps.covered();
  }

  // Changes wait for a CP to make room in memory.
  [[nodiscard]] bool memory_full() const { return memory_full_; }
  // Something changed, perhaps without a record: the next CP will come.
  void changed();
  // Whether log and memory take a change with a record of `record_bytes` now; if not, a CP
  // makes room.
  bool has_room(std::size_t record_bytes);
  // REQUIRES: the change of `record` was made in this turn; log->fits() its record.
  // Error: kIo, and the filer has failed.
  Result<nvlog::Sequence> append(const Record& record);

  // A request, from the call to the reply; abandon() waits for all.
  class Visit {
   public:
    explicit Visit(FilerState& filer) : filer_(filer) { ++filer.visits_; }
    ~Visit() {
      if (--filer_.visits_ == 0 && !filer_.idle.empty()) {
        filer_.idle.wake_all();
      }
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    FilerState& filer_;
  };
  [[nodiscard]] bool visited() const { return visits_ != 0; }

  // Marks a request as under way while it lives; stop() and settle() wait for all.
  class Running {
   public:
    explicit Running(FilerState& filer) : filer_(filer) {
      ++filer.running_;
      ++filer.statistics.requests;
    }
    ~Running() {
      if (--filer_.running_ == 0 && !filer_.idle.empty()) {
        filer_.idle.wake_all();
      }
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    FilerState& filer_;
  };
  [[nodiscard]] bool running() const { return running_ != 0; }

  // --- Volumes that change whole (restored, destroyed) with the CP that runs: a change
  // logged now would be replayed on the old tree if this CP were lost.
  void hold_volume(wafl::VolumeId id) { held_volumes_.push_back(id); }
  [[nodiscard]] bool held(wafl::VolumeId id) const;
  void cp_finished();

  Scheduler& scheduler;
  Entropy& entropy;
  PersistentMemory& memory;
  const FilerOptions options;
  const wafl::DiskRoot root;  // as found when opening
  const std::optional<PairOpening> pair;
  FilerStatistics statistics;
  bool stopping = false;
  bool abandoned = false;  // of a pair: the failure is no fault, and nobody is told of it
  bool adding_disk = false;

  const std::unique_ptr<wafl::Aggregate> aggregate;
  std::unique_ptr<nvlog::RequestLog> log;
  nvlog::MirroredLog* mirrored_log = nullptr;  // `log`, in a pair
  const HandleCodec handles;
  FileClock times;
  ReplyCache replies;
  ExportTable exports;
  ExportCache export_cache;
  SystemFiles system_files;
  SnapshotTimes snapshot_times;
  Receives receives;
  CpLoop cps;
  WaitList idle;

  TaskScope scope;  // the CP loop

 private:
  Task<Status> replay();
  Task<Status> replay_one(Record& record);
  Result<std::unique_ptr<nvlog::RequestLog>> recover_log(
      const std::function<Status(const nvlog::ReplayRecord&)>& collect);
  void check_memory();

  bool failed_ = false;
  bool paused_ = false;
  WaitList unpaused_;
  bool memory_full_ = false;
  bool back_to_back_counted_ = false;  // for the CP that runs
  std::uint64_t running_ = 0;
  std::uint64_t visits_ = 0;
  std::vector<wafl::VolumeId> held_volumes_;
};

}  // namespace duet::filer
