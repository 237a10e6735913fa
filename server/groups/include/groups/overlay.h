// Overlay and MemoryCopy: disk and memory of which only copies are changed.
//
// A group that is opened on them finishes what a crash left undone, and the disks themselves stay
// as they are: for whoever only looks.
//
// Ownership: the overlay owns its disk.  Thread-safety: the scheduler's thread.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "platform/block_device.h"
#include "platform/persistent_memory.h"
#include "platform/task_scope.h"

namespace duet::groups {

class Overlay final : public BlockDevice {
 public:
  Overlay(Scheduler& scheduler, std::unique_ptr<BlockDevice> disk)
      : scheduler_(scheduler), disk_(std::move(disk)), scope_(scheduler) {}
  // As that of the disk: waits for what is under way, and no turn runs before its owners end.
  ~Overlay() override { disk_.reset(); }

  [[nodiscard]] std::uint64_t block_count() const override { return disk_->block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_->name(); }
  [[nodiscard]] std::uint32_t stripe_blocks() const override { return disk_->stripe_blocks(); }
  void start(BlockOperation& operation) override;

  // What was written, in memory.
  [[nodiscard]] std::size_t blocks() const { return written_.size(); }

 private:
  static Task<void> run(Overlay& overlay, BlockOperation& operation);
  void take(const BlockOperation& operation);
  void lay_over(const BlockOperation& operation) const;

  Scheduler& scheduler_;
  std::unique_ptr<BlockDevice> disk_;
  std::unordered_map<std::uint64_t, std::vector<std::byte>> written_;
  TaskScope scope_;
};

class MemoryCopy final : public PersistentMemory {
 public:
  // Empty: blank memory of `bytes`.
  MemoryCopy(std::span<const std::byte> original, std::uint64_t bytes) : bytes_(bytes) {
    if (!original.empty()) {
      std::memcpy(bytes_.data(), original.data(), std::min<std::size_t>(bytes, original.size()));
    }
  }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    std::memcpy(std::span(bytes_).subspan(offset, data.size()).data(), data.data(), data.size());
  }
  Status persist() override { return Ok{}; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace duet::groups
