#include "platform/passing_device.h"

namespace duet {

void PassingDevice::pass(BlockOperation& operation, BlockDevice& device) {
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
  device.start(passed);
}

void PassingDevice::finish(Passed& passed) {
  BlockOperation& original = *passed.original;
  original.result = passed.result;
  free_.splice(free_.end(), under_way_, passed.self);
  this->passed(original.result);
  original.run();
}

}  // namespace duet
