// GatedDisk: a filer's way to one disk, which the pair can hold and end (rule 10).
//
//   closed --open(epoch)--> open --hold()--> held --resume()--> open
//                            +-- end() from any --> ended --open(epoch)--> open
//
// Writes that the target refuses (kFenced) are not given back to the filer: they wait, with all
// later ones, until the pair knows whether the filer is still its own.  If so they are written
// again, which is as if they had been slow; if not they end with kFenced and the filer is over.
//
// Invariants:
//   (1) Held or ended, nothing starts.  quiet() then completes when the target has nothing of it.
//   (2) Every write carries the epoch of the opening that it belongs to (rule 9).
//   (3) What the filer says of what it needs counts while the gate is open; else all is needed.
// Reads while closed carry no epoch: who is about to open looks at marks and roots.
//
// Ownership: borrows the disk.  Thread-safety: the scheduler's thread.

#pragma once

#include <deque>
#include <functional>
#include <list>

#include "platform/task.h"
#include "platform/wait.h"
#include "shelf/shared_disk.h"

namespace duet::failover {

class GatedDisk final : public shelf::SharedDisk, private Redundancy {
 public:
  // `shared`: others write to the disk too, so what they have not flushed is not forgotten when the
  // gate opens.
  GatedDisk(Scheduler& scheduler, shelf::SharedDisk& disk, bool shared = false)
      : scheduler_(scheduler), disk_(disk), shared_(shared), ended_(scheduler) {}
  GatedDisk(const GatedDisk&) = delete;
  GatedDisk& operator=(const GatedDisk&) = delete;

  // REQUIRES: closed or ended, nothing under way.
  void open(std::uint64_t epoch);
  void hold();
  void resume();
  void end();
  // REQUIRES: not open.
  Task<void> quiet();
  [[nodiscard]] std::size_t under_way() const {
    return io_.under_way.size() + commands_.under_way.size() + others_.under_way.size();
  }
  [[nodiscard]] bool is_open() const { return state_ == State::kOpen; }

  // A write was refused; called after hold().
  std::function<void()> on_fenced;

  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  [[nodiscard]] std::uint32_t stripe_blocks() const override { return disk_.stripe_blocks(); }
  void start(BlockOperation& operation) override;
  // The disk's, behind the gate: reading otherwise is a read, and repairing a write.
  [[nodiscard]] Redundancy* redundancy() override {
    return disk_.redundancy() != nullptr ? this : nullptr;
  }
  [[nodiscard]] shelf::DiskKey key() const override { return disk_.key(); }
  [[nodiscard]] shelf::DiskFeatures features() const override { return disk_.features(); }
  [[nodiscard]] shelf::DiskHealth health() const override { return disk_.health(); }
  // The epoch is the opening's.
  void use_epoch(std::uint64_t /*epoch*/) override {}
  // Only kWriteDurable goes through the gate; the others are the pair's own business.
  void start_command(shelf::DiskCommand& command) override;

 private:
  enum class State : std::uint8_t { kClosed, kOpen, kHeld, kEnded };
  // Each stands for one that the filer has started.
  struct Io final : BlockOperation {
    using Original = BlockOperation;
    Io(GatedDisk& owner, BlockOperation& what) : gate(owner), original(what) {
      kind = what.kind;
      block = what.block;
      parts = what.parts;
      fresh = what.fresh;
    }
    void send() { gate.disk_.start(*this); }
    void run() override { gate.finish(gate.io_, *this); }
    GatedDisk& gate;
    BlockOperation& original;
    std::list<Io>::iterator self;
  };
  struct Command final : shelf::DiskCommand {
    using Original = shelf::DiskCommand;
    Command(GatedDisk& owner, shelf::DiskCommand& what)
        : DiskCommand(what.request), gate(owner), original(what) {}
    void send() { gate.disk_.start_command(*this); }
    void run() override { gate.finish(gate.commands_, *this); }
    GatedDisk& gate;
    shelf::DiskCommand& original;
    std::list<Command>::iterator self;
  };
  struct Other final : Redundancy::Operation {
    using Original = Redundancy::Operation;
    Other(GatedDisk& owner, Redundancy::Operation& what) : gate(owner), original(what) {
      kind = what.kind;
      block = what.block;
      attempt = what.attempt;
      bytes = what.bytes;
    }
    void send() { gate.disk_.redundancy()->start(*this); }
    void run() override { gate.finish(gate.others_, *this); }
    GatedDisk& gate;
    Redundancy::Operation& original;
    std::list<Other>::iterator self;
  };
  template <typename Passed>
  struct Lane {
    std::list<Passed> under_way;
    std::deque<typename Passed::Original*> waiting;
  };
  void start(Redundancy::Operation& operation) override;
  void set_needed(Needed needed) override;
  template <typename Passed>
  void admit(Lane<Passed>& lane, typename Passed::Original& operation);
  template <typename Passed>
  void pass(Lane<Passed>& lane, typename Passed::Original& operation);
  template <typename Passed>
  void finish(Lane<Passed>& lane, Passed& passed);
  template <typename Passed>
  void pass_waiting(Lane<Passed>& lane);
  template <typename Passed>
  void refuse_waiting(Lane<Passed>& lane);
  bool keep(const Status& result);

  Scheduler& scheduler_;
  shelf::SharedDisk& disk_;
  const bool shared_;
  State state_ = State::kClosed;
  std::uint64_t epoch_ = 0;
  Lane<Io> io_;
  Lane<Command> commands_;
  Lane<Other> others_;
  WaitList ended_;
};

}  // namespace duet::failover
