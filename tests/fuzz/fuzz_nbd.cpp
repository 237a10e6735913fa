// What a host says over NBD: handshake and requests (server/nbd/tests/fuzz_input.h).

#include <algorithm>

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duet::nbd::test::fuzz_connection(
      {reinterpret_cast<const std::byte*>(data), std::min<std::size_t>(size, 1U << 14U)});
  return 0;
}
