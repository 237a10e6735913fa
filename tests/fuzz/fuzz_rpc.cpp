// The bytes of a connection: records, RPC, NFSv3, MOUNT, portmap.

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duet::server::test::fuzz_connection(
      {reinterpret_cast<const std::byte*>(data), std::min<std::size_t>(size, 1U << 17U)});
  return 0;
}
