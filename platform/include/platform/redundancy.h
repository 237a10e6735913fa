// Redundancy: what a disk that can compute its blocks in several ways does for whoever lives on it
// and has checksums of his own, which the disk has not.
//
//   a checksum is wrong -> read_other(block, 0), (block, 1), ... until one is right -> repair()
//
// BlockDevice::redundancy() gives it; a plain disk has none.
//
// Ownership: the device's.  Operations are drained as the device's own (block_device.h).
// Thread-safety: the scheduler's thread only.

#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/scheduler.h"

namespace duet {

class Redundancy {
 public:
  class Await;

  // One block.  The caller owns it and its bytes until run() is called, once, in a later turn.
  struct Operation : Continuation {
    enum class Kind : std::uint8_t { kReadOther, kRepair };
    Kind kind = Kind::kReadOther;
    std::uint64_t block = 0;
    std::uint32_t attempt = 0;  // kReadOther: 0, 1, ... are the different ways to compute it
    MutableBytes bytes;         // one block, aligned to 4096; kRepair only reads it
    Status result = Ok{};

   protected:
    ~Operation() = default;
  };

  // Whether one of these blocks holds anything that is needed.  Never false for a block that is
  // being written, or that could be read after a crash.
  using Needed = std::function<bool(std::uint64_t first, std::uint64_t blocks)>;

  virtual ~Redundancy() = default;

  // Starts `operation`; its run() is called in a later turn, once `result` is set.
  // Error of kReadOther: kNotFound: there are no more ways; kIo: this one is not possible.
  // Error of kRepair: kRefused: no way to compute the block gives these bytes any more; kIo.
  // Error of both: kFenced when the target refuses this node; kClosed.
  virtual void start(Operation& operation) = 0;

  // Who lives on the device speaks for its blocks from now on, and is asked in any turn; null:
  // nobody does any more.  Where nobody speaks everything is needed.
  virtual void set_needed(Needed needed) = 0;

  // co_await forms of start().  The bytes outlive the wait.
  Await read_other(std::uint64_t block, std::uint32_t attempt, MutableBytes bytes);
  // `good`, which read_other() gave, is right: what is wrong on the disks is put right.
  Await repair(std::uint64_t block, MutableBytes good);
};

class [[nodiscard]] Redundancy::Await final : public Operation {
 public:
  Await(Redundancy& device, Kind what, std::uint64_t at, std::uint32_t way, MutableBytes content)
      : device_(device) {
    kind = what;
    block = at;
    attempt = way;
    bytes = content;
  }
  void run() override { coroutine_.resume(); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    device_.start(*this);
  }
  Status await_resume() const { return result; }

 private:
  Redundancy& device_;
  std::coroutine_handle<> coroutine_;
};

inline Redundancy::Await Redundancy::read_other(std::uint64_t block, std::uint32_t attempt,
                                                MutableBytes bytes) {
  return {*this, Operation::Kind::kReadOther, block, attempt, bytes};
}
inline Redundancy::Await Redundancy::repair(std::uint64_t block, MutableBytes good) {
  return {*this, Operation::Kind::kRepair, block, 0, good};
}

}  // namespace duet
