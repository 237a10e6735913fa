// SimTarget: one disk of a shelf, reached by several nodes, in the simulator.
//
// It is the production Target on a SimDisk, behind connections that delay, hold back and lose:
//   - a message takes a time drawn from the seed, now and then a long one; so a write may arrive
//     when its sender is dead, was replaced by a newer session, or was fenced;
//   - a path that is cut holds messages back; a node that hears nothing for a while connects again
//     and sends again what was not answered;
//   - kill() and start() are the shelf's process, lose_power() its machine; the SimDisks remain.
//
//   SimDisk data("d0", 1024), label("d0.label", kLabelBlocks);
//   SimTarget shelf(scheduler, data, label);
//   SimPath path(scheduler);
//   auto disk = shelf.connect(path, make_key(0, 1));   // a SharedDisk; destroying it is kill -9
//
// Ownership: borrows scheduler and disks; outlives its initiators.  Thread-safety: one thread.

#pragma once

#include <list>
#include <memory>
#include <string>

#include "platform/task_scope.h"
#include "shelf/shared_disk.h"
#include "shelf/target.h"
#include "shelf/testing/sim_path.h"
#include "sim/sim_block_device.h"
#include "sim/sim_disk.h"

namespace duet::shelf::testing {

struct SimTargetOptions {
  // What it offers.  Without survives_power_loss start() finds no keys.
  DiskFeatures features = Target::features();
  std::uint64_t late_one_in = 500;                     // messages that take long; 0: none
  Duration late_max = std::chrono::milliseconds(100);  // how long
  std::uint64_t slow_one_in = 500;                    // I/O that waits at the disk before it begins
  Duration slow_max = std::chrono::milliseconds(20);  // how long
  Duration silence = std::chrono::milliseconds(50);   // heard nothing: connect again
  Duration fail_after = std::chrono::milliseconds(2000);  // lost for so long: I/O fails
};

class SimConnection;
class SimInitiator;
class SlowDisk;

class SimTarget {
 public:
  // Runs at once.  Formats `label` when it is blank.
  SimTarget(sim::SimScheduler& scheduler, sim::SimDisk& data, sim::SimDisk& label,
            const SimTargetOptions& options = {});
  ~SimTarget();
  SimTarget(const SimTarget&) = delete;
  SimTarget& operator=(const SimTarget&) = delete;

  // A process's disk.  Several may be there for one node: that is what a frozen old process is.
  // `process`, where given, is the scheduler whose turns are that process's: while it runs none (a
  // node that is paused) nothing is sent or taken in, but what was sent before still arrives.
  // REQUIRES: `path` outlives it, and this target; `process` outlives it.
  std::unique_ptr<SharedDisk> connect(SimPath& path, DiskKey key, Scheduler* process = nullptr);

  // kill -9 of the shelf; what was under way may have happened.
  void kill();
  // kill(), and what was not flushed may be lost.
  void lose_power();
  // Starts it again.  REQUIRES: killed.
  void start();
  [[nodiscard]] bool running() const { return target_ != nullptr; }

  // What it holds; null while it does not run.
  [[nodiscard]] const Target* target() const { return target_.get(); }
  [[nodiscard]] sim::SimDisk& data() { return data_; }

 private:
  friend class SimConnection;
  friend class SimInitiator;

  Task<void> open();
  // A new connection; it ends by itself.
  SimConnection& dial(SimPath& path, SimInitiator& client, DiskKey key, std::uint64_t number);
  [[nodiscard]] Duration travel_time();
  void remove(SimConnection& connection);

  sim::SimScheduler& scheduler_;
  sim::SimDisk& data_;
  sim::SimDisk& label_;
  const SimTargetOptions options_;
  std::unique_ptr<sim::SimBlockDevice> data_device_;
  std::unique_ptr<sim::SimBlockDevice> label_device_;
  std::unique_ptr<SlowDisk> slow_data_;
  std::unique_ptr<Target> target_;
  std::list<std::unique_ptr<SimConnection>> connections_;
  TaskScope opening_;
};

}  // namespace duet::shelf::testing
