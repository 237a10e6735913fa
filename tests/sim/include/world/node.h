// Node: one simulated machine with its disks and its persistent memory, and the filer on it.
//
// It dies in three ways: in order; killed (disks and memory keep what they were told); or without
// power (each keeps what it likes of what was not flushed or persisted).  Death may come
// between two turns, or in the middle of one: at a write, a flush, a store or a persist.
//
// Sabotage: seams that break their promise, to show that the checkers bite.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "filer/filer.h"
#include "platform/task_scope.h"
#include "sim/faulty_block_device.h"
#include "sim/sim_block_device.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_entropy.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"
#include "wafl_check/check.h"
#include "world/tree.h"

namespace duet::world {

enum class Sabotage : std::uint8_t {
  kNone,
  kLostFlush,      // a flush says that it is done, and does nothing
  kLostWrite,      // now and then a write says that it is done, and is not
  kNoPersist,      // persist() does nothing
};
// Error: nullopt.
[[nodiscard]] std::optional<Sabotage> sabotage_named(std::string_view name);

struct NodeOptions {
  std::uint64_t seed = 1;
  std::size_t disks = 1;
  std::uint64_t blocks = 8192;  // of each disk
  filer::FilerOptions filer;
  Sabotage sabotage = Sabotage::kNone;
};

// PersistentMemory that tells which records are stored in it.
class WatchedMemory final : public PersistentMemory {
 public:
  struct Seen {
    std::uint64_t sequence = 0;
    std::int64_t now = 0;
    filer::Address address{};
    std::uint32_t xid = 0;
  };
  WatchedMemory(PersistentMemory& memory, bool persists, std::function<void(const Seen&)> seen)
      : memory_(memory), persists_(persists), seen_(std::move(seen)) {}
  [[nodiscard]] std::span<const std::byte> bytes() const override { return memory_.bytes(); }
  void store(std::uint64_t offset, std::span<const std::byte> data) override;
  Status persist() override;
  void fail_next_persist() { fail_next_persist_ = true; }

 private:
  PersistentMemory& memory_;
  const bool persists_;
  bool fail_next_persist_ = false;
  std::function<void(const Seen&)> seen_;
};

class Node {
 public:
  // What is on a machine when its power is gone.
  struct Hardware {
    std::vector<std::unique_ptr<sim::SimDisk>> disks;
    std::unique_ptr<sim::SimPersistentMemory> memory;
  };

  Node(sim::SimScheduler& scheduler, const NodeOptions& options);
  Node(sim::SimScheduler& scheduler, const NodeOptions& options, Hardware hardware);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Runs until `task` has ended; nullopt: the world stood still or ran too long.
  template <typename T>
  std::optional<T> run(Task<T> task, std::uint64_t turns_max = 20'000'000) {
    std::optional<T> result;
    TaskScope scope(scheduler_);
    scope.spawn(keep(std::move(task), result));
    (void)scheduler_.run_until([&] { return result.has_value(); }, turns_max);
    return result;
  }

  // A new aggregate with one exported volume, "vol0", and an open filer.
  Complaint format();
  // Powers on; then the filer is opened by the caller, who may kill it meanwhile.
  void connect();
  Task<Status> open();
  [[nodiscard]] bool serves() const { return filer_ != nullptr; }
  [[nodiscard]] filer::Filer& filer() { return *filer_; }

  // --- Death.  REQUIRES: no request of this filer exists; cut_connections() came first.
  enum class Death : std::uint8_t { kKilled, kPowerLoss };
  // The devices let go of what is under way; then the tasks that wait for it may be destroyed.
  void cut_connections();
  void die(Death death);

  // Copies all disks and memory at the `events`th next event; died() from then on, and die()
  // returns to the copies.
  void die_at_event(std::uint64_t events);
  [[nodiscard]] bool died() const { return copy_.has_value(); }
  void cancel_death() { events_left_.reset(); }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  // A copy, before anything is lost.
  [[nodiscard]] Hardware copy() const;
  // Called at each event; may copy().
  void on_event(std::function<void()> seen) { event_seen_ = std::move(seen); }

  // Called before each record's header is stored: from then on a crash may keep it.
  void on_record(std::function<void(const WatchedMemory::Seen&)> seen) { seen_ = std::move(seen); }

  // The aggregate on the disks, as it stands.  REQUIRES: no connection.
  Complaint check();

  [[nodiscard]] sim::SimScheduler& scheduler() { return scheduler_; }
  [[nodiscard]] sim::SimWallClock& clock() { return clock_; }
  [[nodiscard]] std::vector<std::unique_ptr<sim::SimDisk>>& disks() { return disks_; }
  [[nodiscard]] sim::SimPersistentMemory& memory() { return *memory_; }
  void fail_next_persist() { watched_->fail_next_persist(); }
  void replace_memory(std::unique_ptr<sim::SimPersistentMemory> memory);
  [[nodiscard]] std::unique_ptr<sim::SimPersistentMemory> take_memory();
  [[nodiscard]] std::vector<std::unique_ptr<sim::FaultyBlockDevice>>& faults() { return faulty_; }

 private:
  template <typename T>
  static Task<void> keep(Task<T> task, std::optional<T>& result) {
    result.emplace(co_await std::move(task));
  }
  Task<Status> make_contents();
  void observe();
  void event();

  sim::SimScheduler& scheduler_;
  const NodeOptions options_;
  sim::SimWallClock clock_;
  sim::SimEntropy entropy_;
  std::vector<std::unique_ptr<sim::SimDisk>> disks_;
  std::unique_ptr<sim::SimPersistentMemory> memory_;
  std::vector<std::unique_ptr<BlockDevice>> connections_;
  std::vector<std::unique_ptr<BlockDevice>> saboteurs_;
  std::vector<std::unique_ptr<sim::FaultyBlockDevice>> faulty_;
  std::unique_ptr<WatchedMemory> watched_;
  std::unique_ptr<filer::Filer> filer_;
  std::function<void(const WatchedMemory::Seen&)> seen_;
  std::optional<std::uint64_t> events_left_;
  std::uint64_t events_ = 0;
  std::optional<Hardware> copy_;
  std::function<void()> event_seen_;
};

}  // namespace duet::world
