// Target: one disk of a shelf: who may do what to it, and that what is shut out has ended.
//
//   node --enter()--> Session --start()--> admitted? --> under way at the disk --> completed
//                        |                     no: kFenced, nothing was changed
//                        +--start_command()--> one at a time, for all sessions
//
// Invariants:
//   (1) Between the check of an operation and its start at the disk nothing runs: what was
//       admitted is under way, and counted, before any key or epoch can change.
//   (2) A key is gone from memory before its removal is durable, and I/O of it under way has ended
//       before the one who removed it hears so.  A key or reservation that is added counts
//       when it is durable.
//   (3) When a save of the label failed, nobody is told anything of the state before a later one
//       succeeded: what a restart finds is never newer than what somebody was told.
//   (4) One live session per node.  A newer one is let in when all of the older has ended.
//
// The rules it serves are in shared_disk.h.  A kill of the shelf is harmless to them: the system
// gives the disk's file to the next process only when the I/O of the killed one has ended.
//
// Ownership: borrows the disk and the label's device, which outlive it.  Sessions end before it.
// Thread-safety: the scheduler's thread only.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "platform/block_device.h"
#include "platform/task_scope.h"
#include "platform/wait.h"
#include "shelf/label.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

struct TargetCounters {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t flushes = 0;
  std::uint64_t commands = 0;
  std::uint64_t fenced = 0;    // operations refused with kFenced
  std::uint64_t sessions = 0;  // let in
  std::uint64_t replaced = 0;  // ... of which in place of an older one
};

// What an operator wants to know of; told when it is durable.
struct TargetEvent {
  enum class Kind : std::uint8_t {
    kEntered,       // `who` has a session
    kReplaced,      // ... in place of the older one of `other`
    kRegistered,    // `who`
    kUnregistered,  // `who`, by itself
    kReserved,      // `who` holds the reservation
    kReleased,      // `who` held it
    kRemoved,       // `who` removed the key of `other`, whose I/O has ended
    kCleared,       // `who` removed all keys
    kEpoch,         // `who` raised the epoch to `epoch`
    kLabelFailed,   // what `who` asked for could not be made durable
  };
  Kind kind{};
  DiskKey who = kNoKey;
  DiskKey other = kNoKey;
  std::uint64_t epoch = 0;
};

class Target {
 public:
  class Session;
  using Observer = std::function<void(const TargetEvent&)>;

  // Who wants in.  `number` grows with each connection of one process.
  struct Initiator {
    DiskKey key = kNoKey;
    std::uint64_t number = 0;
  };

  // Reads the label; its errors.  kForeign: the label is of a larger disk.
  static Task<Result<std::unique_ptr<Target>>> open(Scheduler& scheduler, BlockDevice& disk,
                                                    BlockDevice& label);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  [[nodiscard]] const DiskIdentity& identity() const { return label_.disk(); }
  // What counts now; it may not be durable yet.
  [[nodiscard]] const DiskState& state() const { return state_; }
  [[nodiscard]] const TargetCounters& counters() const { return counters_; }
  static DiskFeatures features();

  // `observer` must not call back.
  void observe(Observer observer) { observer_ = std::move(observer); }

  // Lets a process in once the I/O of its node's older session has ended.
  // kFenced: a newer incarnation, or a newer session of this one, is in.  kInvalid: no key.
  Task<Result<std::unique_ptr<Session>>> enter(Initiator initiator);

 private:
  struct Io;
  struct Command;

  Target(Scheduler& scheduler, BlockDevice& disk, BlockDevice& label);

  [[nodiscard]] Status admit(const Session& session, bool read, std::uint64_t epoch);
  void start(Io& io);
  void submit(Io& io);
  void finish(Io& io);
  Io& take_io();
  [[nodiscard]] bool held_by_swap(const Io& io) const;
  void unpark();

  Task<void> run(Session& session, DiskCommand& command, bool repeated);
  Task<Status> execute(Session& session, DiskCommand& command, bool repeated);
  Task<Status> add_key(DiskKey key);
  Task<Status> remove_own_key(DiskKey key);
  Task<Status> reserve(DiskKey key, Reservation kind);
  Task<Status> release(DiskKey key);
  Task<Status> preempt(DiskKey key, DiskKey victim, Reservation kind);
  Task<Status> clear(DiskKey key, bool repeated);
  Task<Status> raise_epoch(DiskKey key, std::uint64_t epoch);
  Task<Status> swap(Session& session, const DiskRequest& request, bool repeated);
  Task<Status> swap_now(const DiskRequest& request, bool repeated);

  [[nodiscard]] bool registered(DiskKey key) const;
  void tell(const TargetEvent& event) const;
  void tell_difference(const DiskState& before, DiskKey who, const DiskRequest& request) const;
  Task<Status> save(DiskState next);
  template <typename Which>
  Task<void> drain(Which which);
  void remove(Session& session);

  struct alignas(kBlockBytes) Buffer {
    std::array<std::byte, kBlockBytes> bytes{};
  };

  Scheduler& scheduler_;
  BlockDevice& disk_;
  Label label_;
  DiskState state_;
  bool unsaved_ = false;  // what the label holds is not known
  TargetCounters counters_;
  Observer observer_;
  std::vector<Session*> sessions_;  // not closed
  std::vector<std::unique_ptr<Io>> all_;
  std::vector<Io*> free_;
  std::vector<Io*> parked_;  // admitted, but a swap of one of their blocks is under way
  std::optional<std::uint64_t> swapping_;  // the block
  std::uint64_t started_ = 0;              // I/O so far
  std::unique_ptr<Buffer> buffer_;
  WaitList ended_;  // woken when I/O or a command has ended
  AsyncMutex commands_;
  TaskScope scope_;
};

// What one connected process asks of the disk.  Its owner may be slow, hostile or gone: only what
// has begun at the disk counts, never whether its answer was heard.
//
// Ownership: whoever entered.  It ends when drained, or together with target and disks (a kill).
class Target::Session {
 public:
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // As BlockDevice::start(), with the epoch it was started in; 0: none.
  // REQUIRES: within the disk.
  void start(BlockOperation& operation, std::uint64_t epoch);
  // A write that completes when it is durable.  REQUIRES: as above; kind is kWrite.
  void start_durable(BlockOperation& write, std::uint64_t epoch);
  // As SharedDisk::start_command().  `repeated`: it was sent before, and its answer was lost.
  // Not kWriteDurable.  REQUIRES: expected and desired have kBlockBytes, the block is within the
  // disk.
  void start_command(DiskCommand& command, bool repeated);

  // Refuses everything from now on; what is under way goes on.
  void close();
  [[nodiscard]] bool closed() const { return closed_; }
  // Resumes when it is closed, by its owner or by a newer session.
  Task<void> wait_closed();
  // Resumes when nothing is under way.
  Task<void> drained();
  [[nodiscard]] std::uint64_t under_way() const { return io_ + commands_; }
  [[nodiscard]] DiskKey key() const { return key_; }

 private:
  friend class Target;
  Session(Target& target, Initiator initiator);

  Target& target_;
  const DiskKey key_;
  const std::uint64_t number_;
  bool closed_ = false;
  bool replaced_ = false;  // by a newer one: what comes now is told so
  std::uint64_t io_ = 0;
  std::uint64_t commands_ = 0;
  WaitList closing_;
};

}  // namespace duet::shelf
