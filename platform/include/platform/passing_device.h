// PassingDevice: a disk that has another one do its operations, and hears how each ended.
//
// Ownership: borrows operations, as any device.  The other device belongs to whoever derives from
// this; it lets go of what is under way when it ends, which is before this part does.
// Thread-safety: the scheduler's thread.

#pragma once

#include <list>

#include "platform/block_device.h"

namespace duet {

class PassingDevice : public BlockDevice {
 public:
  [[nodiscard]] bool idle() const { return under_way_.empty(); }

 protected:
  // Starts the same on `device`.  Memory is asked for only when more is under way than ever before.
  void pass(BlockOperation& operation, BlockDevice& device);
  // An operation that was passed on has `result`; who asked hears of it behind this.
  virtual void passed(const Status& result) = 0;

 private:
  struct Passed final : BlockOperation {
    explicit Passed(PassingDevice& owner) : device(owner) {}
    void run() override { device.finish(*this); }
    PassingDevice& device;
    BlockOperation* original = nullptr;
    std::list<Passed>::iterator self;
  };
  void finish(Passed& passed);

  std::list<Passed> under_way_;
  std::list<Passed> free_;
};

}  // namespace duet
