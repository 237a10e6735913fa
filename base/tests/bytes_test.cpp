#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace duet {
namespace {

TEST(Bytes, AreCopiedAndTheRestIsLeftAlone) {
  const std::array<std::byte, 3> from = {std::byte{1}, std::byte{2}, std::byte{3}};
  std::array<std::byte, 5> to{};
  copy_bytes(from, MutableBytes(to).subspan(1));
  EXPECT_EQ(to, (std::array<std::byte, 5>{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}}));
  copy_bytes({}, {});
}

TEST(Bytes, AreTheSameWhenLengthAndContentAre) {
  const std::array<std::byte, 3> some = {std::byte{1}, std::byte{2}, std::byte{3}};
  std::array<std::byte, 3> other = some;
  EXPECT_TRUE(same_bytes(some, other));
  EXPECT_TRUE(same_bytes({}, {}));
  EXPECT_FALSE(same_bytes(some, ConstBytes(other).first(2)));
  other[2] = std::byte{4};
  EXPECT_FALSE(same_bytes(some, other));
}

TEST(Bytes, AreZeroWhenEachIs) {
  EXPECT_TRUE(all_zero({}));
  for (std::size_t size = 1; size < 70; ++size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(all_zero(bytes));
    for (std::byte& each : bytes) {
      each = std::byte{1};
      EXPECT_FALSE(all_zero(bytes));
      each = std::byte{0};
    }
    std::vector<std::byte> ones(size, std::byte{1});
    EXPECT_FALSE(all_zero(ones));
  }
}

}  // namespace
}  // namespace duet
