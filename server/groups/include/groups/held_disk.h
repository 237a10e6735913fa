// HeldDisk: a disk in a group's hands, which can be taken out of them.
//
// The group keeps a pointer to every disk it was ever given.  This one stays; what is behind it is
// shut, and goes when nothing is under way there any more.
//
// Ownership: owns the disk behind it; borrows operations, as any device.  Thread-safety: the
// scheduler's thread.

#pragma once

#include <memory>
#include <string>

#include "platform/passing_device.h"

namespace duet::groups {

class HeldDisk final : public PassingDevice {
 public:
  HeldDisk(Scheduler& scheduler, std::unique_ptr<BlockDevice> disk);

  [[nodiscard]] std::uint64_t block_count() const override {
    return disk_ != nullptr ? disk_->block_count() : blocks_;
  }
  [[nodiscard]] std::string_view name() const override { return name_; }
  void begin_anew() override {
    if (disk_ != nullptr) {
      disk_->begin_anew();
    }
  }
  // Error in result, beside the disk's own: kIo: it is shut.
  void start(BlockOperation& operation) override;

  // What begins while it is shut fails.
  void set_shut(bool shut) { shut_ = shut; }
  // What is behind it.  REQUIRES: not closed.
  [[nodiscard]] BlockDevice& disk() const { return *disk_; }
  // For good.  REQUIRES: shut and idle.
  void close();

 private:
  void passed(const Status&) override {}

  Scheduler& scheduler_;
  const std::string name_;
  std::uint64_t blocks_ = 0;  // of the one that was closed
  bool shut_ = false;
  std::unique_ptr<BlockDevice> disk_;
};

}  // namespace duet::groups
