// BufferPool: where buffers come from.
//
// Blocks are carved from 2 MiB slabs and kept on a free list, so that a buffer costs no
// allocation and is aligned for direct I/O.  Slabs go back to the system only at the end:
// the pool is as large as its largest use, which the cache bounds.
//
// Thread-safety: one thread.

#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/memory.h"
#include "wafl/buffer.h"

namespace duet::wafl {

class BufferPool {
 public:
  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  // REQUIRES: every buffer came back.
  ~BufferPool();

  // Its content is undefined.
  BufferRef allocate();
  BufferRef allocate_zeroed();
  void release(Buffer* buffer);

  [[nodiscard]] std::size_t in_use() const { return in_use_; }

 private:
  void grow();

  std::vector<Slab> slabs_;
  std::vector<std::unique_ptr<Buffer[]>> headers_;
  Buffer* free_ = nullptr;
  std::size_t in_use_ = 0;
};

}  // namespace duet::wafl
