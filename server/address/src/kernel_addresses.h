// What the kernel has: interfaces and their addresses, in its own terms.
//
// Thread-safety: one thread at a time.

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "address/filer_address.h"
#include "netlink.h"

namespace duet::address {

using Mac = std::array<std::uint8_t, 6>;

struct Interface {
  int index = 0;
  bool up = false;
  bool ethernet = false;  // it has a `mac` that others want to know
  Mac mac{};
};

struct KernelAddress {
  os::TcpAddress ip;
  int interface = 0;
  std::uint8_t prefix_bits = 0;
  bool permanent = false;  // without a lifetime
};

[[nodiscard]] bool is_v4(const os::TcpAddress& ip);
[[nodiscard]] constexpr std::uint8_t bits_of(bool v4) { return v4 ? 32 : 128; }
// Whether both are of one network with a prefix of so many bits.
[[nodiscard]] bool same_network(const os::TcpAddress& a, const os::TcpAddress& b,
                                std::uint8_t prefix_bits);

class KernelAddresses {
 public:
  static Result<KernelAddresses> open();

  // kNotFound: there is none of that name.
  Result<Interface> interface(const std::string& name);
  // All addresses of the machine.
  Result<std::vector<KernelAddress>> list();
  // Adds it, or gives the one that is there a new lifetime.
  Status add(const KernelAddress& address, std::chrono::seconds lifetime);
  // Whether packets to it are taken here.  A while after add() for IPv6: a worker of the kernel
  // inserts the route.
  [[nodiscard]] bool is_local(const os::TcpAddress& ip);
  // Ok when it is not there.
  Status remove(const KernelAddress& address);

 private:
  explicit KernelAddresses(Netlink netlink) : netlink_(std::move(netlink)) {}
  Netlink netlink_;
};

// The error for what the kernel said; its context is the remedy.
[[nodiscard]] Error kernel_error(int error_number);

}  // namespace duet::address
