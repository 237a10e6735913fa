// ScsiDisk: a SCSI disk with persistent reservations (SPC-4) as a SharedDisk.
//
// What the unit offers is asked of it (REPORT CAPABILITIES, REPORT SUPPORTED OPERATION CODES, block
// limits) and then tried; where it does not say and there is nothing to try, it is taken not to.
// What is missing is emulated or refused:
//   - PREEMPT, then LOGICAL UNIT RESET, also when the key is gone already (a first attempt may have
//     stopped between the two), where there is no PREEMPT AND ABORT or none is believed
//     (ScsiTransport::aborts_are_believed()); DiskFeatures::drains_on_abort is false;
//   - no COMPARE AND WRITE of a block: kNotSupported;
//   - epochs: kNotSupported; use_epoch() has no effect.
// Unit attentions, busy units and tasks that another's reset aborted are tried again, each time as
// if new: a key that is gone by then makes them kFenced.
//
// Sessions, with a transport that makes a lost one again:
//
//   up --lost--> down --new session--> recovering --settled--> up
//                 |  lost for fail_after: what waits fails (kIo), and it goes on trying
//
//   - What was not answered is sent again in the new session.  That is safe for writes: the unit is
//     reset first, so that nothing of the old session is under way any more; a unit that cannot be
//     reset fails them (kIo).  A swap is looked at before it is believed to have failed.
//   - When my key is not there any more, reads, writes and flushes are kFenced until it is
//   registered
//     anew (rule 10): a unit that forgot it would let me write where another has taken over.
//   - No unit says that it lost its power.  One with a volatile cache that held writes when the
//     session was lost fails every flush until begin_anew().
// Without such a transport a lost one fails all I/O with kIo, for ever: open the disk again.
//
// Reads and writes may take another way than commands to the same unit, through the same nexus (a
// kernel's block device): then a registration waits until those begun before it have ended, for the
// two ways keep no order.
//
// Ownership: owns the transport and the other way.  Its destructor completes what waits with
// kClosed, and waits for what the other way has begun.
// Thread-safety: the scheduler's thread only.

#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "platform/task_scope.h"
#include "platform/wait.h"
#include "shelf/scsi_transport.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

struct ScsiDiskOptions {
  DiskKey key = kNoKey;  // of this process
  std::string name;      // what name() gives
  // The way of reads and writes; null: commands.  Its results: kFenced on a reservation conflict.
  std::unique_ptr<BlockDevice> data = nullptr;
  std::uint32_t data_unit_bytes = 512;             // the unit's blocks, as `data` knows them
  Duration fail_after = std::chrono::seconds(30);  // no session for so long: I/O fails
};

class ScsiDisk final : public SharedDisk, private ScsiObserver {
 public:
  // Asks the unit what it is.  kNotSupported: no reservations (no PERSISTENT RESERVE IN), or blocks
  // that do not divide 4096.  kForeign: `data` is of another size than the unit.  kIo.
  static Task<Result<std::unique_ptr<ScsiDisk>>> open(Scheduler& scheduler,
                                                      std::unique_ptr<ScsiTransport> transport,
                                                      ScsiDiskOptions options);
  ~ScsiDisk() override;
  ScsiDisk(const ScsiDisk&) = delete;
  ScsiDisk& operator=(const ScsiDisk&) = delete;

  [[nodiscard]] std::uint64_t block_count() const override { return blocks_; }
  [[nodiscard]] std::string_view name() const override { return options_.name; }
  void start(BlockOperation& operation) override;
  [[nodiscard]] DiskKey key() const override { return options_.key; }
  [[nodiscard]] DiskFeatures features() const override { return features_; }
  [[nodiscard]] DiskHealth health() const override;
  void use_epoch(std::uint64_t /*epoch*/) override {}
  void begin_anew() override;
  void start_command(DiskCommand& command) override;

 private:
  struct Call;
  struct Direct;
  struct Patience final : Continuation {
    explicit Patience(ScsiDisk& owner) : disk(owner) {}
    void run() override { disk.changed_.wake_all(); }
    ScsiDisk& disk;
  };
  using Cdb = std::array<std::uint8_t, 16>;
  using Parts = std::span<const MutableBytes>;

  ScsiDisk(Scheduler& scheduler, std::unique_ptr<ScsiTransport> transport, ScsiDiskOptions options);

  Task<Status> probe();
  Task<Status> probe_capacity();
  Task<Status> probe_reservations();
  Task<void> probe_cache();
  Task<bool> may_support(std::uint8_t opcode, std::uint8_t service_action);

  Task<void> run(BlockOperation& operation);
  Task<void> run(DiskCommand& command);
  Task<Status> execute(BlockOperation& operation);
  Task<Status> execute(DiskCommand& command);
  Task<Status> transfer(bool write, bool durable, std::uint64_t block, Parts parts);
  Task<Status> flush();
  void start_direct(BlockOperation& operation);
  Task<void> direct_ended();

  Task<Status> register_mine();
  Task<Status> try_abort();
  Task<Status> try_swap();
  Task<Status> unregister_mine();
  Task<Status> take_reservation(Reservation kind);
  Task<Status> release_mine();
  Task<Status> preempt(DiskKey victim, Reservation kind);
  Task<Status> clear_all();
  Task<Result<DiskState>> state(bool recovers = false);
  Task<Status> swap(const DiskRequest& request);
  // src/scsi_session.cpp
  void session_changed() override;
  void session_lost();
  Task<void> recover();
  Task<bool> begin_session();
  [[nodiscard]] bool given_up() const;
  Task<Status> reset();
  Task<bool> reset_once();
  Task<Status> reserve_out(std::uint8_t action, Reservation kind, DiskKey key, DiskKey other,
                           bool persist);

  // Sends it until the unit has done it or refused it.  kFenced: a reservation conflict.
  // `repeated`, unless null: whether an earlier attempt may have been done.
  Task<Status> call(Call& call, bool* repeated = nullptr);

  Scheduler& scheduler_;
  ScsiDiskOptions options_;
  std::uint64_t blocks_ = 0;
  std::uint32_t unit_block_bytes_ = 512;
  std::uint32_t transfer_bytes_max_ = 0;
  bool persists_ = false;  // the unit keeps reservations over a loss of power
  DiskFeatures features_;
  bool tried_ = false;  // what the unit lists was tried
  bool volatile_cache_ = true;
  bool resetting_ = false;

  bool up_ = true;  // commands may be sent
  bool recovering_ = false;
  Instant since_;  // when up_ became what it is
  std::uint64_t losses_ = 0;
  std::uint64_t recoveries_ = 0;
  std::uint64_t writing_ = 0;  // commands that change something, at the unit
  bool unsettled_ = false;     // something that writes was not answered in the lost session
  bool settled_ = true;        // ... and nothing of the last such is under way any more
  bool registered_ = false;    // by me, and not taken back by me
  bool key_lost_ = false;      // found so at the beginning of a session
  std::uint64_t written_ = 0;
  std::uint64_t flushed_ = 0;  // ... of which a flush has covered
  bool lost_writes_ = false;   // some of the others may be gone
  std::list<BlockOperation*> operations_;
  std::list<DiskCommand*> commands_under_way_;
  std::list<Direct> direct_;  // reads and writes on their own way, in the order of their start
  std::uint64_t direct_started_ = 0;
  WaitList direct_ended_;
  AsyncMutex commands_;
  Patience patience_;
  WaitList changed_;  // resetting_, up_, or too long without a session
  std::unique_ptr<ScsiTransport> transport_;
  TaskScope scope_;
};

}  // namespace duet::shelf
