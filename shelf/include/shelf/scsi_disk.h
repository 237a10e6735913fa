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
// When the transport is lost all I/O fails with kIo, for ever: open the disk again.
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
  std::uint32_t data_unit_bytes = 512;  // the unit's blocks, as `data` knows them
};

class ScsiDisk final : public SharedDisk {
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
  void start_command(DiskCommand& command) override;

 private:
  struct Call;
  struct Direct;
  using Cdb = std::array<std::uint8_t, 16>;
  using Parts = std::span<const MutableBytes>;

  ScsiDisk(Scheduler& scheduler, std::unique_ptr<ScsiTransport> transport, ScsiDiskOptions options);

  Task<Status> probe();
  Task<Status> probe_capacity();
  Task<Status> probe_reservations();
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
  Task<Result<DiskState>> state();
  Task<Status> swap(const DiskRequest& request);
  Task<Status> reset();
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
  Instant since_;
  bool resetting_ = false;
  std::list<BlockOperation*> operations_;
  std::list<DiskCommand*> commands_under_way_;
  std::list<Direct> direct_;  // reads and writes on their own way, in the order of their start
  std::uint64_t direct_started_ = 0;
  WaitList direct_ended_;
  AsyncMutex commands_;
  WaitList reset_ended_;
  std::unique_ptr<ScsiTransport> transport_;
  TaskScope scope_;
};

}  // namespace duet::shelf
