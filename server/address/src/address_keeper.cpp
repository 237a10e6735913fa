#include "address/address_keeper.h"

#include <algorithm>
#include <array>

#include "announce.h"
#include "kernel_addresses.h"
#include "platform/wait.h"

namespace duet::address {

namespace {

// From the first: a switch or a client that missed it hears the next.  The last is for clients that
// heard of another move just before, and believe nothing for a second (Linux: neigh/locktime).
constexpr std::array kAnnounceAt{Duration{}, Duration(std::chrono::milliseconds(50)),
                                 Duration(std::chrono::milliseconds(300)),
                                 Duration(std::chrono::milliseconds(1100))};

// A worker of the kernel makes an IPv6 address local, within milliseconds.
constexpr int kLocalChecks = 200;
constexpr Duration kLocalCheck = std::chrono::milliseconds(1);

bool is_loopback(const os::TcpAddress& ip) {
  return is_v4(ip) ? ip.ip[12] == 127 : ip == os::TcpAddress::parse("::1", ip.port).value();
}

bool is_any(const os::TcpAddress& ip) {
  return ip == os::TcpAddress{} || ip == os::TcpAddress::parse("0.0.0.0", 0).value();
}

// As the kernel has it: no port.
os::TcpAddress without_port(os::TcpAddress ip) {
  ip.port = 0;
  return ip;
}

// Where an address goes, and with what prefix; interface 0: it is here for good.
Result<KernelAddress> place(KernelAddresses& kernel, const FilerAddress& address) {
  const KernelAddress nothing{};
  const os::TcpAddress ip = without_port(address.ip);
  if (address.interface.empty() && (is_loopback(ip) || is_any(ip))) {
    return nothing;
  }
  const auto all = kernel.list();
  if (!all.ok()) {
    return all.error();
  }
  if (address.interface.empty()) {
    if (std::ranges::find(all.value(), ip, &KernelAddress::ip) != all.value().end()) {
      return nothing;
    }
    return Error{Errc::kNotFound,
                 "no interface has the address: name the one that it is to be added to"};
  }
  const Result<Interface> interface = kernel.interface(address.interface);
  if (!interface.ok()) {
    return interface.error();
  }
  if (!interface.value().up) {
    return Error{Errc::kRefused, "the interface is down: bring it up"};
  }
  const std::uint8_t all_bits = bits_of(is_v4(ip));
  if (address.prefix_bits == 0 || address.prefix_bits > all_bits) {
    return Error{Errc::kInvalid, "the prefix of an address is 1 to 32 bits, of IPv6 to 128"};
  }
  KernelAddress wanted{
      .ip = ip, .interface = interface.value().index, .prefix_bits = address.prefix_bits};
  for (const KernelAddress& each : all.value()) {
    if (each.interface != wanted.interface) {
      continue;
    }
    if (each.ip == ip) {  // for good, or left by an earlier process
      return each.permanent ? nothing : each;
    }
    if (each.permanent && same_network(each.ip, ip, address.prefix_bits)) {
      wanted.prefix_bits = all_bits;
    }
  }
  return wanted;
}

// Calls `one` for each and gathers what went wrong.
template <typename One>
Problems for_each(std::span<const FilerAddress> addresses, One one) {
  Problems problems;
  if (addresses.empty()) {
    return problems;
  }
  Result<KernelAddresses> kernel = KernelAddresses::open();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Status done = kernel.ok() ? one(kernel.value(), addresses[i]) : Status(kernel.error());
    if (!done.ok()) {
      problems.push_back({.index = i, .error = done.error()});
    }
  }
  return problems;
}

Status drop_one(KernelAddresses& kernel, const FilerAddress& address) {
  if (address.interface.empty()) {
    return Ok{};
  }
  const Result<Interface> interface = kernel.interface(address.interface);
  if (!interface.ok()) {
    const bool gone = interface.error().code == Errc::kNotFound;
    return gone ? Status(Ok{}) : interface.error();
  }
  const auto all = kernel.list();
  if (!all.ok()) {
    return all.error();
  }
  Status result = Ok{};
  for (const KernelAddress& each : all.value()) {
    const bool it = each.interface == interface.value().index && !each.permanent &&
                    each.ip == without_port(address.ip);
    if (it) {
      const Status removed = kernel.remove(each);
      result = removed.ok() ? result : removed;
    }
  }
  return result;
}

}  // namespace

Problems check_addresses(std::span<const FilerAddress> addresses) {
  return for_each(addresses, [](KernelAddresses& kernel, const FilerAddress& address) -> Status {
    const Result<KernelAddress> placed = place(kernel, address);
    return placed.ok() ? Status(Ok{}) : placed.error();
  });
}

Problems drop_addresses(std::span<const FilerAddress> addresses) {
  return for_each(addresses, drop_one);
}

AddressKeeper::AddressKeeper(Scheduler& scheduler, std::vector<FilerAddress> addresses,
                             Duration lease)
    : scheduler_(scheduler), addresses_(std::move(addresses)), lifetime_(lifetime_of(lease)) {}

Problems AddressKeeper::add_all() {
  renewed_ = scheduler_.now();
  const std::chrono::seconds lifetime = lifetime_;
  return for_each(addresses_,
                  [lifetime](KernelAddresses& kernel, const FilerAddress& address) -> Status {
                    const Result<KernelAddress> placed = place(kernel, address);
                    if (!placed.ok()) {
                      return placed.error();
                    }
                    if (placed.value().interface == 0) {
                      return Ok{};
                    }
                    return kernel.add(placed.value(), lifetime);
                  });
}

Problems AddressKeeper::take() {
  here_ = true;
  return add_all();
}

Problems AddressKeeper::renew() {
  // A quarter: three may be late.
  if (!here_ || scheduler_.now() - renewed_ < Duration(lifetime_) / 4) {
    return {};
  }
  return add_all();
}

Problems AddressKeeper::drop() {
  here_ = false;
  return drop_addresses(addresses_);
}

// Packets to all of them are taken here.
bool AddressKeeper::all_local() const {
  Result<KernelAddresses> kernel = KernelAddresses::open();
  return !kernel.ok() || std::ranges::all_of(addresses_, [&](const FilerAddress& each) {
    return each.interface.empty() || kernel.value().is_local(without_port(each.ip));
  });
}

Task<Problems> AddressKeeper::announce() {
  // A client that is told sooner would lose its first packet, and try again after a second.
  for (int i = 0; i < kLocalChecks && here_ && !all_local(); ++i) {
    co_await sleep(scheduler_, kLocalCheck);
  }
  struct Prepared {
    std::size_t index;
    Announcement announcement;
  };
  std::vector<Prepared> prepared;
  Problems problems =
      for_each(addresses_, [&](KernelAddresses& kernel, const FilerAddress& address) -> Status {
        if (address.interface.empty()) {
          return Ok{};
        }
        const Result<Interface> interface = kernel.interface(address.interface);
        if (!interface.ok()) {
          return interface.error();
        }
        auto ready = Announcement::prepare(without_port(address.ip), interface.value());
        if (!ready.ok()) {
          return ready.error();
        }
        const auto index = static_cast<std::size_t>(&address - addresses_.data());
        prepared.push_back({.index = index, .announcement = std::move(ready.value())});
        return Ok{};
      });
  const Instant begun = scheduler_.now();
  for (const Duration at : kAnnounceAt) {
    if (at > Duration{}) {
      co_await Sleep(scheduler_, begun + at);
    }
    if (!here_) {
      break;
    }
    for (Prepared& each : prepared) {
      const Status sent = each.announcement.send();
      const bool known = std::ranges::find(problems, each.index, &Problem::index) != problems.end();
      if (!sent.ok() && !known) {
        problems.push_back({.index = each.index, .error = sent.error()});
      }
    }
  }
  co_return problems;
}

}  // namespace duet::address
