// BlockDevice: one disk, addressed in 4 KiB blocks.
//
// Implementations: platform/linux (io_uring, or a thread pool), sim (memory that tears, loses and
// reorders), shelf (disks that both nodes reach), raid (virtual disks of a group).
//
// Rules for all:
//   - any number of operations are under way at a time, in no order;
//   - a write is durable once a flush that started after its completion has
//     completed; until then each 512-byte sector of it may be old or new after a crash;
//   - the device outlives its operations.  Destroying an awaiting coroutine
//     abandons an operation only after the device has let go of its bytes: the
//     device must therefore be drained before buffers or tasks are destroyed.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/redundancy.h"
#include "platform/scheduler.h"

namespace duet {

// One I/O; the caller owns it and its bytes until run() is called, once, in a later turn.
// `parts` are gathered or scattered in order; each is a multiple of 4096 bytes,
// aligned to 4096.
struct BlockOperation : Continuation {
  enum class Kind : std::uint8_t { kRead, kWrite, kFlush };
  Kind kind = Kind::kFlush;
  // Of a write: nothing that is durable refers to these blocks, and nothing will before they are
  // flushed.  So a crash may leave anything in them, which saves a device that protects blocks by
  // others (a redundancy group) from keeping what they hold.  Others take no notice.
  bool fresh = false;
  std::uint64_t block = 0;
  std::span<const MutableBytes> parts;  // a write only reads them
  Status result = Ok{};

 protected:
  ~BlockOperation() = default;
};

class BlockDevice {
 public:
  class Await;

  virtual ~BlockDevice() = default;

  [[nodiscard]] virtual std::uint64_t block_count() const = 0;
  // What the operator calls this disk, for messages.
  [[nodiscard]] virtual std::string_view name() const = 0;

  // Fresh writes of so many blocks, from a multiple of it on, cost the least: a redundancy group's
  // stripe.
  [[nodiscard]] virtual std::uint32_t stripe_blocks() const { return 1; }

  // Other ways to get at its blocks, for whoever has checksums.  Null: there are none.
  [[nodiscard]] virtual Redundancy* redundancy() { return nullptr; }

  // What was written and not flushed is nobody's any more: from now on a flush answers for what is
  // written from now on.  For whoever begins again with what the disk holds; until then a target
  // that may have lost such writes fails every flush.
  virtual void begin_anew() {}

  // Starts `operation`; its run() is called in a later turn, once `result` is set.
  // REQUIRES: block + the blocks in `parts` <= block_count().
  // Error in result: kIo; kFenced when the target refuses this node.
  virtual void start(BlockOperation& operation) = 0;

  // co_await forms of the same.  `parts` and what they view outlive the wait.
  Await read(std::uint64_t block, std::span<const MutableBytes> parts);
  Await write(std::uint64_t block, std::span<const MutableBytes> parts);
  Await flush();
};

class [[nodiscard]] BlockDevice::Await final : public BlockOperation {
 public:
  Await(BlockDevice& device, Kind what, std::uint64_t at, std::span<const MutableBytes> bytes)
      : device_(device) {
    kind = what;
    block = at;
    parts = bytes;
  }
  void run() override { coroutine_.resume(); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    device_.start(*this);
  }
  Status await_resume() const { return result; }

 private:
  BlockDevice& device_;
  std::coroutine_handle<> coroutine_;
};

inline BlockDevice::Await BlockDevice::read(std::uint64_t block,
                                            std::span<const MutableBytes> parts) {
  return {*this, BlockOperation::Kind::kRead, block, parts};
}
inline BlockDevice::Await BlockDevice::write(std::uint64_t block,
                                             std::span<const MutableBytes> parts) {
  return {*this, BlockOperation::Kind::kWrite, block, parts};
}
inline BlockDevice::Await BlockDevice::flush() {
  return {*this, BlockOperation::Kind::kFlush, 0, {}};
}

}  // namespace duet
