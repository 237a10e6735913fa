#include "address/tickle.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "kernel_addresses.h"
#include "platform/linux/descriptor.h"

namespace duet::address {

namespace {

constexpr std::size_t kChecksumAt = 16;  // in the TCP header (RFC 9293 section 3.1)

sockaddr_storage raw_address(const os::TcpAddress& address, bool v4) {
  sockaddr_storage storage{};  // raw sockets want no port
  if (v4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_addr, address.ip.data() + 12, 4);
    std::memcpy(&storage, &in, sizeof(in));
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    std::memcpy(&in.sin6_addr, address.ip.data(), 16);
    std::memcpy(&storage, &in, sizeof(in));
  }
  return storage;
}

// An acknowledgement with sequence and acknowledgement number 0: outside every window but by an
// accident, which makes it the harmless acknowledgement that it looks like.
tcphdr segment(const Connection& connection) {
  tcphdr header{};
  header.th_sport = htons(connection.local.port);
  header.th_dport = htons(connection.client.port);
  header.th_off = sizeof(tcphdr) / 4;
  header.th_flags = TH_ACK;
  header.th_win = htons(1024);
  return header;
}

// RFC 1071, over the pseudo header of RFC 9293 section 3.1 and the segment.
std::uint16_t checksum(const Connection& connection, const tcphdr& header) {
  std::array<std::byte, 12 + sizeof(tcphdr)> all{};
  store(all, 0, load<std::uint32_t>(bytes_of(connection.local.ip), 12));
  store(all, 4, load<std::uint32_t>(bytes_of(connection.client.ip), 12));
  all[9] = std::byte{IPPROTO_TCP};
  all[11] = std::byte{sizeof(tcphdr)};
  store(all, 12, header);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < all.size(); i += 2) {
    sum += load<std::uint16_t>(all, i);
  }
  sum = (sum & 0xFFFFU) + (sum >> 16U);
  sum += sum >> 16U;
  return static_cast<std::uint16_t>(~sum);
}

Status tickle_one(const Connection& connection) {
  const bool v4 = is_v4(connection.local);
  if (v4 != is_v4(connection.client)) {
    return Error{Errc::kInvalid, "both ends of a connection are of one kind"};
  }
  const os::Descriptor socket(
      ::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!socket.valid()) {
    return kernel_error(errno);
  }
  tcphdr header = segment(connection);
  if (v4) {
    header.th_sum = checksum(connection, header);
  } else {
    const int at = kChecksumAt;
    if (setsockopt(socket.get(), IPPROTO_IPV6, IPV6_CHECKSUM, &at, sizeof(at)) != 0) {
      return kernel_error(errno);
    }
  }
  const sockaddr_storage local = raw_address(connection.local, v4);
  const sockaddr_storage client = raw_address(connection.client, v4);
  const socklen_t bytes = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&local), bytes) != 0 ||
      sendto(socket.get(), &header, sizeof(header), MSG_DONTWAIT,
             reinterpret_cast<const sockaddr*>(&client), bytes) != sizeof(header)) {
    return kernel_error(errno);
  }
  return Ok{};
}

}  // namespace

Status tickle(std::span<const Connection> connections) {
  Status result = Ok{};
  for (const Connection& each : connections) {
    const Status sent = tickle_one(each);
    if (!sent.ok() && result.ok()) {
      result = sent;
    }
  }
  return result;
}

}  // namespace duet::address
