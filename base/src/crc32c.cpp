#include <isa-l/crc.h>

#include <array>

#include "base/bytes.h"

namespace duet {

namespace {

// Polynomials over GF(2) modulo that of CRC-32C, the coefficient of x^0 in the highest bit.
constexpr std::uint32_t kPolynomial = 0x82F6'3B78U;
constexpr std::uint32_t kOne = 1U << 31U;

constexpr std::uint32_t times_x(std::uint32_t p) {
  return (p >> 1U) ^ ((p & 1U) != 0 ? kPolynomial : 0);
}

constexpr std::uint32_t product(std::uint32_t a, std::uint32_t b) {
  std::uint32_t sum = 0;
  for (; a != 0; a <<= 1U) {
    sum ^= (a & kOne) != 0 ? b : 0;
    b = times_x(b);
  }
  return sum;
}

// x to the power of 8 * 2^k: what 2^k bytes more do to a checksum.
constexpr auto kPowers = [] {
  std::array<std::uint32_t, 64> powers{};
  powers[0] = kOne >> 8U;
  for (std::size_t k = 1; k < powers.size(); ++k) {
    powers[k] = product(powers[k - 1], powers[k - 1]);
  }
  return powers;
}();

// What a block more does to each byte of a checksum.
constexpr auto kBlockMore = [] {
  std::array<std::array<std::uint32_t, 256>, 4> table{};
  for (std::size_t at = 0; at < table.size(); ++at) {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      table[at][byte] = product(byte << (8 * at), kPowers[std::countr_zero(kBlockBytes)]);
    }
  }
  return table;
}();

}  // namespace

// ISA-L's function takes and gives the register as it stands; the standard inverts both ends.
std::uint32_t crc32c(ConstBytes bytes, std::uint32_t seed) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~seed);
}

// The inversions of `first` and of `second` cancel out.
std::uint32_t crc32c_join(std::uint32_t first, std::uint32_t second, std::uint64_t second_bytes) {
  if (second_bytes == kBlockBytes) {
    first = kBlockMore[0][first & 0xFFU] ^ kBlockMore[1][first >> 8U & 0xFFU] ^
            kBlockMore[2][first >> 16U & 0xFFU] ^ kBlockMore[3][first >> 24U];
    return first ^ second;
  }
  for (std::size_t k = 0; first != 0 && second_bytes != 0; ++k, second_bytes >>= 1U) {
    first = (second_bytes & 1U) != 0 ? product(kPowers[k], first) : first;
  }
  return first ^ second;
}

}  // namespace duet
