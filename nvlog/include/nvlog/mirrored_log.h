// MirroredLog: the RequestLog of one filer in both nodes' memories, or, after a solo mark, in one.
//
//                          +------------------ go on alone -----------------+
//                          v                                                |
//   kNone --link up--> kPreparing --granted--> kFilling --CP--> kSealing --> kSynced
//     ^                    |                       |               |           |  ^
//     +---- refused, link lost, patience at an end +---------------+           |  | proven
//     ^                                                              link lost v  |
//     +------- another process, differs, patience at an end ------ kInterrupted --+
//
//   kFilling: records from base + 1 on go to the partner as well.  kSealing: a durable root covers
//   base and names the new mirror generation; the copy's header gets it.  kSynced: it has it.
//
// Solo is beside this: a mark that is durable lets local records count, in every state but
// kSealing and kSynced.
//
// Invariants:
//   (1) I5: durable() moves to a sequence only when everything up to it is in both memories and the
//       copy is sealed, or the solo mark was durable before.
//   (2) The copy carries a mirror generation only together with every sequence that
//       was ever counted durable and that no root of that generation covers.
//   (3) A mark is cleared only in kSynced.  set and clear never run at once.
//   (4) I4: a half is used again only when no record of it is on its way to the partner.
//   (5) A mirror generation is given to one copy only; a failed try uses up its number.
//
// What the filer and the failover do for it is in MirrorDuties and beside the functions; README.md
// walks through an opening.
//
// Ownership: borrows everything it is given.  Thread-safety: the filer's strand.

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "interconnect/partner_link.h"
#include "nvlog/mirror_format.h"
#include "nvlog/mirror_port.h"
#include "nvlog/request_log.h"
#include "platform/task.h"
#include "platform/task_scope.h"

namespace duet::nvlog {

class LocalLog;

// What the pair does for a log.  Never two calls of one log at once.
class MirrorDuties {
 public:
  // Makes the filer's solo mark durable on every mailbox member that can be written, at least the
  // serving quorum.  May take as long as it takes, and retries by itself.
  // Error: the filer is not ours any more; nothing will be durable again in this log.
  virtual Task<Status> set_solo_mark(std::uint64_t epoch, Sequence first_unmirrored) = 0;
  // Clears it, if there is one.  Error: some member may still carry it; it is tried again.
  virtual Task<Status> clear_solo_mark(std::uint64_t epoch) = 0;
  // A CP soon would let the log leave solo.
  virtual void want_consistency_point() = 0;
  // Nothing will be durable in this log any more, and nobody was appending to be told so.
  virtual void log_failed() = 0;

 protected:
  ~MirrorDuties() = default;
};

struct MirrorOptions {
  // How long a lost link may take to come back before the filer goes solo; clients wait for it.
  Duration patience = std::chrono::milliseconds(200);
  // Between two tries to begin mirroring with a partner that refuses, or to clear a mark.
  Duration retry = std::chrono::milliseconds(500);
};

enum class MirrorState : std::uint8_t {
  kNone,
  kPreparing,
  kFilling,
  kSealing,
  kSynced,
  kInterrupted
};

struct MirrorStatus {
  MirrorState state = MirrorState::kNone;
  bool solo = false;                          // local records count
  bool marking = false;                       // the mark is being set
  bool marked = false;                        // ... or may not be cleared yet: no copy counts then
  Instant since{};                            // of `solo`, else of `state`
  std::uint64_t generation = 0;               // of the copy, or of the next
  Sequence mirrored{};                        // the partner holds all up to here that no CP covers
  std::uint64_t under_way = 0;                // records that the partner has not acknowledged
  MirrorAnswer refusal = MirrorAnswer::kYes;  // the partner's last
  std::uint64_t resumed = 0;                  // links lost and come back in time
  std::uint64_t went_solo = 0;
};

class MirroredLog final : public RequestLog, private interconnect::RemoteWindowUser {
 public:
  // Finds the log of `identity` and gives its records to `replay`, as RequestLog::recover():
  // this node's own log if it is of the root's epoch and whole; else `copy`, if it is of the
  // root's epoch and mirror generation.  `copy`: what MirrorPort::take() gave; null: there is none,
  // or a solo mark was seen.  Neither, and the root says not empty: refused. Error: kForeign;
  // kCorrupt: damaged and no copy serves; kInvalid; kNotSupported; as `replay`.
  static Result<std::unique_ptr<MirroredLog>> recover(
      Scheduler& scheduler, PersistentMemory& memory, const LogIdentity& identity,
      const Covered& covered, const PersistentMemory* copy, MirrorPort& port, MirrorDuties& duties,
      const MirrorOptions& options, const std::function<Status(const ReplayRecord&)>& replay);

  ~MirroredLog() override;

  [[nodiscard]] Sequence last() const override;
  [[nodiscard]] Sequence durable() const override { return Sequence{durable_}; }
  // Begins mirroring as well.
  Status start(std::uint64_t epoch) override;
  [[nodiscard]] bool fits(std::size_t body_bytes) const override;
  [[nodiscard]] WaitList& durable_changed() override { return durable_changed_; }
  // The root of this CP must say mirror_generation(), as it is now.
  Sequence switch_half() override;
  [[nodiscard]] bool can_switch() const override;
  Status release(Sequence covered) override;
  [[nodiscard]] std::uint64_t mirror_generation() const override { return generation_; }
  [[nodiscard]] std::uint64_t half_bytes() const override;
  [[nodiscard]] std::uint64_t filling_bytes() const override;
  [[nodiscard]] std::uint64_t filling_records() const override;

  [[nodiscard]] MirrorStatus mirror_status() const;
  // The records came from the partner's copy and not from this node's log.
  [[nodiscard]] bool recovered_from_copy() const { return from_copy_; }

 private:
  Result<Sequence> append_parts(std::span<const ConstBytes> parts, const KnownTail& tail) override;
  friend class MirrorPort;
  // A record that the partner has not acknowledged.
  struct UnderWay {
    std::uint64_t sequence;
    std::uint64_t offset;  // of its header, in the region
    std::uint32_t bytes;   // header and body
    std::uint32_t half;
    std::uint32_t checksum;
    std::uint64_t write;  // its number in window_; 0: not yet given to it
  };
  struct Tail {
    std::uint64_t sequence = 0;
    std::uint64_t offset = 0;
    std::uint32_t checksum = 0;
  };
  struct Patience final : Continuation {
    explicit Patience(MirroredLog& log) : owner(log) {}
    void run() override { owner.out_of_patience(); }
    MirroredLog& owner;
  };
  struct Retry final : Continuation {
    explicit Retry(MirroredLog& log) : owner(log) {}
    void run() override { owner.begin(); }
    MirroredLog& owner;
  };

  MirroredLog(Scheduler& scheduler, std::unique_ptr<LocalLog> local, std::uint64_t generation,
              MirrorPort& port, MirrorDuties& duties, const MirrorOptions& options);

  void on_window() override;
  // The port's: an answer of the partner; a session began or ended.
  void on_answer(const MirrorMessage& answer);
  void on_link(const interconnect::LinkStatus& status);

  void enter(MirrorState state);
  void begin();
  void begin_later();
  void prepared();
  void prove();
  void proven();
  void ask(MirrorVerb verb);
  [[nodiscard]] bool mirrors() const;
  void note_record();
  // Gives records to the link as far as it takes them; the newest from `parts`, if given.
  void send_records(std::span<const ConstBytes> parts);
  void gather(const UnderWay& record, std::span<const ConstBytes> parts);
  void seal_when_possible();
  void sealed_there();
  void take_acknowledgements();
  void window_failed(const Error& error);
  void stop_mirroring();
  void go_solo();
  void out_of_patience();
  void start_patience();
  void advance();
  void want_mark(bool wanted);
  Task<void> keep_mark();
  [[nodiscard]] std::uint64_t window_offset(std::uint64_t region_offset) const;

  Scheduler& scheduler_;
  const std::unique_ptr<LocalLog> local_;
  MirrorPort& port_;
  MirrorDuties& duties_;
  const MirrorOptions options_;
  const std::uint32_t filer_;
  WaitList durable_changed_;
  bool from_copy_ = false;

  MirrorState state_ = MirrorState::kNone;
  Instant state_since_{};
  bool started_ = false;
  std::uint64_t durable_ = 0;
  std::uint64_t generation_;          // of the copy in kSealing and kSynced, else of the next one
  bool generation_used_ = false;      // a header with it may have reached a partner
  std::uint64_t attempt_ = 0;         // the question that waits for its answer
  std::uint64_t session_ = 0;         // of the link, in which this state was entered
  interconnect::Incarnation host_{};  // whose memory the copy is in
  MirrorAnswer refusal_ = MirrorAnswer::kYes;
  std::uint64_t resumed_ = 0;
  std::uint64_t went_solo_ = 0;

  std::unique_ptr<interconnect::RemoteWindow> window_;
  std::deque<UnderWay> under_way_;
  std::size_t unsent_ = 0;                  // of them, the last ones
  std::array<std::uint64_t, 2> in_half_{};  // of them, by half
  std::uint64_t base_ = 0;                  // the copy begins behind it
  std::uint64_t mirrored_ = 0;              // the partner acknowledged all of base_ + 1 up to here
  Tail tail_;                               // the record `mirrored_`
  std::uint64_t seal_write_ = 0;            // the number of the header's last write
  std::vector<ConstBytes> parts_;
  alignas(64) std::array<std::byte, 16U << 10U> stage_{};

  // The newest durable root: the last one that froze a half.
  std::uint64_t frozen_generation_ = 0;
  std::uint64_t root_generation_ = 0;
  std::uint64_t root_covered_ = 0;

  bool solo_ = false;  // invariant (1): local records count
  bool mark_wanted_ = false;
  bool mark_durable_ = false;
  bool mark_cleared_ = false;
  bool mark_kept_ = false;  // keep_mark() runs
  Instant solo_since_{};
  std::uint64_t first_unmirrored_ = 0;
  Status failed_ = Ok{};

  Patience patience_;
  Retry retry_;
  TaskScope scope_;
};

}  // namespace duet::nvlog
