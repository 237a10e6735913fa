#include "block_reader.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace duet::wafl {

void BlockReader::add(BlockDevice& device, std::uint64_t blocks) {
  disks_.push_back({&device, block_count_, blocks});
  block_count_ += blocks;
}

const BlockReader::Disk& BlockReader::disk_of(std::uint64_t block) const {
  DUET_CHECK(block < block_count_);
  const auto after =
      std::ranges::upper_bound(disks_, block, {}, [](const Disk& disk) { return disk.base; });
  return *(after - 1);
}

std::uint64_t BlockReader::disk_end(std::uint64_t block) const {
  const Disk& disk = disk_of(block);
  return disk.base + disk.blocks;
}

bool BlockReader::reserved(std::uint64_t block) const {
  return block - disk_of(block).base < kReservedBlocks;
}

Task<Status> BlockReader::read(std::uint64_t block, MutableBytes into) {
  const std::uint64_t blocks = into.size() / kBlockBytes;
  const bool forward = block >= last_end_ && block - last_end_ < kForwardBlocks;
  last_end_ = block + blocks;
  const bool held = block >= window_block_ && last_end_ <= window_block_ + window_blocks_;
  if (!held && forward && blocks < kWindowBlocks) {
    window_.resize(kWindowBlocks);
    window_block_ = block;
    window_blocks_ = 0;
    const std::uint64_t count = std::min(kWindowBlocks, disk_end(block) - block);
    const MutableBytes all(window_.front().bytes.data(), count * kBlockBytes);
    const Status filled = co_await read_exactly(block, all);
    window_blocks_ = filled.ok() ? count : 0;
  }
  if (block >= window_block_ && last_end_ <= window_block_ + window_blocks_) {
    std::memcpy(into.data(), window_[block - window_block_].bytes.data(), into.size());
    co_return Ok{};
  }
  const Status status = co_await read_exactly(block, into);
  co_return status;
}

Task<Status> BlockReader::read_exactly(std::uint64_t block, MutableBytes into) {
  const Disk& disk = disk_of(block);
  const std::array<MutableBytes, 1> parts{into};
  const Status status = co_await disk.device->read(block - disk.base, parts);
  co_return status;
}

Task<Result<CheckBlockRef>> BlockReader::get(BlockPointer pointer) {
  if ((pointer.word >> 48U) != 0 || pointer.block() >= block_count_) {
    co_return Error{Errc::kCorrupt, "points out of the aggregate"};
  }
  if (const auto found = cached_.find(pointer.block()); found != cached_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    if (found->second->pointer.checksum == pointer.checksum) {
      co_return found->second->block;
    }
    co_return Error{Errc::kCorrupt, "the checksum is another"};
  }
  const auto block = std::make_shared<CheckBlock>();
  const Status status = co_await read(pointer.block(), block->bytes);
  if (!status.ok()) {
    co_return status.error();
  }
  if (crc32c(block->bytes) != pointer.checksum) {
    co_return Error{Errc::kCorrupt, "the checksum is another"};
  }
  if (cached_.size() >= kCachedMax) {
    cached_.erase(recent_.back().pointer.block());
    recent_.pop_back();
  }
  recent_.push_front({pointer, block});
  cached_[pointer.block()] = recent_.begin();
  co_return CheckBlockRef(block);
}

Task<Result<CheckBlockRef>> BlockReader::leaf(TreeRoot root, std::uint64_t index) {
  if (root.height > kHeightMax || index >> (8U * root.height) != 0) {
    co_return CheckBlockRef();
  }
  BlockPointer pointer = root.pointer;
  for (std::uint32_t level = root.height; level > 0 && !pointer.hole(); --level) {
    const Result<CheckBlockRef> indirect = co_await get(pointer);
    if (!indirect.ok()) {
      co_return indirect;
    }
    const std::uint64_t slot = (index >> (8U * (level - 1))) % kFanOut;
    pointer = load<BlockPointer>(indirect.value()->bytes, slot * sizeof(BlockPointer));
  }
  if (pointer.hole()) {
    co_return CheckBlockRef();
  }
  const Result<CheckBlockRef> block = co_await get(pointer);
  co_return block;
}

}  // namespace duet::wafl
