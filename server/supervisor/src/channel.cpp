#include "channel.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace duet::supervisor {

namespace {

struct alignas(cmsghdr) Control {
  std::array<std::byte, CMSG_SPACE(sizeof(int))> bytes{};
};

// The first descriptor of a message; others, which nobody sends, are closed.
int take_descriptor(msghdr& header) {
  int taken = -1;
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(each) + i * sizeof(int), sizeof(int));
      if (taken < 0) {
        taken = descriptor;
      } else {
        ::close(descriptor);
      }
    }
  }
  return taken;
}

}  // namespace

bool send_message(int channel, const Message& message, int descriptor) {
  Message copy = message;
  iovec part{.iov_base = &copy, .iov_len = sizeof(copy)};
  Control control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptor >= 0) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
  }
  return sendmsg(channel, &header, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(sizeof(copy));
}

Received receive_message(int channel) {
  Received received;
  // A longer one is told by its length.
  std::array<std::byte, sizeof(Message) + 1> buffer{};
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  Control control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  const ssize_t got = recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    const bool later = errno == EAGAIN || errno == EINTR;
    received.kind = later ? Received::Kind::kNothing : Received::Kind::kClosed;
    return received;
  }
  received.descriptor = take_descriptor(header);
  if (got == 0) {
    received.kind = Received::Kind::kClosed;
  } else if (got != static_cast<ssize_t>(sizeof(Message))) {
    received.kind = Received::Kind::kBroken;
  } else {
    received.kind = Received::Kind::kMessage;
    std::memcpy(&received.message, buffer.data(), sizeof(Message));
  }
  return received;
}

}  // namespace duet::supervisor
