// Messages between two PeersPorts.  Little-endian, no padding; a packet's bytes follow its head.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "raid/label_format.h"

namespace duet::raid {

inline constexpr std::uint32_t kPeersMagic = 0x5052'4C44;  // "DLRP"

enum class PeersVerb : std::uint16_t { kHello = 1, kPacket = 2, kSeen = 3, kBye = 4 };

struct PeersHead {
  std::uint32_t magic = kPeersMagic;
  std::uint16_t verb = 0;  // PeersVerb
  std::uint16_t window = 0;
  std::uint64_t epoch = 0;  // the sender's
  std::uint64_t to = 0;     // the receiver's, as the sender knows it; 0: none.  Both name a session
};
static_assert(sizeof(PeersHead) == 24);
static_assert(std::has_unique_object_representations_v<PeersHead>, "no implicit padding");

struct PeersHello {
  GroupId group{};
  std::uint64_t region_bytes = 0;  // that the sender grants
};
static_assert(sizeof(PeersHello) == 24);
static_assert(std::has_unique_object_representations_v<PeersHello>, "no implicit padding");

// Packets of the session that were handled.
struct PeersSeen {
  std::uint64_t packets = 0;
};

}  // namespace duet::raid
