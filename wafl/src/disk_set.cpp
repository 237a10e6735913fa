#include "disk_set.h"

#include <algorithm>

#include "base/check.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kTransferBlocksMax = 256;  // 1 MiB: past that larger transfers gain nothing
constexpr std::uint32_t kStripeBlocksMax = 4096;   // of one transfer

// Where a transfer that begins at `block` of the disk ends at the latest.
std::uint64_t transfer_end(const DiskSet::Disk& disk, std::uint64_t block) {
  const std::uint64_t stripe = disk.stripe_blocks;
  std::uint64_t end = block + kTransferBlocksMax;
  if (stripe <= kStripeBlocksMax) {
    const std::uint64_t next_stripe = (block / stripe + 1) * stripe;
    end = std::max(end / stripe * stripe, next_stripe);
  }
  return std::min(end, disk.blocks);
}

// Of the blocks [first, end) of a disk, in whole stripes.
std::uint64_t whole_stripes(std::uint64_t stripe, std::uint64_t first, std::uint64_t end) {
  const std::uint64_t from = (first + stripe - 1) / stripe * stripe;
  const std::uint64_t to = end / stripe * stripe;
  return to > from ? to - from : 0;
}

}  // namespace

void DiskSet::add(BlockDevice& device, std::uint64_t blocks) {
  const std::uint32_t stripe = std::max(device.stripe_blocks(), 1U);
  disks_.push_back({&device, block_count_, blocks, stripe});
  striped_ = striped_ || stripe > 1;
  block_count_ += blocks;
}

const DiskSet::Disk& DiskSet::disk_of(std::uint64_t block) const {
  DUET_CHECK(block < block_count_);
  auto after = std::upper_bound(disks_.begin(), disks_.end(), block,
                                [](std::uint64_t b, const Disk& disk) { return b < disk.base; });
  return *(after - 1);
}

namespace {

struct Flush final : BlockOperation {
  Flush(std::size_t& left_given, WaitList& ended_given) : left(left_given), ended(ended_given) {}
  void run() override {
    --left;
    ended.wake_all();
  }
  std::size_t& left;
  WaitList& ended;
};

}  // namespace

Task<Status> DiskSet::flush_all(Scheduler& scheduler) const {
  WaitList ended(scheduler);
  std::size_t left = disks_.size();
  std::list<Flush> flushes;
  for (const Disk& disk : disks_) {
    disk.device->start(flushes.emplace_back(left, ended));
  }
  while (left > 0) {
    co_await ended.wait();
  }
  for (const Flush& flush : flushes) {
    if (!flush.result.ok()) {
      co_return flush.result;
    }
  }
  co_return Ok{};
}

IoBatch::IoBatch(Scheduler& scheduler, const DiskSet& disks, BlockOperation::Kind kind)
    : disks_(disks), kind_(kind), progress_(scheduler) {}

IoBatch::~IoBatch() = default;

void IoBatch::add(std::uint64_t block, BufferRef buffer) {
  const bool follows = gathering_ != nullptr && block == next_block_ && block < transfer_end_;
  if (!follows) {
    start_gathered();
    disk_ = &disks_.disk_of(block);
    transfer_end_ = disk_->base + transfer_end(*disk_, block - disk_->base);
    Transfer& transfer = transfers_.emplace_back(*this);
    transfer.self = std::prev(transfers_.end());
    transfer.kind = kind_;
    transfer.fresh = kind_ == BlockOperation::Kind::kWrite;
    transfer.block = block - disk_->base;
    gathering_ = &transfer;
  }
  gathering_->buffers.push_back(std::move(buffer));
  next_block_ = block + 1;
  ++blocks_added_;
}

void IoBatch::start_gathered() {
  if (gathering_ == nullptr) {
    return;
  }
  Transfer& transfer = *std::exchange(gathering_, nullptr);
  transfer.views.reserve(transfer.buffers.size());
  for (const BufferRef& buffer : transfer.buffers) {
    const MutableBytes bytes = buffer.mutable_bytes();
    // Buffers of one slab are often neighbours: fewer, longer pieces.
    if (!transfer.views.empty() &&
        transfer.views.back().data() + transfer.views.back().size() == bytes.data()) {
      transfer.views.back() = {transfer.views.back().data(),
                               transfer.views.back().size() + bytes.size()};
    } else {
      transfer.views.push_back(bytes);
    }
  }
  transfer.parts = transfer.views;
  blocks_under_way_ += transfer.buffers.size();
  blocks_in_stripes_ +=
      whole_stripes(disk_->stripe_blocks, transfer.block, transfer.block + transfer.buffers.size());
  disk_->device->start(transfer);
}

void IoBatch::complete(Transfer& transfer) {
  blocks_under_way_ -= transfer.buffers.size();
  if (!transfer.result.ok() && status_.ok()) {
    status_ = transfer.result;
  }
  transfers_.erase(transfer.self);
  progress_.wake_all();
}

Task<void> IoBatch::room(std::size_t blocks_max) {
  while (blocks_under_way_ > blocks_max) {
    co_await progress_.wait();
  }
}

Task<Status> IoBatch::finish() {
  start_gathered();
  while (!transfers_.empty()) {
    co_await progress_.wait();
  }
  co_return status_;
}

}  // namespace duet::wafl
