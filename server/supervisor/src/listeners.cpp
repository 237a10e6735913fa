#include "listeners.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace duet::supervisor {

namespace {

std::uint16_t port_of(int descriptor) {
  sockaddr_in6 address{};  // the port of an IPv4 one stands at the same place
  socklen_t bytes = sizeof(address);
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  const bool known = getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &bytes) == 0;
  return known ? ntohs(address.sin6_port) : std::uint16_t{0};
}

}  // namespace

Listeners::Listeners(const std::vector<ListenerSpec>& specs) : count_(specs.size()) {
  DUET_CHECK(specs.size() <= kListenersMax);
  std::ranges::copy(specs, specs_.begin());
  descriptors_.fill(-1);
}

Status Listeners::open(std::size_t index) {
  if (index >= count_) {
    return Error{Errc::kInvalid, "no such listener"};
  }
  if (descriptors_[index] >= 0) {
    return Ok{};
  }
  ListenerSpec& spec = specs_[index];
  const auto opened = os::TcpListener::open(spec.address, spec.options);
  if (!opened.ok()) {
    return opened.error();
  }
  descriptors_[index] = opened.value().descriptor;
  spec.address.port = port_of(descriptors_[index]);
  return Ok{};
}

void Listeners::close(std::size_t index) {
  if (index >= count_ || descriptors_[index] < 0) {
    return;
  }
  ::shutdown(descriptors_[index], SHUT_RDWR);  // which ends listening for every copy
  ::close(descriptors_[index]);
  descriptors_[index] = -1;
}

void Listeners::close_all() {
  for (std::size_t i = 0; i < count_; ++i) {
    close(i);
  }
}

}  // namespace duet::supervisor
