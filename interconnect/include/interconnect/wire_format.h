// The bytes of a link over a stream, as interconnect/FORMAT.md specifies them.
//
// Little-endian, no padding, reserved fields zero.  A packet is a header and a payload; the
// payload is a row of frames, each with a head and a body padded to eight bytes.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "interconnect/partner_link.h"

namespace duet::interconnect {

inline constexpr std::uint32_t kPacketMagic = 0x4B50'4C44;  // "DLPK"
// Grows with each change that an older build would misread; both ends must have the same.
inline constexpr std::uint32_t kWireVersion = 1;
// One whole write and as much again of others: what is larger goes in two packets.
inline constexpr std::size_t kPayloadBytesMax = 2 * kWriteBytesMax;
inline constexpr std::size_t kFrameAlignment = 8;

struct PacketHeader {
  std::uint32_t magic = kPacketMagic;
  std::uint32_t payload_bytes = 0;
  std::uint64_t number = 0;            // 1, 2, 3, ... in a session and direction
  std::uint64_t beat = 0;              // of the sender's application
  std::uint32_t payload_checksum = 0;  // CRC-32C
  std::uint32_t checksum = 0;          // CRC-32C of the fields above
};
static_assert(sizeof(PacketHeader) == 32);
static_assert(offsetof(PacketHeader, number) == 8);
static_assert(offsetof(PacketHeader, checksum) == 28);
static_assert(std::has_unique_object_representations_v<PacketHeader>, "no implicit padding");

enum class FrameKind : std::uint8_t {
  kHello = 1,    // the first and only frame of each direction's first packet
  kRefuse = 2,   // instead of a hello's answer; body: RefuseFrame
  kMessage = 3,  // body: the message
  kWrite = 4,    // body: WriteFrame, then the bytes
  kDone = 5,     // body: DoneFrame
};

struct FrameHead {
  std::uint8_t kind = 0;  // FrameKind
  std::uint8_t channel = 0;
  std::uint16_t reserved0 = 0;
  std::uint32_t body_bytes = 0;
};
static_assert(sizeof(FrameHead) == 8);
static_assert(std::has_unique_object_representations_v<FrameHead>, "no implicit padding");

struct HelloFrame {
  std::uint32_t version = kWireVersion;
  std::uint8_t node = 0;
  std::array<std::uint8_t, 3> reserved0{};
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t incarnation = 0;
  std::uint64_t features = 0;  // none yet; a bit that the other end does not know is refused
};
static_assert(sizeof(HelloFrame) == 40);
static_assert(std::has_unique_object_representations_v<HelloFrame>, "no implicit padding");

enum class Refusal : std::uint32_t {
  kVersion = 1,  // another wire version or an unknown feature
  kPair = 2,     // another pair
  kNode = 3,     // not the partner: the same node, or none
  kUnready = 4,  // the partner is not ready to link now
};

struct RefuseFrame {
  std::uint32_t refusal = 0;
  std::uint32_t version = kWireVersion;  // of the one who refuses
};
static_assert(sizeof(RefuseFrame) == 8);

struct WriteFrame {
  std::uint64_t number = 0;  // 1, 2, 3, ... in a session and direction, over all windows
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;  // in the window
  std::uint32_t right =
      0;  // which open_window() of the session: after a refusal its writes are dropped
  std::uint8_t window = 0;
  std::array<std::uint8_t, 3> reserved0{};
};
static_assert(sizeof(WriteFrame) == 32);
static_assert(std::has_unique_object_representations_v<WriteFrame>, "no implicit padding");

// Every write up to `number` was handled, and is durable unless an earlier DoneFrame or this
// one refused its right.
struct DoneFrame {
  std::uint64_t number = 0;
  std::uint32_t refused_right = 0;  // 0: none; else the write `number` was refused ...
  std::uint32_t error = 0;          // ... with this WriteRefusal
};
static_assert(sizeof(DoneFrame) == 16);
static_assert(std::has_unique_object_representations_v<DoneFrame>, "no implicit padding");

enum class WriteRefusal : std::uint32_t { kNone = 0, kFenced = 1, kOutside = 2, kIo = 3 };

constexpr std::size_t padded(std::size_t bytes) {
  return (bytes + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment;
}

}  // namespace duet::interconnect
