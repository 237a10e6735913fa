// tickle: makes clients of a filer's former host notice that it is gone.
//
// A client that waits for an answer sends nothing, and hears nothing: the machine that had its
// connection is dead, or no longer has the address.  An acknowledgement that cannot be right (from
// the new owner of the address, sequence 0) makes it say what it believes; the new owner knows no
// such connection and resets it, and the client connects again at once.
//
// Needs CAP_NET_RAW.  Thread-safety: any thread.

#pragma once

#include <span>

#include "base/result.h"
#include "platform/linux/tcp.h"

namespace duet::address {

struct Connection {
  os::TcpAddress local;  // of the filer
  os::TcpAddress client;
  friend bool operator==(const Connection&, const Connection&) = default;
};

// Sends one segment for each.  A connection that is known here is not harmed: its client answers
// and nothing else happens.  Error: kAccess; kNotFound: a local address is not here; others as the
// system says; the rest was tried all the same.
// REQUIRES: `local` is an address of this machine now, announced.
[[nodiscard]] Status tickle(std::span<const Connection> connections);

}  // namespace duet::address
