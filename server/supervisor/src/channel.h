// The channel between parent and child: a pair of SOCK_SEQPACKET sockets, one message each way.
//
//   child:  {verb, listener, sequence, value}     kIncarnation, kOpen, kClose
//   parent: the same, with `result` an errno; for kOpen and 0 a descriptor goes with it
//   (SCM_RIGHTS)
//
// Both ends are one program, so the layout is nobody else's business; but a child may be broken,
// and what it sends is checked.

#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>

namespace duet::supervisor {

enum class Verb : std::uint32_t { kIncarnation = 1, kOpen = 2, kClose = 3 };

struct Message {
  std::uint32_t verb = 0;
  std::uint32_t listener = 0;
  std::uint32_t sequence = 0;
  std::uint32_t result = 0;  // 0: done; else an Errc
  std::uint64_t value = 0;
};
static_assert(sizeof(Message) == 24 && std::has_unique_object_representations_v<Message>);

// Does not block.  `descriptor`: -1 for none.  False: the other end does not take it.
bool send_message(int channel, const Message& message, int descriptor = -1);

struct Received {
  enum class Kind : std::uint8_t { kMessage, kNothing, kBroken, kClosed };
  Kind kind = Kind::kClosed;
  Message message;      // kMessage; kBroken is one of another length
  int descriptor = -1;  // the caller's
};
// Does not block.
[[nodiscard]] Received receive_message(int channel);

}  // namespace duet::supervisor
