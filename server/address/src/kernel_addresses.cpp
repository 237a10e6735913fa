#include "kernel_addresses.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace duet::address {

namespace {

constexpr std::size_t kMappedPrefix = 12;  // bytes before an IPv4 address mapped into IPv6

// The digits of the address, as the kernel wants them.
ConstBytes digits(const os::TcpAddress& ip) {
  const ConstBytes all = bytes_of(ip.ip);
  return is_v4(ip) ? all.subspan(kMappedPrefix) : all;
}

bool take_digits(ConstBytes from, bool v4, os::TcpAddress& to) {
  to = v4 ? os::TcpAddress::loopback(0) : os::TcpAddress{};
  const auto into = std::as_writable_bytes(std::span(to.ip)).subspan(v4 ? kMappedPrefix : 0);
  if (from.size() != into.size()) {
    return false;
  }
  std::ranges::copy(from, into.begin());
  return true;
}

ifaddrmsg body_for(const KernelAddress& address) {
  ifaddrmsg body{};
  body.ifa_family = is_v4(address.ip) ? AF_INET : AF_INET6;
  body.ifa_prefixlen = address.prefix_bits;
  body.ifa_scope = RT_SCOPE_UNIVERSE;
  body.ifa_index = static_cast<unsigned>(address.interface);
  return body;
}

std::optional<KernelAddress> read_address(const Answer& answer) {
  const auto body = answer.body<ifaddrmsg>();
  if (answer.type() != RTM_NEWADDR || !body ||
      (body->ifa_family != AF_INET && body->ifa_family != AF_INET6)) {
    return std::nullopt;
  }
  KernelAddress address{.interface = static_cast<int>(body->ifa_index),
                        .prefix_bits = body->ifa_prefixlen};
  // On a point-to-point interface IFA_ADDRESS is the other end.
  ConstBytes ip = answer.attribute(sizeof(ifaddrmsg), IFA_LOCAL);
  if (ip.empty()) {
    ip = answer.attribute(sizeof(ifaddrmsg), IFA_ADDRESS);
  }
  if (!take_digits(ip, body->ifa_family == AF_INET, address.ip)) {
    return std::nullopt;
  }
  const ConstBytes flags = answer.attribute(sizeof(ifaddrmsg), IFA_FLAGS);
  const std::uint32_t set =
      flags.size() == sizeof(std::uint32_t) ? load<std::uint32_t>(flags, 0) : body->ifa_flags;
  address.permanent = (set & IFA_F_PERMANENT) != 0;
  return address;
}

Status status_of(int error_number) {
  return error_number == 0 ? Status(Ok{}) : kernel_error(error_number);
}

}  // namespace

bool is_v4(const os::TcpAddress& ip) {
  constexpr std::array<std::uint8_t, kMappedPrefix> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
  return std::equal(kMapped.begin(), kMapped.end(), ip.ip.begin());
}

bool same_network(const os::TcpAddress& a, const os::TcpAddress& b, std::uint8_t prefix_bits) {
  const bool v4 = is_v4(a);
  if (v4 != is_v4(b)) {
    return false;
  }
  const std::size_t bits = prefix_bits + (v4 ? kMappedPrefix * 8 : 0);
  for (std::size_t i = 0; i < a.ip.size(); ++i) {
    const std::size_t counting = std::min<std::size_t>(8, bits - std::min(bits, i * 8));
    const auto mask = static_cast<std::uint8_t>(0xFF00U >> counting);
    if (((a.ip[i] ^ b.ip[i]) & mask) != 0) {
      return false;
    }
  }
  return true;
}

Error kernel_error(int error_number) {
  switch (error_number) {
    case EPERM:
    case EACCES:
      return {Errc::kAccess,
              "not permitted: give duetd CAP_NET_ADMIN and CAP_NET_RAW, and see that the "
              "interface has IPv6 enabled where the address is one"};
    case ENODEV:
      return {Errc::kNotFound, "no such interface: name one that \"ip link\" shows"};
    case EADDRNOTAVAIL:
      return {Errc::kNotFound, "no interface has the address"};
    case ENETDOWN:
      return {Errc::kRefused, "the interface is down: bring it up"};
    case EINVAL:
      return {Errc::kInvalid, "the kernel takes no such address: look at its prefix"};
    case ETIMEDOUT:
      return {Errc::kTryAgain, "the kernel does not answer"};
    default: {
      const char* const text = strerrordesc_np(error_number);  // a constant, for ever valid
      return {Errc::kIo, text != nullptr ? text : "unknown system error"};
    }
  }
}

Result<KernelAddresses> KernelAddresses::open() {
  Result<Netlink> netlink = Netlink::open();
  if (!netlink.ok()) {
    return netlink.error();
  }
  return KernelAddresses(std::move(netlink.value()));
}

Result<Interface> KernelAddresses::interface(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return kernel_error(ENODEV);
  }
  Request request(RTM_GETLINK, NLM_F_ACK, ifinfomsg{});
  request.attribute(IFLA_IFNAME, std::as_bytes(std::span(name.c_str(), name.size() + 1)));
  std::optional<Interface> found;
  const int result = netlink_.ask(
      request, [&] { found.reset(); },
      [&](const Answer& answer) {
        const auto body = answer.body<ifinfomsg>();
        if (answer.type() != RTM_NEWLINK || !body) {
          return;
        }
        found = Interface{.index = body->ifi_index, .up = (body->ifi_flags & IFF_UP) != 0};
        const ConstBytes mac = answer.attribute(sizeof(ifinfomsg), IFLA_ADDRESS);
        if (body->ifi_type == ARPHRD_ETHER && mac.size() == found->mac.size()) {
          found->ethernet = true;
          found->mac = load<Mac>(mac, 0);
        }
      });
  if (result != 0 || !found) {
    return kernel_error(result != 0 ? result : ENODEV);
  }
  return *found;
}

Result<std::vector<KernelAddress>> KernelAddresses::list() {
  std::vector<KernelAddress> all;
  const int result = netlink_.ask(
      Request(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{}), [&] { all.clear(); },
      [&](const Answer& answer) {
        if (const auto address = read_address(answer)) {
          all.push_back(*address);
        }
      });
  if (result != 0) {
    return kernel_error(result);
  }
  return all;
}

Status KernelAddresses::add(const KernelAddress& address, std::chrono::seconds lifetime) {
  Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body_for(address));
  request.attribute(IFA_LOCAL, digits(address.ip));
  request.attribute(IFA_ADDRESS, digits(address.ip));
  // Who owns the filer is decided: no asking around for a duplicate, which takes a second.
  std::uint32_t flags = is_v4(address.ip) ? 0 : IFA_F_NODAD;
  if (address.prefix_bits == bits_of(is_v4(address.ip))) {
    flags |= IFA_F_NOPREFIXROUTE;
  }
  request.attribute(IFA_FLAGS, bytes_of(flags));
  // Preferred never: connections of the machine itself begin at an address that stays.
  const ifa_cacheinfo times{.ifa_prefered = 0,
                            .ifa_valid = static_cast<std::uint32_t>(lifetime.count()),
                            .cstamp = 0,
                            .tstamp = 0};
  request.attribute(IFA_CACHEINFO, bytes_of(times));
  return status_of(netlink_.command(request));
}

bool KernelAddresses::is_local(const os::TcpAddress& ip) {
  rtmsg body{};
  body.rtm_family = is_v4(ip) ? AF_INET : AF_INET6;
  body.rtm_dst_len = bits_of(is_v4(ip));
  Request request(RTM_GETROUTE, NLM_F_ACK, body);
  request.attribute(RTA_DST, digits(ip));
  bool local = false;
  const int result = netlink_.ask(
      request, [&] { local = false; },
      [&](const Answer& answer) {
        const auto route = answer.body<rtmsg>();
        local = answer.type() == RTM_NEWROUTE && route && route->rtm_type == RTN_LOCAL;
      });
  return result == 0 && local;
}

Status KernelAddresses::remove(const KernelAddress& address) {
  Request request(RTM_DELADDR, NLM_F_ACK, body_for(address));
  request.attribute(IFA_LOCAL, digits(address.ip));
  request.attribute(IFA_ADDRESS, digits(address.ip));
  const int result = netlink_.command(request);
  return status_of(result == EADDRNOTAVAIL ? 0 : result);
}

}  // namespace duet::address
