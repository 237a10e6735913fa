// Netlink: requests to the kernel's addresses and interfaces, and its answers (rtnetlink(7)).
//
// What arrives is believed only from the kernel, for the request that waits, and within its
// lengths.  Thread-safety: one thread at a time.

#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/check.h"
#include "base/result.h"
#include "platform/linux/descriptor.h"

namespace duet::address {

// A request: header, one body, attributes.
class Request {
 public:
  template <typename Body>
  Request(std::uint16_t type, std::uint16_t flags, const Body& body) {
    header_.nlmsg_type = type;
    header_.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    append(bytes_of(body));
  }
  void attribute(std::uint16_t type, ConstBytes value) {
    const rtattr head{.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(value.size())),
                      .rta_type = type};
    append(bytes_of(head));
    append(value);
  }
  // The whole, for the socket.
  [[nodiscard]] ConstBytes sealed(std::uint32_t sequence) {
    header_.nlmsg_seq = sequence;
    header_.nlmsg_len = static_cast<std::uint32_t>(bytes_);
    std::memcpy(buffer_.data(), &header_, sizeof(header_));
    return ConstBytes(buffer_).first(bytes_);
  }

 private:
  void append(ConstBytes part) {
    const std::size_t padded = NLMSG_ALIGN(part.size());
    DUET_CHECK(bytes_ + padded <= buffer_.size());
    std::memcpy(buffer_.data() + bytes_, part.data(), part.size());
    bytes_ += padded;
  }
  nlmsghdr header_{};
  std::array<std::byte, 256> buffer_{};
  std::size_t bytes_ = sizeof(nlmsghdr);
};

// One answer: its body, and attributes by type.
class Answer {
 public:
  Answer(std::uint16_t type, ConstBytes payload) : type_(type), payload_(payload) {}
  [[nodiscard]] std::uint16_t type() const { return type_; }
  template <typename Body>
  [[nodiscard]] std::optional<Body> body() const {
    if (payload_.size() < sizeof(Body)) {
      return std::nullopt;
    }
    return load<Body>(payload_, 0);
  }
  // Empty: it is not there.  `body_bytes`: of the body before the attributes.
  [[nodiscard]] ConstBytes attribute(std::size_t body_bytes, std::uint16_t type) const;

 private:
  std::uint16_t type_;
  ConstBytes payload_;
};

class Netlink {
 public:
  static Result<Netlink> open();

  // Zero, or the kernel's errno.  ETIMEDOUT: it does not answer.
  [[nodiscard]] int command(Request request);
  // The same, with one answer or many.  `take` may be called again from the start when the tables
  // changed meanwhile: `restart` goes before that.
  [[nodiscard]] int ask(Request request, const std::function<void()>& restart,
                        const std::function<void(const Answer&)>& take);

 private:
  explicit Netlink(os::Descriptor socket) : socket_(std::move(socket)) {}
  [[nodiscard]] int exchange(Request& request, const std::function<void(const Answer&)>& take);

  os::Descriptor socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace duet::address
