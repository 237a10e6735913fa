// Buffer: memory that a disk can be read into, aligned to 4096.
//
// Memory comes from free lists by size: fresh pages of the system cost more than the copy that
// fills them.  The lists are per thread, as those of coroutine frames; under AddressSanitizer
// everything goes to the heap, so that use after free is seen.

#pragma once

#include <cstddef>
#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"

namespace duet::raid {

[[nodiscard]] std::byte* allocate_blocks(std::size_t blocks);
// REQUIRES: `memory` came from allocate_blocks(blocks) with the same `blocks`.
void free_blocks(std::byte* memory, std::size_t blocks) noexcept;

class Buffer {
 public:
  enum class Holds : std::uint8_t { kZeros, kAnything };

  Buffer() = default;
  explicit Buffer(std::size_t blocks, Holds holds = Holds::kZeros)
      : memory_(blocks > 0 ? allocate_blocks(blocks) : nullptr, Free{blocks}) {
    if (blocks > 0 && holds == Holds::kZeros) {
      std::memset(memory_.get(), 0, size());
    }
  }

  [[nodiscard]] std::byte* data() const { return memory_.get(); }
  [[nodiscard]] std::size_t size() const { return memory_.get_deleter().blocks * kBlockBytes; }
  [[nodiscard]] MutableBytes bytes() const { return {memory_.get(), size()}; }
  // REQUIRES: (block + count) * 4096 <= size().
  [[nodiscard]] MutableBytes blocks(std::size_t block, std::size_t count) const {
    return bytes().subspan(block * kBlockBytes, count * kBlockBytes);
  }

 private:
  struct Free {
    Free() : blocks(0) {}
    explicit Free(std::size_t count) : blocks(count) {}
    std::size_t blocks;
    void operator()(std::byte* memory) const { free_blocks(memory, blocks); }
  };
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace duet::raid
