#include "system_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace duet::os {

namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool is_mapped(const TcpAddress& address) {
  return std::equal(kMapped.begin(), kMapped.end(), address.ip.begin());
}

void map(TcpAddress& address, const in_addr& ip) {
  std::ranges::copy(kMapped, address.ip.begin());
  std::memcpy(address.ip.data() + kMapped.size(), &ip, sizeof(ip));
}

}  // namespace

SystemAddress system_address(const TcpAddress& address) {
  SystemAddress system;
  if (is_mapped(address)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, address.ip.data() + kMapped.size(), sizeof(v4.sin_addr));
    std::memcpy(&system.storage, &v4, sizeof(v4));
    system.bytes = sizeof(v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&v6.sin6_addr, address.ip.data(), sizeof(v6.sin6_addr));
    std::memcpy(&system.storage, &v6, sizeof(v6));
    system.bytes = sizeof(v6);
  }
  return system;
}

TcpAddress tcp_address(const SystemAddress& system) {
  TcpAddress address;
  if (system.family() == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &system.storage, sizeof(v4));
    map(address, v4.sin_addr);
    address.port = ntohs(v4.sin_port);
  } else if (system.family() == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &system.storage, sizeof(v6));
    std::memcpy(address.ip.data(), &v6.sin6_addr, sizeof(v6.sin6_addr));
    address.port = ntohs(v6.sin6_port);
  }
  return address;
}

TcpAddress address_of(int socket, AskAddress* ask) {
  SystemAddress system;
  return ask(socket, system.get(), &system.bytes) == 0 ? tcp_address(system) : TcpAddress{};
}

Result<TcpAddress> TcpAddress::parse(std::string_view ip, std::uint16_t port) {
  const std::string text(ip);
  TcpAddress address;
  address.port = port;
  in_addr v4{};
  if (text.find('\0') != std::string::npos) {
    return Error{Errc::kInvalid, "not an IPv4 or IPv6 address"};
  }
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    map(address, v4);
    return address;
  }
  if (inet_pton(AF_INET6, text.c_str(), address.ip.data()) == 1) {
    return address;
  }
  return Error{Errc::kInvalid, "not an IPv4 or IPv6 address"};
}

bool TcpAddress::is_loopback() const {
  constexpr std::array<std::uint8_t, 13> kLoopback4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127};
  constexpr std::array<std::uint8_t, 16> kLoopback6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return std::equal(kLoopback4.begin(), kLoopback4.end(), ip.begin()) || ip == kLoopback6;
}

TcpAddress TcpAddress::loopback(std::uint16_t port) {
  TcpAddress address;
  address.port = port;
  map(address, in_addr{htonl(INADDR_LOOPBACK)});
  return address;
}

std::string TcpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> digits{};
  const bool v4 = is_mapped(*this);
  inet_ntop(v4 ? AF_INET : AF_INET6, ip.data() + (v4 ? kMapped.size() : 0), digits.data(),
            digits.size());
  const std::string bare = digits.data();
  return (v4 ? bare : "[" + bare + "]") + ":" + std::to_string(port);
}

}  // namespace duet::os
