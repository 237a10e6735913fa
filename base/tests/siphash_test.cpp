#include "base/siphash.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>

namespace duet {
namespace {

// The first 16 vectors of the reference implementation (vectors_sip64): key 00 01 .. 0f,
// input 00 01 .. of as many bytes as the index says.  The last one is the paper's example.
constexpr std::array<std::uint64_t, 16> kExpected = {
    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
    0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
    0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5};

TEST(SipHash, AgreesWithThePublishedVectors) {
  const SipKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::array<std::byte, 16> input{};
  for (std::size_t i = 0; i < input.size(); ++i) {
    input[i] = static_cast<std::byte>(i);
  }
  for (std::size_t bytes = 0; bytes < kExpected.size(); ++bytes) {
    EXPECT_EQ(siphash24(key, ConstBytes(input).first(bytes)), kExpected[bytes]) << bytes;
  }
}

}  // namespace
}  // namespace duet
