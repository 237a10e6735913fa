// Bytes: views of memory whose meaning is decided elsewhere, and the one checksum.
//
// Everything Duet writes is little-endian; XDR (server/rpc/xdr.h) is the exception.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace duet {

static_assert(std::endian::native == std::endian::little);

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline constexpr std::size_t kBlockBytes = 4096;

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`, going on from `seed`:
// crc32c(ab) == crc32c(b, crc32c(a)).
[[nodiscard]] std::uint32_t crc32c(ConstBytes bytes, std::uint32_t seed = 0);

// Of both, from the checksums of each: crc32c_join(crc32c(a), crc32c(b), b.size()) == crc32c(ab).
// Takes as long as reading a few hundred bytes; a whole block takes less than other lengths.
[[nodiscard]] std::uint32_t crc32c_join(std::uint32_t first, std::uint32_t second,
                                        std::uint64_t second_bytes);

template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] ConstBytes bytes_of(const T& value) { return std::as_bytes(std::span(&value, 1)); }

// Reads a T that may be unaligned.
// REQUIRES: offset + sizeof(T) <= bytes.size().
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] T load(ConstBytes bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

template <typename T>
requires std::is_trivially_copyable_v<T>
void store(MutableBytes bytes, std::size_t offset, const T& value) {
  std::memcpy(bytes.subspan(offset, sizeof(T)).data(), &value, sizeof(T));
}

// The algorithms of <algorithm> go from byte to byte where these do whole words and more (GCC 12:
// copies of const bytes and every comparison of std::byte, at -O2 too).

// REQUIRES: to.size() >= from.size(); they do not overlap.
inline void copy_bytes(ConstBytes from, MutableBytes to) {
  if (!from.empty()) {
    std::memcpy(to.first(from.size()).data(), from.data(), from.size());
  }
}

[[nodiscard]] inline bool same_bytes(ConstBytes a, ConstBytes b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

[[nodiscard]] inline bool all_zero(ConstBytes bytes) {
  // Each byte is the one before it, and the first is zero.
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && same_bytes(bytes.first(bytes.size() - 1), bytes.subspan(1)));
}

}  // namespace duet
