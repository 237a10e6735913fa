#include <gtest/gtest.h>

#include <array>
#include <string_view>
#include <vector>

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

TEST(Crc32c, JoinsWhatWasTakenApart) {
  std::vector<std::byte> bytes(3 * kBlockBytes + 777);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i * i >> 3U);
  }
  const ConstBytes all = bytes;
  const std::uint32_t whole = crc32c(all, 5);
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, kBlockBytes, 3 * kBlockBytes,
                                all.size() - kBlockBytes, all.size() - 3, all.size()}) {
    EXPECT_EQ(crc32c_join(crc32c(all.first(cut), 5), crc32c(all.subspan(cut)), all.size() - cut),
              whole)
        << cut;
  }
}

}  // namespace
}  // namespace duet
