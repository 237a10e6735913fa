// BlockReader: verified blocks of the aggregate, with a small cache.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/block_device.h"
#include "platform/task.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

struct alignas(kBlockBytes) CheckBlock {
  std::array<std::byte, kBlockBytes> bytes;
};
using CheckBlockRef = std::shared_ptr<const CheckBlock>;

class BlockReader {
 public:
  struct Disk {
    BlockDevice* device;
    std::uint64_t base;
    std::uint64_t blocks;
  };

  // Disks in the order of the table.
  void add(BlockDevice& device, std::uint64_t blocks);
  [[nodiscard]] const std::vector<Disk>& disks() const { return disks_; }
  [[nodiscard]] std::uint64_t block_count() const { return block_count_; }
  // Where the disk ends that holds `block`.  REQUIRES: block < block_count().
  [[nodiscard]] std::uint64_t disk_end(std::uint64_t block) const;
  // Whether `block` is one that the format reserves on every disk.
  [[nodiscard]] bool reserved(std::uint64_t block) const;

  // Whole blocks as they stand, unverified.
  // REQUIRES: all lie on one disk; `into` is aligned to 4096.  Error: kIo.
  Task<Status> read(std::uint64_t block, MutableBytes into);

  // The block at `pointer`.  Error: kIo; kCorrupt: the checksum is another, or the pointer leads
  // out of the aggregate.
  Task<Result<CheckBlockRef>> get(BlockPointer pointer);
  // Leaf `index` of a tree; empty: a hole.  Error: as get().
  Task<Result<CheckBlockRef>> leaf(TreeRoot root, std::uint64_t index);

 private:
  struct Cached {
    BlockPointer pointer;
    CheckBlockRef block;
  };
  const Disk& disk_of(std::uint64_t block) const;
  Task<Status> read_exactly(std::uint64_t block, MutableBytes into);

  static constexpr std::size_t kCachedMax = 8192;  // 32 MiB
  // Files that were written together lie together: who reads forward gets 1 MiB at a time.
  static constexpr std::uint64_t kWindowBlocks = 256;
  static constexpr std::uint64_t kForwardBlocks = 64;
  std::vector<Disk> disks_;
  std::uint64_t block_count_ = 0;
  std::vector<CheckBlock> window_;
  std::uint64_t window_block_ = 0;
  std::uint64_t window_blocks_ = 0;  // valid ones
  std::uint64_t last_end_ = 0;       // behind the read before
  std::list<Cached> recent_;         // the latest first
  std::unordered_map<std::uint64_t, std::list<Cached>::iterator> cached_;
};

}  // namespace duet::wafl
