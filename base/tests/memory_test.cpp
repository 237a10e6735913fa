#include "base/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace duet {
namespace {

TEST(Memory, CopyPastCacheCopiesExactlyWhatItWasGiven) {
  std::vector<std::byte> from(400);
  for (std::size_t i = 0; i < from.size(); ++i) {
    from[i] = static_cast<std::byte>(i * 7 + 1);
  }
  for (std::size_t skip_in = 0; skip_in < 17; skip_in += 4) {
    for (std::size_t skip_out = 0; skip_out < 65; ++skip_out) {
      for (const std::size_t bytes : {0U, 1U, 63U, 64U, 65U, 130U, 300U}) {
        std::vector<std::byte> to(512, std::byte{0xEE});
        copy_past_cache(MutableBytes(to).subspan(skip_out, bytes),
                        ConstBytes(from).subspan(skip_in, bytes));
        store_fence();
        for (std::size_t i = 0; i < to.size(); ++i) {
          const bool inside = i >= skip_out && i < skip_out + bytes;
          ASSERT_EQ(to[i], inside ? from[skip_in + i - skip_out] : std::byte{0xEE});
        }
      }
    }
  }
}

TEST(Memory, SlabsAreAlignedForLargePages) {
  const Slab slab(2 * kLargePageBytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slab.data()) % kLargePageBytes, 0U);
  slab.data()[2 * kLargePageBytes - 1] = std::byte{1};
}

}  // namespace
}  // namespace duet
