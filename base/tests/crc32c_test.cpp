#include <gtest/gtest.h>

#include <string_view>

#include "base/bytes.h"

namespace duet {
namespace {

ConstBytes text(std::string_view s) { return std::as_bytes(std::span(s)); }

// RFC 3720 appendix B.4 gives 32 zero bytes -> 8A9136AA; "123456789" is the usual check value.
TEST(Crc32c, GivesThePublishedValues) {
  const std::array<std::byte, 32> zeros{};
  EXPECT_EQ(crc32c(zeros), 0x8A91'36AAU);
  EXPECT_EQ(crc32c(text("123456789")), 0xE306'9283U);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(Crc32c, GoesOnWhereItStopped) {
  EXPECT_EQ(crc32c(text("6789"), crc32c(text("12345"))), crc32c(text("123456789")));
}

}  // namespace
}  // namespace duet
