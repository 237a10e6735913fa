// FilerAddress: one address under which clients reach a filer, as the configuration names it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "platform/linux/tcp.h"

namespace duet::address {

struct FilerAddress {
  os::TcpAddress ip;  // its port counts for nothing
  // Where it is added when the filer comes and removed when it goes.  Empty: the machine has it
  // (a loopback address, or one of a node that nobody stands in for), and nothing is done.
  std::string interface;
  std::uint8_t prefix_bits = 0;  // of its network, for an address on an interface

  friend bool operator==(const FilerAddress&, const FilerAddress&) = default;
};

// What could not be done, for one of the addresses of a list.
struct Problem {
  std::size_t index = 0;  // in that list
  Error error;            // its context says what to do about it
  friend bool operator==(const Problem&, const Problem&) = default;
};
using Problems = std::vector<Problem>;  // empty: all is well

}  // namespace duet::address
