// Buffers: memory for the data of requests, whole blocks as disks want them, bounded in all.
//
// Ownership: outlives its buffers.  Thread-safety: the scheduler's thread.

#pragma once

#include <cstddef>
#include <utility>

#include "base/bytes.h"
#include "platform/wait.h"

namespace duet::nbd {

class Buffers {
 public:
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer();
    [[nodiscard]] MutableBytes bytes() const { return bytes_; }

   private:
    friend class Buffers;
    Buffer(Buffers& owner, MutableBytes bytes) : owner_(&owner), bytes_(bytes) {}
    Buffers* owner_ = nullptr;
    MutableBytes bytes_;
  };

  Buffers(Scheduler& scheduler, std::size_t bytes_max) : bytes_max_(bytes_max), room_(scheduler) {}
  ~Buffers();
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  // One that is larger than all there may be has room when nothing is in use.
  [[nodiscard]] bool has_room(std::size_t bytes) const {
    return used_bytes_ == 0 || used_bytes_ + bytes <= bytes_max_;
  }
  // REQUIRES: whole blocks, at least one.
  Buffer take(std::size_t bytes);
  [[nodiscard]] std::size_t used_bytes() const { return used_bytes_; }
  // Resumes when there may be more room: check again.
  WaitList::Wait room() { return room_.wait(); }
  void wake_all() { room_.wake_all(); }

 private:
  const std::size_t bytes_max_;
  std::size_t used_bytes_ = 0;
  WaitList room_;
};

}  // namespace duet::nbd
