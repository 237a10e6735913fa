// Acceptor: who serves the connections that a listener accepts.

#pragma once

#include <cstdint>
#include <memory>

#include "filer/request.h"
#include "platform/stream.h"

namespace duet::server {

class Acceptor {
 public:
  virtual ~Acceptor() = default;
  // Serves a new connection.  False: there is no room, or it may not be; the stream is closed.
  virtual bool accept(std::unique_ptr<ByteStream> stream, const filer::Address& address,
                      std::uint16_t port) = 0;
};

}  // namespace duet::server
