#include "buffers.h"

#include <cstdlib>

#include "base/check.h"

namespace duet::nbd {

Buffers::~Buffers() { DUET_CHECK(used_bytes_ == 0); }

Buffers::Buffer Buffers::take(std::size_t bytes) {
  DUET_CHECK(bytes > 0 && bytes % kBlockBytes == 0);
  void* const memory = std::aligned_alloc(kBlockBytes, bytes);
  DUET_CHECK(memory != nullptr);  // as `new` under -fno-exceptions
  used_bytes_ += bytes;
  return Buffer(*this, {static_cast<std::byte*>(memory), bytes});
}

Buffers::Buffer::~Buffer() {
  if (owner_ != nullptr) {
    owner_->used_bytes_ -= bytes_.size();
    std::free(bytes_.data());
    owner_->wake_all();
  }
}

}  // namespace duet::nbd
