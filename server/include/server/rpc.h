// ONC RPC version 2 (RFC 5531): the numbers on the wire.

#pragma once

#include <cstddef>
#include <cstdint>

namespace duet::server {

inline constexpr std::uint32_t kRpcVersion = 2;
inline constexpr std::uint32_t kLastFragment = 0x8000'0000U;  // of a record mark, section 11

// The longest record taken: the largest WRITE (1 MiB) with everything before it.
inline constexpr std::size_t kRecordBytesMax = (1U << 20U) + (64U << 10U);
// Fragments in one record.  Enough for 1 MiB in the 4,000-byte fragments that the smallest
// known client buffers make; a stranger who sends empty ones for ever is cut off.
inline constexpr std::uint32_t kFragmentsMax = 1024;

enum class MessageType : std::uint32_t { kCall = 0, kReply = 1 };
enum class ReplyStatus : std::uint32_t { kAccepted = 0, kDenied = 1 };
enum class RejectStatus : std::uint32_t { kRpcMismatch = 0, kAuthError = 1 };

enum class AcceptStatus : std::uint32_t {
  kSuccess = 0,
  kProgramUnavailable = 1,
  kProgramMismatch = 2,
  kProcedureUnavailable = 3,
  kGarbageArguments = 4,
  kSystemError = 5,
  // Not on the wire: the caller gets no answer, because none that is true may be given here
  // (another node owns the filer, or it is closing).  The connection is closed, so that the client
  // asks again.
  kNoReply = 0xFFFF'FFFFU,
};

enum class AuthStatus : std::uint32_t {
  kOk = 0,
  kBadCredential = 1,
  kRejectedCredential = 2,
  kBadVerifier = 3,
  kRejectedVerifier = 4,
  kTooWeak = 5,
};

enum class AuthFlavor : std::uint32_t { kNone = 0, kSys = 1, kShort = 2 };

inline constexpr std::size_t kAuthBytesMax = 400;    // section 8.2
inline constexpr std::size_t kMachineNameMax = 255;  // appendix A

inline constexpr std::uint32_t kPortmapProgram = 100'000;
inline constexpr std::uint32_t kNfsProgram = 100'003;
inline constexpr std::uint32_t kMountProgram = 100'005;

}  // namespace duet::server
