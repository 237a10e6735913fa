// Lab: a group and the nodes that manage it, on disks in memory; in simulated time or in real time.
//
// Thread-safety: one thread.

#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <vector>

#include "platform/linux/epoll_scheduler.h"
#include "platform/task_scope.h"
#include "raid/group.h"
#include "raid/intent_format.h"
#include "ram.h"
#include "sim/sim_scheduler.h"

namespace duet::raid::bench {

// Runs tasks to their end.
class Machine {
 public:
  virtual ~Machine() = default;
  [[nodiscard]] virtual Scheduler& scheduler() = 0;
  virtual void run(Task<void> task) = 0;
};

class SimulatedMachine final : public Machine {
 public:
  explicit SimulatedMachine(std::uint64_t seed) : scheduler_(seed) {}
  [[nodiscard]] Scheduler& scheduler() override { return scheduler_; }
  void run(Task<void> task) override {
    TaskScope scope(scheduler_);
    scope.spawn(std::move(task));
    DUET_CHECK(scheduler_.run_until([&scope] { return scope.idle(); }, ~std::uint64_t{0}));
    DUET_CHECK(scope.idle());
  }

 private:
  sim::SimScheduler scheduler_;
};

class RealMachine final : public Machine {
 public:
  [[nodiscard]] Scheduler& scheduler() override { return scheduler_; }
  void run(Task<void> task) override {
    TaskScope scope(scheduler_);
    scope.spawn(then_stop(std::move(task), scheduler_));
    if (!scope.idle()) {
      scheduler_.run();
    }
    DUET_CHECK(scope.idle());
  }

 private:
  static Task<void> then_stop(Task<void> task, os::EpollScheduler& scheduler) {
    co_await std::move(task);
    co_await yield(scheduler);  // it runs by now
    scheduler.stop();
  }
  os::EpollScheduler scheduler_;
};

struct LabOptions {
  Geometry geometry;
  std::uint32_t nodes = 1;
  std::uint32_t range_stripes = 16;
  std::uint32_t step_stripes = 0;
  std::uint32_t spares = 0;
  std::uint32_t blank = 0;  // more disks, behind the spares
  std::uint32_t copies = 0;
  // As `duet init` makes them (server/config).
  std::uint32_t slots = 512;
  std::uint32_t pages = 1024;
  Timing timing;
};

class Lab {
 public:
  Lab(Machine& machine, const LabOptions& options);
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  [[nodiscard]] Group& group(std::uint32_t node) { return *nodes_[node]->group; }
  [[nodiscard]] Scheduler& scheduler() { return machine_.scheduler(); }
  [[nodiscard]] BlockDevice& device(std::uint32_t node, std::uint32_t disk) {
    return *nodes_[node]->devices[disk];
  }
  [[nodiscard]] Machine& machine() { return machine_; }
  [[nodiscard]] const LabOptions& options() const { return options_; }
  [[nodiscard]] const Geometry& geometry() const { return options_.geometry; }
  [[nodiscard]] const Wire& wire() const { return wire_; }
  [[nodiscard]] RamDisk& disk(std::uint32_t number) { return *disks_[number]; }
  // Of all nodes.
  [[nodiscard]] GroupCounters counters() const;
  // Come back when some disk is not in sync, and when all are, in the eyes of every node.
  Task<void> until_failed() { return until(false); }
  Task<void> until_whole() { return until(true); }

 private:
  struct Node {
    explicit Node(const Timing& timing) : port(timing.port_bytes_per_s) {}
    Lane port;
    std::unique_ptr<RamMemory> memory;
    std::vector<std::unique_ptr<RamPort>> ways;
    std::vector<BlockDevice*> devices;
    Wire::Port* peers = nullptr;
    std::unique_ptr<Group> group;
  };
  Task<void> make();
  Task<void> until(bool whole);

  Machine& machine_;
  const LabOptions options_;
  std::vector<std::unique_ptr<RamDisk>> disks_;
  Wire wire_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// Seconds of this thread's processor time: the machine has others to serve.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}
inline double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// Blocks of a caller, warm and full of something.
Buffer some_blocks(std::size_t blocks, std::uint64_t seed);

}  // namespace duet::raid::bench
