// VirtualDisk: a part of a group's blocks as a BlockDevice: what wafl lives on.
//
// Every node that manages the group can have one of the same part; what is written through one is
// read through all.  A part begins with a stripe when it is made; an expansion makes the stripes
// wider, and then two parts may share one.
//
// As of every BlockDevice, a write that no flush has followed may be lost in a crash, block by
// block; of what does not say that it is fresh, only as its answer says.
//
// Ownership: borrows the group.  Drain it before it is destroyed: what is under way is forgotten.
// Thread-safety: the scheduler's thread.

#pragma once

#include <string>

#include "platform/task_scope.h"
#include "raid/group.h"

namespace duet::raid {

class VirtualDisk final : public BlockDevice, private Redundancy {
 public:
  // `answer`: when what does not say that it is fresh is answered.
  // REQUIRES: the part lies in the group.
  VirtualDisk(Scheduler& scheduler, Group& group, const Part& part, Answer answer,
              std::string name);
  VirtualDisk(const VirtualDisk&) = delete;
  VirtualDisk& operator=(const VirtualDisk&) = delete;
  // Nobody speaks for its blocks any more.
  ~VirtualDisk() override;

  [[nodiscard]] std::uint64_t block_count() const override { return part_.blocks; }
  [[nodiscard]] std::string_view name() const override { return name_; }
  void start(BlockOperation& operation) override;
  [[nodiscard]] Redundancy* redundancy() override { return this; }

  // A block of it, as the group counts: for Group::read_other() and repair().
  [[nodiscard]] std::uint64_t group_block(std::uint64_t block) const {
    return part_.first_block + block;
  }
  // Whole stripes of it are written without a read: so many blocks, from a multiple of it on if the
  // group was not expanded since the part was made.  It changes when an expansion ends.
  [[nodiscard]] std::uint32_t stripe_blocks() const override {
    return group_.geometry().stripe_blocks();
  }

 private:
  void start(Redundancy::Operation& operation) override;
  void set_needed(Needed needed) override;
  static Task<void> run(VirtualDisk& disk, BlockOperation& operation);
  static Task<void> run_other(VirtualDisk& disk, Redundancy::Operation& operation);

  Scheduler& scheduler_;
  Group& group_;
  const Part part_;
  const Answer answer_;
  const std::string name_;
  TaskScope scope_;
};

}  // namespace duet::raid
