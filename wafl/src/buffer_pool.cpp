#include "buffer_pool.h"

#include <cstring>

#include "base/check.h"

namespace duet::wafl {

namespace {

constexpr std::size_t kSlabBlocks = kLargePageBytes / kBlockBytes;

}  // namespace

void release_buffer(Buffer* buffer) { buffer->pool->release(buffer); }

BufferPool::~BufferPool() { DUET_CHECK(in_use_ == 0); }

BufferRef BufferPool::allocate() {
  if (free_ == nullptr) {
    grow();
  }
  Buffer* buffer = free_;
  free_ = buffer->hash_next;
  buffer->hash_next = nullptr;
  buffer->block = 0;
  buffer->birth = 0;
  buffer->used_again = false;
  buffer->checksummed = false;
  ++in_use_;
  return BufferRef(buffer);
}

BufferRef BufferPool::allocate_zeroed() {
  BufferRef buffer = allocate();
  std::memset(buffer.mutable_bytes().data(), 0, kBlockBytes);
  return buffer;
}

void BufferPool::release(Buffer* buffer) {
  buffer->hash_next = free_;
  free_ = buffer;
  --in_use_;
}

void BufferPool::grow() {
  std::byte* const slab = slabs_.emplace_back(kSlabBlocks * kBlockBytes).data();
  auto headers = std::make_unique<Buffer[]>(kSlabBlocks);
  // The first one is taken first, so that what is filled in order lies in order.
  for (std::size_t i = kSlabBlocks; i-- > 0;) {
    headers[i].data = slab + i * kBlockBytes;
    headers[i].pool = this;
    headers[i].hash_next = free_;
    free_ = &headers[i];
  }
  headers_.push_back(std::move(headers));
}

}  // namespace duet::wafl
