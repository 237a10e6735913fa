// AddressClaim: the other pairs of this machine are told who listens at an address.
//
// The listeners of a pair share their addresses (TcpOptions::in_line), and the kernel would let any
// program of the same user share them too: clients of one pair would reach another.  So each node
// says, as long as it lives, which addresses its pair may listen at, and looks who else says so.
// A claim is an abstract Unix socket (unix(7)) whose name says it all; the kernel lists them for a
// network namespace, which is also how far a port reaches, and they end with their process and its
// children.
//
// Thread-safety: one thread at a time.

#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <utility>

#include "base/result.h"
#include "platform/linux/descriptor.h"
#include "platform/linux/tcp.h"

namespace duet::address {

class AddressClaim {
 public:
  struct Claimant {
    std::array<std::uint64_t, 2> pair{};
    char node = 'a';
  };
  // Who stands in the way.
  struct Other {
    bool same_pair = false;  // then it is this very node, a second time
    pid_t process = 0;
  };

  // Error: kExists: `other` stands in the way (two that come at once refuse each other); kIo: the
  // kernel gives no socket, or does not list them.
  static Result<AddressClaim> take(const os::TcpAddress& address, const Claimant& claimant,
                                   Other& other);

 private:
  explicit AddressClaim(os::Descriptor socket) : socket_(std::move(socket)) {}
  os::Descriptor socket_;
};

}  // namespace duet::address
