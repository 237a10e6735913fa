// Connections of a StreamLink over TCP, with TLS around them or not.
//
// Without TLS anyone who reaches the port and knows the pair's id is believed: for a cable between
// two nodes, and for tests.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <memory>

#include "interconnect/stream_link.h"
#include "platform/linux/tcp.h"
#include "platform/tls/tls.h"

namespace duet::interconnect {

// The end that connects.  A try, TLS included, takes at most `within`.
// REQUIRES: scheduler and `tls` outlive it.  `tls` may be null.
std::unique_ptr<StreamSource> make_connecting_source(os::EpollScheduler& scheduler,
                                                     const os::TcpAddress& partner,
                                                     tls::TlsContext* tls, Duration within);

// The end that listens.  Several strangers may be in the middle of proving themselves; they keep
// nobody else waiting.
std::unique_ptr<StreamSource> make_listening_source(os::EpollScheduler& scheduler,
                                                    std::unique_ptr<os::TcpListener> listener,
                                                    tls::TlsContext* tls, Duration within);

}  // namespace duet::interconnect
