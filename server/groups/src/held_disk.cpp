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
  if (free_.empty()) {
    free_.emplace_back(*this);
  }
  under_way_.splice(under_way_.end(), free_, free_.begin());
  Passed& passed = under_way_.back();
  passed.self = std::prev(under_way_.end());
  passed.original = &operation;
  passed.kind = operation.kind;
  passed.fresh = operation.fresh;
  passed.block = operation.block;
  passed.parts = operation.parts;
  disk_->start(passed);
}

void HeldDisk::finish(Passed& passed) {
  BlockOperation& original = *passed.original;
  original.result = passed.result;
  free_.splice(free_.end(), under_way_, passed.self);
  original.run();
}

void HeldDisk::close() {
  DUET_CHECK(shut_ && idle());
  blocks_ = disk_->block_count();
  disk_.reset();
}

}  // namespace duet::groups
