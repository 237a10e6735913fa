#include "netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace duet::address {

namespace {

// The kernel answers before the request's system call returns; this is for when it does not.
constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};
constexpr std::size_t kBufferBytes = 32768;  // the kernel makes no larger message
constexpr int kAttempts = 4;                 // while the tables change under a list

}  // namespace

ConstBytes Answer::attribute(std::size_t body_bytes, std::uint16_t type) const {
  std::size_t at = NLMSG_ALIGN(body_bytes);
  while (at + sizeof(rtattr) <= payload_.size()) {
    const auto head = load<rtattr>(payload_, at);
    if (head.rta_len < sizeof(rtattr) || head.rta_len > payload_.size() - at) {
      return {};
    }
    if ((head.rta_type & NLA_TYPE_MASK) == type) {
      return payload_.subspan(at + sizeof(rtattr), head.rta_len - sizeof(rtattr));
    }
    at += RTA_ALIGN(std::size_t{head.rta_len});
  }
  return {};
}

Result<Netlink> Netlink::open() {
  os::Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid() ||
      setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0) {
    return Error{Errc::kTryAgain, "no netlink socket: out of descriptors or memory?"};
  }
  return Netlink(std::move(socket));
}

int Netlink::command(Request request) {
  return exchange(request, [](const Answer&) {});
}

int Netlink::ask(Request request, const std::function<void()>& restart,
                 const std::function<void(const Answer&)>& take) {
  int result = EINTR;
  for (int attempt = 0; attempt < kAttempts && result == EINTR; ++attempt) {
    restart();
    result = exchange(request, take);
  }
  return result;
}

// EINTR: the tables changed while they were listed.
int Netlink::exchange(Request& request, const std::function<void(const Answer&)>& take) {
  const ConstBytes bytes = request.sealed(++sequence_);
  const sockaddr_nl kernel{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  if (sendto(socket_.get(), bytes.data(), bytes.size(), 0,
             reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel)) < 0) {
    return errno;
  }
  const auto buffer = std::make_unique<std::array<std::byte, kBufferBytes>>();
  bool changed = false;
  for (;;) {
    sockaddr_nl from{};
    socklen_t from_bytes = sizeof(from);
    const ssize_t got = recvfrom(socket_.get(), buffer->data(), buffer->size(), 0,
                                 reinterpret_cast<sockaddr*>(&from), &from_bytes);
    if (got < 0) {
      return errno == EAGAIN ? ETIMEDOUT : errno;
    }
    if (from.nl_pid != 0) {
      continue;
    }
    ConstBytes left(buffer->data(), static_cast<std::size_t>(got));
    while (left.size() >= sizeof(nlmsghdr)) {
      const auto header = load<nlmsghdr>(left, 0);
      if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > left.size()) {
        return EPROTO;
      }
      const ConstBytes payload = left.first(header.nlmsg_len).subspan(sizeof(nlmsghdr));
      left = left.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), left.size()));
      if (header.nlmsg_seq != sequence_) {
        continue;  // of an exchange that was given up
      }
      changed = changed || (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (header.nlmsg_type == NLMSG_DONE) {
        return changed ? EINTR : 0;
      }
      if (header.nlmsg_type == NLMSG_ERROR) {
        return payload.size() < sizeof(int) ? EPROTO : -load<int>(payload, 0);
      }
      take(Answer(header.nlmsg_type, payload));
    }
  }
}

}  // namespace duet::address
