// Memory in bulk: copies that leave the processor's caches alone, and slabs in large pages.

#pragma once

#include <cstddef>
#include <memory>

#include "base/bytes.h"

namespace duet {

// As memcpy, with stores that go past the cache (x86-64; elsewhere plain ones): for bulk that is
// not read again soon.  Ordered as other stores only by store_fence().
// REQUIRES: to.size() >= from.size(); they do not overlap.
void copy_past_cache(MutableBytes to, ConstBytes from);
// What copy_past_cache() wrote is visible to other processors and devices before what follows.
void store_fence();

inline constexpr std::size_t kLargePageBytes = 2U << 20U;

// Uninitialised memory, aligned to kLargePageBytes, in large pages where the system offers them:
// one page instead of 512 to look up, to fault in and to pin for I/O.
class Slab {
 public:
  // Ends the process when there is no memory, as `new` does under -fno-exceptions.
  explicit Slab(std::size_t bytes);
  [[nodiscard]] std::byte* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace duet
