// The bytes between a shelf and its clients, as shelf/FORMAT.md specifies them.
//
// A connection is one node's session with one disk.  Little-endian, no padding, reserved fields
// zero.  A header's checksum covers the header, the payload's stands in the header: a bit that
// turned on the way is found, and the connection dropped.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "base/bytes.h"
#include "base/result.h"
#include "shelf/label_format.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

inline constexpr std::uint32_t kRequestMagic = 0x5152'5344;  // "DSRQ"
inline constexpr std::uint32_t kReplyMagic = 0x5052'5344;    // "DSRP"
inline constexpr std::uint32_t kWireVersion = 1;

// The largest transfer of one request; clients divide what is larger.
inline constexpr std::uint32_t kTransferBlocksMax = 256;
inline constexpr std::size_t kDiskNameMax = 64;

enum class WireKind : std::uint8_t {
  kHello = 1,  // the first message, and only that
  kPing = 2,
  kRead = 3,
  kWrite = 4,
  kFlush = 5,
  kWriteDurable = 6,
  kRegister = 16,
  kUnregister = 17,
  kReserve = 18,
  kRelease = 19,
  kPreemptAndAbort = 20,
  kClear = 21,
  kReadState = 22,
  kRaiseEpoch = 23,
  kCompareAndSwap = 24,
};

enum class WireStatus : std::uint16_t {
  kOk = 0,
  kFenced = 1,
  kRefused = 2,
  kOutOfSync = 3,
  kInvalid = 4,
  kNoSpace = 5,
  kNotFound = 6,      // hello: no disk of that name
  kNotSupported = 7,  // hello: no common version; or a kind that this shelf does not know
  kIo = 8,
  kClosed = 9,  // this session is over: connect again
};

inline constexpr std::uint8_t kFlagRepeated = 1;  // sent before, in an earlier session

struct RequestHeader {
  std::uint32_t magic = kRequestMagic;
  std::uint8_t kind = 0;   // WireKind
  std::uint8_t flags = 0;  // kFlagRepeated
  std::uint8_t reservation =
      0;  // kReserve, kPreemptAndAbort: 1 write exclusive, 2 exclusive access
  std::uint8_t reserved0 = 0;
  std::uint64_t tag = 0;    // the client's; the reply carries it
  std::uint64_t epoch = 0;  // of I/O, 0 none; kRaiseEpoch: the new one
  std::uint64_t block = 0;
  std::uint64_t victim = 0;            // kPreemptAndAbort: a key
  std::uint32_t block_count = 0;       // kRead, kWrite, kWriteDurable: 1 .. kTransferBlocksMax
  std::uint32_t payload_bytes = 0;     // as the kind demands
  std::uint32_t payload_checksum = 0;  // CRC-32C
  std::uint32_t reserved1 = 0;
  std::uint32_t reserved2 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of the fields above
};
static_assert(sizeof(RequestHeader) == 64);
static_assert(offsetof(RequestHeader, tag) == 8);
static_assert(offsetof(RequestHeader, block_count) == 40);
static_assert(offsetof(RequestHeader, checksum) == 60);
static_assert(std::has_unique_object_representations_v<RequestHeader>, "no implicit padding");

struct ReplyHeader {
  std::uint32_t magic = kReplyMagic;
  std::uint8_t kind = 0;  // the request's
  std::uint8_t reserved0 = 0;
  std::uint16_t status = 0;  // WireStatus
  std::uint64_t tag = 0;
  std::uint32_t payload_bytes = 0;  // not zero only when the status is kOk
  std::uint32_t payload_checksum = 0;
  std::uint32_t reserved1 = 0;
  std::uint32_t checksum = 0;  // CRC-32C of the fields above
};
static_assert(sizeof(ReplyHeader) == 32);
static_assert(offsetof(ReplyHeader, tag) == 8);
static_assert(offsetof(ReplyHeader, checksum) == 28);
static_assert(std::has_unique_object_representations_v<ReplyHeader>, "no implicit padding");

// The payload of kHello.
struct HelloBody {
  std::uint32_t version_min = kWireVersion;  // what the client speaks
  std::uint32_t version_max = kWireVersion;
  std::uint64_t key = 0;     // {node, incarnation}
  std::uint64_t number = 0;  // grows with each connection of the process
  std::array<std::uint64_t, 5> reserved{};
  std::array<char, kDiskNameMax> disk{};  // its name, zero behind it
};
static_assert(sizeof(HelloBody) == 128);
static_assert(std::has_unique_object_representations_v<HelloBody>, "no implicit padding");

struct HelloReplyBody {
  std::uint32_t version = kWireVersion;
  std::uint32_t requests_max = 0;  // unanswered at a time
  std::uint64_t bytes_max = 0;     // of their data
  std::array<std::uint64_t, 2> disk{};
  std::uint64_t blocks = 0;
  std::array<std::uint64_t, 2> power{};  // changes whenever unflushed writes may have been lost
  std::uint64_t features = 0;            // of DiskFeatures, in the order of its fields, from bit 0
  std::array<std::uint64_t, 8> reserved{};
};
static_assert(sizeof(HelloReplyBody) == 128);
static_assert(std::has_unique_object_representations_v<HelloReplyBody>, "no implicit padding");

// The payload of the reply to kReadState.
struct StateBody {
  std::uint32_t key_count = 0;
  std::uint32_t reservation = 0;
  std::uint64_t holder = 0;
  std::uint64_t generation = 0;
  std::uint64_t epoch = 0;
  std::array<std::uint64_t, kKeysMax> keys{};
};
static_assert(sizeof(StateBody) == 544);
static_assert(std::has_unique_object_representations_v<StateBody>, "no implicit padding");

// ---- Checked conversions.  None believes what the other end says.

// Sets the checksum.
void seal(RequestHeader& header);
void seal(ReplyHeader& header);

// The header at the start of `bytes`, when it is whole: magic, checksum, a kind this build knows, a
// payload as large as the kind demands, a length within bounds, reserved fields zero.
// kCorrupt: nothing behind it can be believed.  kNotSupported: an unknown kind; the payload is
// payload_bytes, at most kPayloadBytesMax, and can be skipped.
// REQUIRES: bytes.size() >= the header's.
inline constexpr std::size_t kPayloadBytesMax = kTransferBlocksMax * kBlockBytes;
struct ParsedRequest {
  RequestHeader header;
  bool known = true;
};
[[nodiscard]] Result<ParsedRequest> parse_request(ConstBytes bytes);
[[nodiscard]] Result<ReplyHeader> parse_reply(ConstBytes bytes);

// kCorrupt where it makes no sense.
[[nodiscard]] Result<DiskState> parse_state(ConstBytes bytes);
[[nodiscard]] StateBody encode_state(const DiskState& state);

[[nodiscard]] std::uint64_t encode_features(const DiskFeatures& features);
[[nodiscard]] DiskFeatures decode_features(std::uint64_t bits);

[[nodiscard]] WireStatus wire_status(const Status& status);
// kIo for a number that is none.
[[nodiscard]] Status status_of(std::uint16_t wire);

// The commands among the kinds.
[[nodiscard]] std::optional<DiskRequest::Kind> command_of(WireKind kind);
[[nodiscard]] WireKind wire_kind(DiskRequest::Kind command);

}  // namespace duet::shelf
