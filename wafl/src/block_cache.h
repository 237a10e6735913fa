// BlockCache: clean blocks by number.
//
// A block number is written at most once per CP, so {number, birth} names one content for
// ever: a reader with an old pointer can never be given the block's later content.
//
// Its capacity is for all buffers of the pool: what changes hold is not there for clean blocks,
// but for a quarter of the capacity that is always theirs.
//
// Leaves by second chance: a block that was used again since it came to the old end
// goes round once more.  Blocks that somebody holds stay.
//
// Thread-safety: one thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer_pool.h"
#include "wafl/buffer.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

class BlockCache {
 public:
  BlockCache(const BufferPool& pool, std::size_t capacity_blocks);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  // Null: not here.
  [[nodiscard]] Buffer* find(const BlockPointer& pointer) {
    for (Buffer* b = buckets_[bucket_of(pointer.block())]; b != nullptr; b = b->hash_next) {
      if (b->block == pointer.block()) {
        b->used_again = true;
        return b->birth == pointer.birth ? b : nullptr;
      }
    }
    return nullptr;
  }

  // `buffer` holds block `block` as written by CP `birth` and will not change any more.
  // Replaces an older content; is ignored beside a newer one.
  void insert(const BufferRef& buffer, std::uint64_t block, std::uint32_t birth);

  // Lets blocks go while the pool is over the capacity.  For whoever takes buffers that
  // he does not insert soon.
  void trim() {
    if (over_capacity()) {
      evict();
    }
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  [[nodiscard]] std::size_t bucket_of(std::uint64_t block) const {
    return (block * 0x9E37'79B9'7F4A'7C15U) >> shift_;
  }
  [[nodiscard]] bool over_capacity() const {
    return pool_.in_use() > capacity_ && size_ > capacity_ / 4;
  }
  void remove(Buffer* buffer);
  void evict();
  void link_newest(Buffer* buffer);
  void unlink(Buffer* buffer);

  const BufferPool& pool_;
  const std::size_t capacity_;
  unsigned shift_ = 0;
  std::vector<Buffer*> buckets_;
  std::size_t size_ = 0;
  Buffer* oldest_ = nullptr;
  Buffer* newest_ = nullptr;
};

}  // namespace duet::wafl
