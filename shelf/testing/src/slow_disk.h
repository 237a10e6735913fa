// SlowDisk: a disk that now and then sits on an operation for long before it begins it.

#pragma once

#include <list>
#include <memory>

#include "platform/block_device.h"
#include "sim/sim_scheduler.h"

namespace duet::shelf::testing {

class SlowDisk final : public BlockDevice {
 public:
  // `one_in` operations, 0 for none, wait up to `longest`.
  SlowDisk(sim::SimScheduler& scheduler, BlockDevice& disk, std::uint64_t one_in, Duration longest)
      : scheduler_(scheduler), disk_(disk), one_in_(one_in), longest_(longest) {}

  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }

  void start(BlockOperation& operation) override {
    sim::Random& random = scheduler_.random();
    if (one_in_ == 0 || !random.one_in(one_in_)) {
      disk_.start(operation);
      return;
    }
    const auto us = static_cast<std::uint64_t>(longest_ / std::chrono::microseconds(1));
    Waiting& waiting = *waiting_.emplace_back(std::make_unique<Waiting>(*this, operation));
    scheduler_.post_at(waiting, scheduler_.now() + std::chrono::microseconds(random.below(us)));
  }

 private:
  struct Waiting final : Continuation {
    Waiting(SlowDisk& owner, BlockOperation& what) : disk(owner), operation(what) {}
    void run() override {
      disk.disk_.start(operation);
      std::erase_if(disk.waiting_, [this](const auto& each) { return each.get() == this; });
    }
    SlowDisk& disk;
    BlockOperation& operation;
  };

  sim::SimScheduler& scheduler_;
  BlockDevice& disk_;
  const std::uint64_t one_in_;
  const Duration longest_;
  std::list<std::unique_ptr<Waiting>> waiting_;
};

}  // namespace duet::shelf::testing
