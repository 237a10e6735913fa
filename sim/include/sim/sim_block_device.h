// SimBlockDevice: a process's connection to a SimDisk.
//
// Operations take times drawn from the seed and end in any order.  A caller that
// changes the bytes of a write that is under way stops the test: a real disk
// would have written either.
//
// Destroying it is what kill -9 is to a real disk: its owners never hear of what was
// under way, and writes under way may have happened, block by block.  The owners of what is
// under way may be destroyed before it, when no turn runs in between.  To end in
// order, wait for what was started first.
//
// Thread-safety: one thread.

#pragma once

#include <list>
#include <optional>

#include "platform/block_device.h"
#include "sim/sim_disk.h"
#include "sim/sim_scheduler.h"

namespace duet::sim {

class SimBlockDevice final : public BlockDevice {
 public:
  // REQUIRES: `disk` outlives it, and has no other connection that writes.
  SimBlockDevice(SimScheduler& scheduler, SimDisk& disk) : scheduler_(scheduler), disk_(disk) {}
  ~SimBlockDevice() override;
  SimBlockDevice(const SimBlockDevice&) = delete;
  SimBlockDevice& operator=(const SimBlockDevice&) = delete;

  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override;

  [[nodiscard]] std::size_t under_way() const { return under_way_.size(); }

 private:
  // One operation, until its time has come.
  struct Pending final : Continuation {
    Pending(SimBlockDevice& owner, BlockOperation& what) : device(owner), operation(what) {}
    void run() override { device.finish(*this); }
    SimBlockDevice& device;
    BlockOperation& operation;
    std::optional<SimDisk::WriteId> write;
    SimDisk::FlushMark flush{};
    std::list<Pending>::iterator self;
  };
  void finish(Pending& pending);
  void read(const BlockOperation& operation) const;
  [[nodiscard]] Duration latency();

  SimScheduler& scheduler_;
  SimDisk& disk_;
  std::list<Pending> under_way_;
};

}  // namespace duet::sim
