// Receiver: what a client sends, read ahead a little, so that small requests cost one read
// together.
//
// Ownership: borrows the stream.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "platform/stream.h"
#include "platform/task.h"

namespace duet::nbd {

class Receiver {
 public:
  explicit Receiver(ByteStream& stream) : stream_(stream) {}

  // Each: false when the stream has ended before.

  // There is a byte.
  Task<bool> ready();
  // `into` is full.
  Task<bool> fill(MutableBytes into);
  // So many bytes were dropped.
  Task<bool> skip(std::uint64_t bytes);

 private:
  [[nodiscard]] std::size_t there() const { return end_ - at_; }
  Task<bool> read_ahead();

  ByteStream& stream_;
  std::size_t at_ = 0;  // of ahead_: what was not taken yet
  std::size_t end_ = 0;
  std::array<std::byte, 4096> ahead_;
};

}  // namespace duet::nbd
