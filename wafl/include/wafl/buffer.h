// Buffer: one block in memory, shared by reference.
//
// A buffer that others can see is never changed again once it is clean (it was
// read or written as a block), so a READ reply can gather from it while the
// file is being overwritten: a write makes another buffer.
//
// Whoever fills a block knows its checksum best while the bytes are in the processor's cache:
// set_checksum() keeps it for the CP, and asking for mutable_bytes() forgets it.
//
// Thread-safety: references are counted without atomics: one thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"

namespace duet::wafl {

class BufferPool;

struct Buffer {
  std::byte* data = nullptr;  // kBlockBytes, aligned to 4096
  BufferPool* pool = nullptr;
  std::uint64_t block = 0;  // the block it holds, when clean
  std::uint32_t birth = 0;  // the CP that wrote that block
  std::uint32_t references = 0;
  // The cache's.
  Buffer* hash_next = nullptr;
  Buffer* older = nullptr;
  Buffer* newer = nullptr;
  bool used_again = false;
  bool checksummed = false;
  std::uint32_t checksum = 0;  // CRC-32C of the bytes, when checksummed
};

// Gives the memory back.  Called when the last reference is gone.
void release_buffer(Buffer* buffer);

// Owns one reference.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* buffer) : buffer_(buffer) {
    if (buffer_ != nullptr) {
      ++buffer_->references;
    }
  }
  BufferRef(const BufferRef& other) : BufferRef(other.buffer_) {}
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    if (buffer_ != nullptr && --buffer_->references == 0) {
      release_buffer(buffer_);
    }
  }

  explicit operator bool() const { return buffer_ != nullptr; }
  [[nodiscard]] Buffer* get() const { return buffer_; }
  [[nodiscard]] ConstBytes bytes() const { return {buffer_->data, kBlockBytes}; }
  // REQUIRES: nobody else may see the buffer yet.
  [[nodiscard]] MutableBytes mutable_bytes() const {
    buffer_->checksummed = false;
    return {buffer_->data, kBlockBytes};
  }
  // REQUIRES: `checksum` is that of bytes(), and what mutable_bytes() gave is not used again.
  void set_checksum(std::uint32_t checksum) const {
    buffer_->checksum = checksum;
    buffer_->checksummed = true;
  }
  [[nodiscard]] std::uint32_t checksum() const {
    return buffer_->checksummed ? buffer_->checksum : crc32c(bytes());
  }

 private:
  Buffer* buffer_ = nullptr;
};

}  // namespace duet::wafl
