// Announcement: the sockets and frames that say where an address is now.
//
// Thread-safety: one thread at a time.

#pragma once

#include "base/result.h"
#include "kernel_addresses.h"
#include "platform/linux/descriptor.h"

namespace duet::address {

class Announcement {
 public:
  // Does nothing on an interface that is no Ethernet.  Error: kAccess and others, with a remedy.
  static Result<Announcement> prepare(const os::TcpAddress& ip, const Interface& on);

  // Says it once.
  [[nodiscard]] Status send();

 private:
  Announcement(const os::TcpAddress& ip, const Interface& on) : ip_(ip), interface_(on) {}
  [[nodiscard]] Status open_arp();
  [[nodiscard]] Status open_neighbour();
  [[nodiscard]] Status send_arp(std::uint16_t operation) const;
  [[nodiscard]] Status send_neighbour() const;

  os::TcpAddress ip_;
  Interface interface_;
  os::Descriptor socket_;
};

}  // namespace duet::address
