// IoBatch: some operations on several disks, started together and waited for together.
//
//   IoBatch batch;
//   batch.read(disk, block, bytes, tag);  ...
//   co_await batch.run();
//   for (const IoBatch::Op& op : batch.ops()) ... op.result ...
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <coroutine>
#include <deque>
#include <utility>
#include <vector>

#include "platform/block_device.h"

namespace duet::raid {

class IoBatch {
 public:
  struct Op final : BlockOperation {
    Op(IoBatch& owner, BlockDevice& on) : batch(owner), device(on) {}
    void run() override { batch.finished(); }
    IoBatch& batch;
    BlockDevice& device;
    std::vector<MutableBytes> bytes;
    std::uint32_t tag = 0;
  };

  IoBatch() = default;
  IoBatch(const IoBatch&) = delete;
  IoBatch& operator=(const IoBatch&) = delete;

  void read(BlockDevice& device, std::uint64_t block, MutableBytes bytes, std::uint32_t tag) {
    add(device, BlockOperation::Kind::kRead, block, {bytes}, tag);
  }
  void write(BlockDevice& device, std::uint64_t block, MutableBytes bytes, std::uint32_t tag) {
    add(device, BlockOperation::Kind::kWrite, block, {bytes}, tag);
  }
  // From, or to, several places, one behind the other.
  void read(BlockDevice& device, std::uint64_t block, std::vector<MutableBytes> parts,
            std::uint32_t tag) {
    add(device, BlockOperation::Kind::kRead, block, std::move(parts), tag);
  }
  void write(BlockDevice& device, std::uint64_t block, std::vector<MutableBytes> parts,
             std::uint32_t tag) {
    add(device, BlockOperation::Kind::kWrite, block, std::move(parts), tag);
  }
  void flush(BlockDevice& device, std::uint32_t tag) {
    add(device, BlockOperation::Kind::kFlush, 0, {}, tag);
  }
  [[nodiscard]] const std::deque<Op>& ops() const { return ops_; }

  class [[nodiscard]] Await {
   public:
    explicit Await(IoBatch& batch) : batch_(batch) {}
    bool await_ready() const noexcept { return batch_.ops_.empty(); }
    void await_suspend(std::coroutine_handle<> coroutine) {
      batch_.coroutine_ = coroutine;
      batch_.left_ = batch_.ops_.size();
      for (Op& op : batch_.ops_) {
        op.device.start(op);
      }
    }
    void await_resume() const noexcept {}

   private:
    IoBatch& batch_;
  };
  Await run() { return Await(*this); }

 private:
  void add(BlockDevice& device, BlockOperation::Kind kind, std::uint64_t block,
           std::vector<MutableBytes> parts, std::uint32_t tag) {
    Op& op = ops_.emplace_back(*this, device);
    op.kind = kind;
    op.block = block;
    op.bytes = std::move(parts);
    op.parts = op.bytes;
    op.tag = tag;
  }
  void finished() {
    if (--left_ == 0) {
      coroutine_.resume();
    }
  }

  std::deque<Op> ops_;
  std::size_t left_ = 0;
  std::coroutine_handle<> coroutine_;
};

}  // namespace duet::raid
