// Connector: how a client reaches its shelf, once and again.
//
// Implementations: shelf/linux (Unix and TCP sockets); tests.
// Thread-safety: the scheduler's thread only.

#pragma once

#include <memory>
#include <string_view>

#include "platform/stream.h"
#include "platform/task.h"

namespace duet::shelf {

class Connector {
 public:
  virtual ~Connector() = default;

  // A new connection.  The task may be destroyed at any time.
  // Errors: kNotFound, kAccess, kIo; kRefused: the two ends do not believe each other.
  virtual Task<Result<std::unique_ptr<ByteStream>>> connect() = 0;

  // Where to, for messages.
  [[nodiscard]] virtual std::string_view name() const = 0;
};

}  // namespace duet::shelf
