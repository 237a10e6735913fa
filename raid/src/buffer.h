// Buffer: memory that a disk can be read into; zeroed, aligned to 4096.

#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"

namespace duet::raid {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t blocks) : bytes_(blocks * kBlockBytes) {
    if (bytes_ > 0) {
      memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes_)));
      DUET_CHECK(memory_ != nullptr);
      std::memset(memory_.get(), 0, bytes_);
    }
  }

  [[nodiscard]] std::byte* data() const { return memory_.get(); }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  [[nodiscard]] MutableBytes bytes() const { return {memory_.get(), bytes_}; }
  // REQUIRES: (block + count) * 4096 <= size().
  [[nodiscard]] MutableBytes blocks(std::size_t block, std::size_t count) const {
    return bytes().subspan(block * kBlockBytes, count * kBlockBytes);
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace duet::raid
