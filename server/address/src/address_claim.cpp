#include "address/address_claim.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace duet::address {

namespace {

// "duet-listens/<address in 32 digits>/<port>/<pair in 32 digits>/<node>/<process>"
constexpr std::string_view kPrefix = "duet-listens/";
constexpr int kLooksMax = 5;

struct Claimed {
  os::TcpAddress address;
  AddressClaim::Claimant claimant;
  pid_t process = 0;
};

std::string name_of(const Claimed& claimed) {
  std::string name(kPrefix);
  std::array<char, 80> rest{};
  for (const std::uint8_t byte : claimed.address.ip) {
    std::snprintf(rest.data(), rest.size(), "%02x", unsigned{byte});
    name += rest.data();
  }
  std::snprintf(rest.data(), rest.size(), "/%u/%016" PRIx64 "%016" PRIx64 "/%c/%d",
                unsigned{claimed.address.port}, claimed.claimant.pair[0], claimed.claimant.pair[1],
                claimed.claimant.node, claimed.process);
  return name + rest.data();
}

template <typename Number>
bool take_number(std::string_view& text, std::size_t digits, int base, Number& number) {
  const std::string_view part = text.substr(0, digits);
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number, base);
  if (error != std::errc{} || end == part.data()) {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(end - part.data()));
  return true;
}

bool take_slash(std::string_view& text) {
  const bool there = text.starts_with('/');
  text.remove_prefix(there ? 1 : 0);
  return there;
}

// Anybody may give a socket such a name: what does not read as one is not one.
std::optional<Claimed> read_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPrefix.size());
  Claimed claimed;
  bool good = true;
  for (std::uint8_t& byte : claimed.address.ip) {
    good = good && take_number(name, 2, 16, byte);
  }
  good = good && take_slash(name) && take_number(name, 5, 10, claimed.address.port) &&
         take_slash(name) && take_number(name, 16, 16, claimed.claimant.pair[0]) &&
         take_number(name, 16, 16, claimed.claimant.pair[1]) && take_slash(name) && !name.empty();
  if (!good) {
    return std::nullopt;
  }
  claimed.claimant.node = name.front();
  name.remove_prefix(1);
  good = take_slash(name) && take_number(name, 10, 10, claimed.process) && name.empty();
  return good ? std::optional(claimed) : std::nullopt;
}

bool meet(const os::TcpAddress& a, const os::TcpAddress& b) {
  const auto any = [](const os::TcpAddress& address) {
    return address.ip == os::TcpAddress{}.ip ||
           address.ip == os::TcpAddress::parse("0.0.0.0", 0).value().ip;
  };
  return a.port == b.port && (a.ip == b.ip || any(a) || any(b));
}

}  // namespace

Result<AddressClaim> AddressClaim::take(const os::TcpAddress& address, const Claimant& claimant,
                                        Other& other) {
  const Claimed own{.address = address, .claimant = claimant, .process = getpid()};
  const std::string name = name_of(own);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  static_assert(sizeof(to.sun_path) > 13 + 32 + 1 + 5 + 1 + 32 + 1 + 1 + 1 + 11);
  name.copy(to.sun_path + 1, name.size());  // an abstract name begins with a zero
  os::Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (!socket.valid() || bind(socket.get(), reinterpret_cast<sockaddr*>(&to), bytes) != 0) {
    return Error{Errc::kIo, "the kernel gives no Unix socket to claim an address with"};
  }
  // The list is not read in one piece, and one that ends meanwhile may hide another.
  for (int look = 0; look < kLooksMax; ++look) {
    bool found_own = false;
    std::ifstream sockets("/proc/self/net/unix");
    for (std::string line; std::getline(sockets, line);) {
      const std::size_t at = line.find('@');  // it stands for the zero
      const auto claimed =
          at == std::string::npos ? std::nullopt : read_name(std::string_view(line).substr(at + 1));
      if (!claimed.has_value() || !meet(claimed->address, address)) {
        continue;
      }
      const bool same_pair = claimed->claimant.pair == claimant.pair;
      if (same_pair && claimed->process == own.process) {
        found_own = true;
      } else if (!same_pair || claimed->claimant.node == claimant.node) {
        other = {.same_pair = same_pair, .process = claimed->process};
        return Error{Errc::kExists, "somebody else on this machine listens at the address"};
      }
    }
    if (found_own) {
      return AddressClaim(std::move(socket));
    }
  }
  return Error{Errc::kIo, "/proc/self/net/unix does not list the sockets of this machine"};
}

}  // namespace duet::address
