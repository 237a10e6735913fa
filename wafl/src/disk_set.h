// DiskSet: an aggregate's disks, one behind the other, as one space of block numbers.
//
// Ownership: borrows the devices.  Thread-safety: one thread.

#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "platform/block_device.h"
#include "platform/task.h"
#include "platform/wait.h"
#include "wafl/buffer.h"

namespace duet::wafl {

class DiskSet {
 public:
  struct Disk {
    BlockDevice* device = nullptr;
    std::uint64_t base = 0;           // aggregate number of its block 0
    std::uint64_t blocks = 0;         // of it that the aggregate uses
    std::uint32_t stripe_blocks = 1;  // what the allocator should fill at a time
  };

  void add(BlockDevice& device, std::uint64_t blocks);

  [[nodiscard]] const std::vector<Disk>& disks() const { return disks_; }
  [[nodiscard]] std::uint64_t block_count() const { return block_count_; }
  // The disk that holds aggregate block `block`.  REQUIRES: block < block_count().
  [[nodiscard]] const Disk& disk_of(std::uint64_t block) const;
  // Whether any of them has stripes of more than a block.
  [[nodiscard]] bool striped() const { return striped_; }

  // All disks at once.  Error: kIo when one of them failed.
  Task<Status> flush_all(Scheduler& scheduler) const;

 private:
  std::vector<Disk> disks_;
  std::uint64_t block_count_ = 0;
  bool striped_ = false;
};

// Reads or writes of single blocks, gathered into as few transfers as their numbers allow,
// any number of transfers at once.  Writes are of fresh blocks; where they can, transfers end with
// a stripe.
//
//   IoBatch batch(scheduler, disks, kind);
//   batch.add(block, buffer); ...
//   const Status status = co_await batch.finish();
//
// add() starts a transfer as soon as the next block does not follow on; room() says
// when the writer should wait.
class IoBatch {
 public:
  IoBatch(Scheduler& scheduler, const DiskSet& disks, BlockOperation::Kind kind);
  // REQUIRES: nothing is under way, or the devices have stopped.
  ~IoBatch();
  IoBatch(const IoBatch&) = delete;
  IoBatch& operator=(const IoBatch&) = delete;

  void add(std::uint64_t block, BufferRef buffer);
  // Waits while more than `blocks_max` blocks are under way.
  Task<void> room(std::size_t blocks_max);
  // Starts what is gathered and waits for all.  The first error, if any.
  Task<Status> finish();

  [[nodiscard]] std::uint64_t blocks_added() const { return blocks_added_; }
  // Of those that were started, in whole stripes.
  [[nodiscard]] std::uint64_t blocks_in_stripes() const { return blocks_in_stripes_; }

 private:
  struct Transfer final : BlockOperation {
    explicit Transfer(IoBatch& owner) : batch(owner) {}
    void run() override { batch.complete(*this); }
    IoBatch& batch;
    std::vector<MutableBytes> views;
    std::vector<BufferRef> buffers;
    std::list<Transfer>::iterator self;
  };
  void start_gathered();
  void complete(Transfer& transfer);

  const DiskSet& disks_;
  const BlockOperation::Kind kind_;
  std::list<Transfer> transfers_;
  Transfer* gathering_ = nullptr;
  std::uint64_t next_block_ = 0;
  std::uint64_t transfer_end_ = 0;
  const DiskSet::Disk* disk_ = nullptr;
  std::size_t blocks_under_way_ = 0;
  std::uint64_t blocks_added_ = 0;
  std::uint64_t blocks_in_stripes_ = 0;
  Status status_ = Ok{};
  WaitList progress_;
};

}  // namespace duet::wafl
