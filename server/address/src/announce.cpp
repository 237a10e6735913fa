#include "announce.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <type_traits>

namespace duet::address {

namespace {

constexpr Mac kEverybody{255, 255, 255, 255, 255, 255};

// RFC 826, for IPv4 over Ethernet.
struct ArpBody {
  std::uint16_t hardware = htons(ARPHRD_ETHER);
  std::uint16_t protocol = htons(ETHERTYPE_IP);
  std::uint8_t hardware_bytes = 6;
  std::uint8_t protocol_bytes = 4;
  std::uint16_t operation = 0;
  Mac sender_mac{};
  std::array<std::uint8_t, 4> sender_ip{};
  Mac target_mac{};
  std::array<std::uint8_t, 4> target_ip{};
};
static_assert(sizeof(ArpBody) == 28 && std::has_unique_object_representations_v<ArpBody>);

// RFC 4861 sections 4.4 and 4.6.1.
struct NeighbourAdvertisement {
  std::uint8_t type = ND_NEIGHBOR_ADVERT;
  std::uint8_t code = 0;
  std::uint16_t checksum = 0;  // the kernel's, on its raw ICMPv6 sockets
  std::uint32_t flags = ND_NA_FLAG_OVERRIDE;
  std::array<std::uint8_t, 16> target{};
  std::uint8_t option = ND_OPT_TARGET_LINKADDR;
  std::uint8_t option_eights = 1;
  Mac mac{};
};
static_assert(sizeof(NeighbourAdvertisement) == 32 &&
              std::has_unique_object_representations_v<NeighbourAdvertisement>);

// RFC 4861 section 7.1.2: what came through a router is not believed.
constexpr int kHopLimit = 255;

}  // namespace

Result<Announcement> Announcement::prepare(const os::TcpAddress& ip, const Interface& on) {
  Announcement announcement(ip, on);
  if (!on.ethernet) {
    return announcement;
  }
  const Status opened = is_v4(ip) ? announcement.open_arp() : announcement.open_neighbour();
  if (!opened.ok()) {
    return opened.error();
  }
  return announcement;
}

Status Announcement::send() {
  if (!socket_.valid()) {
    return Ok{};
  }
  if (!is_v4(ip_)) {
    return send_neighbour();
  }
  // Some listen to the one only, some to the other.
  const Status asked = send_arp(ARPOP_REQUEST);
  const Status answered = send_arp(ARPOP_REPLY);
  return asked.ok() ? answered : asked;
}

Status Announcement::open_arp() {
  // Protocol 0: it receives nothing.
  socket_ = os::Descriptor(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return socket_.valid() ? Status(Ok{}) : kernel_error(errno);
}

Status Announcement::send_arp(std::uint16_t operation) const {
  ArpBody body;
  body.operation = htons(operation);
  body.sender_mac = interface_.mac;
  std::copy_n(ip_.ip.begin() + 12, 4, body.sender_ip.begin());
  body.target_ip = body.sender_ip;
  body.target_mac = operation == ARPOP_REPLY ? interface_.mac : Mac{};
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETHERTYPE_ARP);
  to.sll_ifindex = interface_.index;
  to.sll_halen = kEverybody.size();
  std::ranges::copy(kEverybody, to.sll_addr);
  const ssize_t sent = sendto(socket_.get(), &body, sizeof(body), MSG_DONTWAIT,
                              reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  return sent == sizeof(body) ? Status(Ok{}) : kernel_error(errno);
}

Status Announcement::open_neighbour() {
  socket_ = os::Descriptor(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
  if (!socket_.valid()) {
    return kernel_error(errno);
  }
  icmp6_filter nothing;
  ICMP6_FILTER_SETBLOCKALL(&nothing);
  sockaddr_in6 from{};
  from.sin6_family = AF_INET6;
  std::ranges::copy(ip_.ip, from.sin6_addr.s6_addr);
  const int fd = socket_.get();
  const bool ready =
      setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &nothing, sizeof(nothing)) == 0 &&
      setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &kHopLimit, sizeof(kHopLimit)) == 0 &&
      setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface_.index,
                 sizeof(interface_.index)) == 0 &&
      bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof(from)) == 0;
  return ready ? Status(Ok{}) : kernel_error(errno);
}

Status Announcement::send_neighbour() const {
  NeighbourAdvertisement body;
  body.target = ip_.ip;
  body.mac = interface_.mac;
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_addr = in6_addr{{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01}}};
  to.sin6_scope_id = static_cast<std::uint32_t>(interface_.index);
  const ssize_t sent = sendto(socket_.get(), &body, sizeof(body), MSG_DONTWAIT,
                              reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  return sent == sizeof(body) ? Status(Ok{}) : kernel_error(errno);
}

}  // namespace duet::address
