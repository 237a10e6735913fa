#include "groups/held_disk.h"

#include "base/check.h"

namespace duet::groups {

HeldDisk::HeldDisk(Scheduler& scheduler, std::unique_ptr<BlockDevice> disk)
    : scheduler_(scheduler), name_(disk->name()), disk_(std::move(disk)) {}

void HeldDisk::start(BlockOperation& operation) {
  if (shut_) {
    operation.result = Error{Errc::kIo, "the disk was taken out of its group"};
    scheduler_.post(operation);
    return;
  }
  pass(operation, *disk_);
}

void HeldDisk::close() {
  DUET_CHECK(shut_ && idle());
  blocks_ = disk_->block_count();
  disk_.reset();
}

}  // namespace duet::groups
