// SipHash-2-4: a 64-bit keyed hash of short inputs (Aumasson and Bernstein, 2012).
//
// Who does not know the key can neither find two inputs with one hash nor forge
// the hash of another input: names in directories and the MAC of file handles.

#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace duet {

using SipKey = std::array<std::uint64_t, 2>;  // the 16 key bytes, little-endian

[[nodiscard]] std::uint64_t siphash24(const SipKey& key, ConstBytes bytes);

}  // namespace duet
