// Chunks: the memory that bytes from the network lie in until their request is done.
//
// A connection reads into a chunk; the records found there refer to it, and it goes back when
// the last one is done.  Chunks in use are charged to their connection and to the pool.
//
// Ownership: the pool outlives its chunks, a chunk's account outlives it.
// Thread-safety: references are counted without atomics: the reactor's thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "platform/wait.h"

namespace duet::server {

class ChunkPool;

// The chunk memory that one connection holds.
struct ReceiveAccount {
  std::size_t bytes = 0;
};

struct Chunk {
  ChunkPool* pool;
  ReceiveAccount* account;
  Chunk* next_free;
  std::uint32_t references;
  std::uint32_t size;  // of what follows

  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
  MutableBytes bytes() { return {data(), size}; }
};

class ChunkRef {
 public:
  ChunkRef() = default;
  explicit ChunkRef(Chunk* chunk) : chunk_(chunk) { ++chunk_->references; }
  ChunkRef(const ChunkRef& other) : chunk_(other.chunk_) {
    if (chunk_ != nullptr) {
      ++chunk_->references;
    }
  }
  ChunkRef(ChunkRef&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
  ChunkRef& operator=(ChunkRef other) noexcept {
    std::swap(chunk_, other.chunk_);
    return *this;
  }
  ~ChunkRef();

  explicit operator bool() const { return chunk_ != nullptr; }
  Chunk* operator->() const { return chunk_; }

 private:
  Chunk* chunk_ = nullptr;
};

class ChunkPool {
 public:
  // A stalled small request holds a small chunk; one recv() of traffic fits a large one.
  static constexpr std::size_t kSmallBytes = 4 * 1024;
  static constexpr std::size_t kLargeBytes = 64 * 1024;

  // `bytes_max`: over_limit() from there on.
  ChunkPool(Scheduler& scheduler, std::size_t bytes_max)
      : bytes_max_(bytes_max), room_(scheduler) {}
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  ChunkRef small(ReceiveAccount& account) { return take(small_, kSmallBytes, account); }
  ChunkRef large(ReceiveAccount& account) { return take(large_, kLargeBytes, account); }

  // A large chunk should wait until others come back.
  [[nodiscard]] bool over_limit() const { return over_limit_without(0); }
  // The same once `bytes` have come back.
  [[nodiscard]] bool over_limit_without(std::size_t bytes) const {
    return used_bytes_ + kLargeBytes > bytes_max_ + bytes;
  }
  [[nodiscard]] std::size_t used_bytes() const { return used_bytes_; }
  // Woken when chunks came back and the limit is no longer reached.
  WaitList::Wait room() { return room_.wait(); }
  void wake_all() { room_.wake_all(); }
  [[nodiscard]] bool awaited() const { return !room_.empty(); }

 private:
  friend class ChunkRef;
  struct FreeList {
    Chunk* head = nullptr;
    std::size_t count = 0;
  };
  static constexpr std::size_t kFreeMax = 64;  // of each size; more go back to the heap

  ChunkRef take(FreeList& list, std::size_t bytes, ReceiveAccount& account);
  void give_back(Chunk* chunk);

  const std::size_t bytes_max_;
  std::size_t used_bytes_ = 0;
  FreeList small_;
  FreeList large_;
  WaitList room_;
};

inline ChunkRef::~ChunkRef() {
  if (chunk_ != nullptr && --chunk_->references == 0) {
    chunk_->pool->give_back(chunk_);
  }
}

}  // namespace duet::server
