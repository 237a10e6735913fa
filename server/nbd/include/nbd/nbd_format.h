// The numbers of the NBD protocol, and how its messages lie on the wire: all big-endian.
// Source: doc/proto.md of NetworkBlockDevice/nbd.
//
//   server: kInitMagic kOptionMagic flags16
//   client: flags32, then options: kOptionMagic option32 bytes32 data
//   server: per option replies: kOptionReplyMagic option32 type32 bytes32 data; the last one is an
//           acknowledgement or an error.  To kExportName: size64 flags16, 124 zeros unless waived.
//   client: requests of 28 bytes, a write's data behind it
//   server: replies of 16 bytes in any order, a successful read's data behind it

#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace duet::nbd {

inline constexpr std::uint64_t kInitMagic = 0x4E42'444D'4147'4943;    // "NBDMAGIC"
inline constexpr std::uint64_t kOptionMagic = 0x4948'4156'454F'5054;  // "IHAVEOPT"
inline constexpr std::uint64_t kOptionReplyMagic = 0x0003'E889'0455'65A9;
inline constexpr std::uint32_t kRequestMagic = 0x2560'9513;
inline constexpr std::uint32_t kReplyMagic = 0x6744'6698;

// Handshake flags; the client's answer has the same bits.
inline constexpr std::uint16_t kFixedNewstyle = 1U << 0U;
inline constexpr std::uint16_t kNoZeroes = 1U << 1U;

// Transmission flags.
inline constexpr std::uint16_t kHasFlags = 1U << 0U;
inline constexpr std::uint16_t kReadOnly = 1U << 1U;
inline constexpr std::uint16_t kSendFlush = 1U << 2U;
inline constexpr std::uint16_t kSendFua = 1U << 3U;
inline constexpr std::uint16_t kSendWriteZeroes = 1U << 6U;
inline constexpr std::uint16_t kCanMultiConn = 1U << 8U;

enum class Option : std::uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kInfo = 6,
  kGo = 7,
};

enum class OptionReply : std::uint32_t {
  kAcknowledged = 1,
  kServer = 2,
  kInfo = 3,
  kUnsupported = 0x8000'0001,
  kInvalid = 0x8000'0003,
  kUnknown = 0x8000'0006,   // no such export
  kShutdown = 0x8000'0007,  // not now: ask another node
  kTooBig = 0x8000'0009,
};

// What a kInfo reply tells.
enum class Info : std::uint16_t { kExport = 0, kBlockSize = 3 };

enum class Command : std::uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kWriteZeroes = 6,
};

// Flags of requests.
inline constexpr std::uint16_t kFua = 1U << 0U;
inline constexpr std::uint16_t kNoHole = 1U << 1U;  // of kWriteZeroes

enum class ReplyError : std::uint32_t {
  kNone = 0,
  kPermission = 1,
  kIo = 5,
  kInvalid = 22,
  kNoSpace = 28,
};

inline constexpr std::size_t kGreetingBytes = 18;
inline constexpr std::size_t kClientFlagsBytes = 4;
inline constexpr std::size_t kOptionBytes = 16;
inline constexpr std::size_t kOptionReplyBytes = 20;
inline constexpr std::size_t kExportNameReplyBytes = 10;
inline constexpr std::size_t kExportNameZeroes = 124;
inline constexpr std::size_t kRequestBytes = 28;
inline constexpr std::size_t kReplyBytes = 16;
static_assert(kOptionBytes == 8 + 4 + 4 && kOptionReplyBytes == 8 + 4 + 4 + 4);
static_assert(kRequestBytes == 4 + 2 + 2 + 8 + 8 + 4 && kReplyBytes == 4 + 4 + 8);

// Requests are whole blocks: the group's locks and intents know nothing smaller.
inline constexpr std::uint32_t kBlockSizeMin = kBlockBytes;
inline constexpr std::uint32_t kBlockSizePreferred = kBlockBytes;
// What a client that was told nothing keeps to.
inline constexpr std::uint32_t kBlockSizeMax = 32U << 20U;

struct Request {
  std::uint32_t magic = 0;
  std::uint16_t flags = 0;
  std::uint16_t command = 0;
  std::uint64_t cookie = 0;  // the client's, for the reply
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
};

template <typename T>
requires std::is_unsigned_v<T>
[[nodiscard]] constexpr T big_endian(T value) {
  if constexpr (sizeof(T) == 8) {
    return __builtin_bswap64(value);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    static_assert(sizeof(T) == 2);
    return __builtin_bswap16(value);
  }
}
// REQUIRES: there are as many bytes.
template <typename T>
[[nodiscard]] T load_big(ConstBytes bytes, std::size_t offset) {
  return big_endian(load<T>(bytes, offset));
}
template <typename T>
void store_big(MutableBytes bytes, std::size_t offset, T value) {
  store(bytes, offset, big_endian(value));
}

// REQUIRES: kRequestBytes.
[[nodiscard]] inline Request load_request(ConstBytes bytes) {
  Request request;
  request.magic = load_big<std::uint32_t>(bytes, 0);
  request.flags = load_big<std::uint16_t>(bytes, 4);
  request.command = load_big<std::uint16_t>(bytes, 6);
  request.cookie = load_big<std::uint64_t>(bytes, 8);
  request.offset = load_big<std::uint64_t>(bytes, 16);
  request.bytes = load_big<std::uint32_t>(bytes, 24);
  return request;
}

}  // namespace duet::nbd
