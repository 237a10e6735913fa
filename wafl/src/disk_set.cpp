#include "disk_set.h"

#include <algorithm>

#include "base/check.h"

namespace duet::wafl {

namespace {

constexpr std::size_t kTransferBlocksMax = 256;  // 1 MiB: past that larger transfers gain nothing

}  // namespace

void DiskSet::add(BlockDevice& device, std::uint64_t blocks) {
  disks_.push_back({&device, block_count_, blocks});
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
  const bool follows = gathering_ != nullptr && block == next_block_ && block < disk_end_ &&
                       gathering_->buffers.size() < kTransferBlocksMax;
  if (!follows) {
    start_gathered();
    const DiskSet::Disk& disk = disks_.disk_of(block);
    device_ = disk.device;
    disk_end_ = disk.base + disk.blocks;
    Transfer& transfer = transfers_.emplace_back(*this);
    transfer.self = std::prev(transfers_.end());
    transfer.kind = kind_;
    transfer.block = block - disk.base;
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
  device_->start(transfer);
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
