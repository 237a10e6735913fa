#include <isa-l/crc.h>

#include "base/bytes.h"

namespace duet {

// ISA-L's function takes and gives the register as it stands; the standard inverts both ends.
std::uint32_t crc32c(ConstBytes bytes, std::uint32_t seed) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~seed);
}

}  // namespace duet
