// The messages of the clients' channel of the partner link: which connections a filer has.
//
//   ClientsHeader, then `count` of ClientEntry
//
// The link carries them whole and in order or not at all (interconnect/partner_link.h).
// Little-endian, no padding.

#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

namespace duet::daemon {

inline constexpr std::uint32_t kClientsMagic = 0x434C'4344;  // "DCLC"
inline constexpr std::uint32_t kClientsVersion = 1;

struct ClientsHeader {
  std::uint32_t magic = kClientsMagic;
  std::uint32_t version = kClientsVersion;
  std::uint32_t filer = 0;
  std::uint32_t first = 0;  // 1: what was said of this filer before is void
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(ClientsHeader) == 24);
static_assert(std::has_unique_object_representations_v<ClientsHeader>, "no implicit padding");

// IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2); addresses in network order, ports as numbers.
struct ClientEntry {
  std::array<std::uint8_t, 16> local{};
  std::array<std::uint8_t, 16> client{};
  std::uint16_t local_port = 0;
  std::uint16_t client_port = 0;
};
static_assert(sizeof(ClientEntry) == 36);
static_assert(std::has_unique_object_representations_v<ClientEntry>, "no implicit padding");

}  // namespace duet::daemon
