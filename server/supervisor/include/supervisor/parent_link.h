// ParentLink: what the serving child asks of its parent.
//
// Each call waits for the parent, which has nothing else to do: some tens of microseconds.
//
// Thread-safety: one thread at a time.

#pragma once

#include <cstdint>

#include "base/result.h"

namespace duet::supervisor {

class ParentLink {
 public:
  // Takes ownership of Inherited::channel.
  explicit ParentLink(int channel) : channel_(channel) {}
  ~ParentLink();
  ParentLink(const ParentLink&) = delete;
  ParentLink& operator=(const ParentLink&) = delete;

  // Errors of all: kClosed: there is no parent; kTryAgain: it does not answer; kInvalid: no such
  // listener.

  // Under which incarnation this process registers with disks: last words need it.
  // REQUIRES: before the first registration.
  [[nodiscard]] Status tell_incarnation(std::uint64_t incarnation);

  // A listening socket, the caller's; the parent keeps one too.  When the parent has it open
  // already it is that one.  Errors of bind and listen, as TcpListener::listen.
  [[nodiscard]] Result<int> open_listener(std::size_t index);

  // Its filer is served elsewhere: from now on nobody listens, whatever copies there are.  What
  // waited in the backlog is reset.
  [[nodiscard]] Status close_listener(std::size_t index);

 private:
  int channel_;
  std::uint32_t sequence_ = 0;
};

}  // namespace duet::supervisor
