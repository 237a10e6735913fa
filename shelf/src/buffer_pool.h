// BufferPool: aligned memory for transfers, used again while it is warm.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "shelf/wire_format.h"

namespace duet::shelf {

class BufferPool {
 public:
  class Buffer {
   public:
    Buffer() = default;
    [[nodiscard]] std::byte* data() const { return memory_.get(); }

   private:
    friend class BufferPool;
    struct Free {
      void operator()(std::byte* memory) const {
        ::operator delete[](memory, std::align_val_t{kBlockBytes});
      }
    };
    std::unique_ptr<std::byte, Free> memory_;
    std::size_t size_class_ = 0;
  };

  // At least `bytes`, aligned to a block.  REQUIRES: 0 < bytes <= kPayloadBytesMax.
  Buffer take(std::size_t bytes) {
    const std::size_t blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
    const auto size_class = static_cast<std::size_t>(std::bit_width(blocks - 1));
    std::vector<Buffer>& free = free_.at(size_class);
    if (!free.empty()) {
      Buffer buffer = std::move(free.back());
      free.pop_back();
      kept_bytes_ -= bytes_of_class(size_class);
      return buffer;
    }
    Buffer buffer;
    buffer.size_class_ = size_class;
    buffer.memory_.reset(static_cast<std::byte*>(
        ::operator new[](bytes_of_class(size_class), std::align_val_t{kBlockBytes})));
    return buffer;
  }

  void give(Buffer buffer) {
    const std::size_t bytes = bytes_of_class(buffer.size_class_);
    if (buffer.memory_ != nullptr && kept_bytes_ + bytes <= kKeptBytesMax) {
      kept_bytes_ += bytes;
      free_[buffer.size_class_].push_back(std::move(buffer));
    }
  }

 private:
  // What two busy clients have under way.
  static constexpr std::size_t kKeptBytesMax = std::size_t{32} << 20U;
  static constexpr std::size_t kClasses = std::bit_width(kTransferBlocksMax);

  static std::size_t bytes_of_class(std::size_t size_class) { return kBlockBytes << size_class; }

  std::array<std::vector<Buffer>, kClasses> free_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace duet::shelf
