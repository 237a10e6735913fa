#include "block_cache.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace duet::wafl {

namespace {

constexpr std::size_t kCapacityMin = 64;

}  // namespace

BlockCache::BlockCache(const BufferPool& pool, std::size_t capacity_blocks)
    : pool_(pool), capacity_(std::max(capacity_blocks, kCapacityMin)) {
  const std::size_t buckets = std::bit_ceil(capacity_ * 2);
  shift_ = 64U - static_cast<unsigned>(std::bit_width(buckets) - 1);
  buckets_.resize(buckets);
}

BlockCache::~BlockCache() {
  while (oldest_ != nullptr) {
    remove(oldest_);
  }
}

void BlockCache::insert(const BufferRef& buffer, std::uint64_t block, std::uint32_t birth) {
  DUET_CHECK(block != 0);
  for (Buffer* b = buckets_[bucket_of(block)]; b != nullptr; b = b->hash_next) {
    if (b->block == block) {
      if (b->birth >= birth) {
        return;
      }
      remove(b);
      break;
    }
  }
  Buffer* added = buffer.get();
  DUET_CHECK(added->block == 0);
  added->block = block;
  added->birth = birth;
  ++added->references;
  Buffer*& head = buckets_[bucket_of(block)];
  added->hash_next = head;
  head = added;
  link_newest(added);
  ++size_;
  trim();
}

// Looks at a bounded number of blocks, so that a cache full of held ones cannot stall an insert;
// it is then over its capacity until they are let go.
void BlockCache::evict() {
  for (int looks = 16; looks > 0 && over_capacity(); --looks) {
    Buffer* candidate = oldest_;
    // Nobody looked at these for long: have the next one's parts come while this one leaves.
    if (const Buffer* next = candidate->newer; next != nullptr) {
      __builtin_prefetch(next->newer);
      __builtin_prefetch(&buckets_[bucket_of(next->block)]);
    }
    if (candidate->references > 1 || candidate->used_again) {
      candidate->used_again = false;
      unlink(candidate);
      link_newest(candidate);
    } else {
      remove(candidate);
    }
  }
}

void BlockCache::remove(Buffer* buffer) {
  Buffer** link = &buckets_[bucket_of(buffer->block)];
  while (*link != buffer) {
    link = &(*link)->hash_next;
  }
  *link = buffer->hash_next;
  buffer->hash_next = nullptr;
  unlink(buffer);
  --size_;
  if (--buffer->references == 0) {
    release_buffer(buffer);
  }
}

void BlockCache::link_newest(Buffer* buffer) {
  buffer->newer = nullptr;
  buffer->older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = buffer;
  newest_ = buffer;
}

void BlockCache::unlink(Buffer* buffer) {
  (buffer->newer != nullptr ? buffer->newer->older : newest_) = buffer->older;
  (buffer->older != nullptr ? buffer->older->newer : oldest_) = buffer->newer;
  buffer->newer = buffer->older = nullptr;
}

}  // namespace duet::wafl
