// What the parts of ScsiDisk share: the commands' numbers, and a command that is awaited.

#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <span>

#include "platform/block_device.h"
#include "shelf/scsi_disk.h"

namespace duet::shelf {

// Operation codes and service actions (SPC-4, SBC-3).
inline constexpr std::uint8_t kTestUnitReady = 0x00;
inline constexpr std::uint8_t kInquiry = 0x12;
inline constexpr std::uint8_t kReserveIn = 0x5E;
inline constexpr std::uint8_t kReserveOut = 0x5F;
inline constexpr std::uint8_t kRead16 = 0x88;
inline constexpr std::uint8_t kCompareAndWrite = 0x89;
inline constexpr std::uint8_t kWrite16 = 0x8A;
inline constexpr std::uint8_t kSynchronizeCache16 = 0x91;
inline constexpr std::uint8_t kSynchronizeCache10 = 0x35;
inline constexpr std::uint8_t kServiceActionIn = 0x9E;
inline constexpr std::uint8_t kReadCapacity16 = 0x10;
inline constexpr std::uint8_t kMaintenanceIn = 0xA3;
inline constexpr std::uint8_t kReportSupportedCodes = 0x0C;
inline constexpr std::uint8_t kBlockLimitsPage = 0xB0;

inline constexpr std::uint8_t kReadKeys = 0;
inline constexpr std::uint8_t kReadReservation = 1;
inline constexpr std::uint8_t kReportCapabilities = 2;
inline constexpr std::uint8_t kRegister = 0;
inline constexpr std::uint8_t kReserve = 1;
inline constexpr std::uint8_t kRelease = 2;
inline constexpr std::uint8_t kClear = 3;
inline constexpr std::uint8_t kPreempt = 4;
inline constexpr std::uint8_t kPreemptAndAbort = 5;
inline constexpr std::uint8_t kRegisterAndIgnore = 6;

inline constexpr std::uint8_t kForceUnitAccess = 0x08;
inline constexpr std::uint8_t kIllegalRequest = 5;
inline constexpr std::uint8_t kUnitAttention = 6;
inline constexpr std::uint8_t kAbortedCommand = 0xB;
inline constexpr std::uint8_t kMiscompare = 0xE;

inline constexpr std::uint8_t kModeSense = 0x1A;
inline constexpr std::uint8_t kCachingPage = 0x08;
inline constexpr std::uint8_t kNoBlockDescriptors = 0x08;
inline constexpr std::uint8_t kWriteCacheEnabled = 0x04;

inline constexpr std::size_t kKeysBytes = 4096;  // room for 511 keys
// What every target takes at once; more is divided.
inline constexpr std::uint32_t kTransferBytes = std::uint32_t{256} << 10U;
inline constexpr int kAttempts = 32;
inline constexpr Error kClosedError{Errc::kClosed, "the disk is closed"};
inline constexpr Duration kBusyPause = std::chrono::milliseconds(20);

template <std::size_t kBytes>
void put(std::span<std::uint8_t> to, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < kBytes; ++i) {
    to[at + i] = static_cast<std::uint8_t>(value >> 8U * (kBytes - 1 - i));
  }
}
template <std::size_t kBytes>
void put_big(MutableBytes to, std::size_t at, std::uint64_t value) {
  std::array<std::uint8_t, kBytes> bytes{};
  put<kBytes>(bytes, 0, value);
  std::ranges::copy(std::as_bytes(std::span(bytes)), to.subspan(at).begin());
}
template <std::size_t kBytes>
std::uint64_t get(ConstBytes from, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kBytes; ++i) {
    value = value << 8U | static_cast<std::uint8_t>(from[at + i]);
  }
  return value;
}

// Registrants only.
inline std::uint8_t type_of(Reservation kind) {
  return kind == Reservation::kExclusiveAccess ? 6 : 5;
}

// A key that is not of the unit's own kind ("5": others may hold another) still is a reservation.
inline Reservation kind_of(std::uint8_t type) {
  switch (type & 0xFU) {
    case 3:
    case 6:
    case 8:
      return Reservation::kExclusiveAccess;
    default:
      return Reservation::kWriteExclusive;
  }
}

struct alignas(kBlockBytes) Page {
  std::array<std::byte, kKeysBytes> bytes{};
};

// One attempt at a command, awaited.
struct ScsiDisk::Call final : ScsiCommand {
  Call(std::uint8_t opcode, std::uint8_t bytes) {
    cdb[0] = opcode;
    cdb_bytes = bytes;
  }
  void run() override { waiting.resume(); }
  // It changes what the unit holds: a late end of it would matter.
  bool writes = false;
  // Only with my key, if that was registered: reads, writes, swaps.
  bool for_data = false;
  // Part of a session's beginning.
  bool recovers = false;
  [[nodiscard]] bool refused_as_unknown() const {
    return status == ScsiStatus::kCheckCondition && sense_key == kIllegalRequest;
  }
  std::coroutine_handle<> waiting;

  class [[nodiscard]] Await {
   public:
    Await(ScsiTransport& transport, Call& call) : transport_(transport), call_(call) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) {
      call_.waiting = coroutine;
      transport_.start(call_);
    }
    void await_resume() const noexcept {}

   private:
    ScsiTransport& transport_;
    Call& call_;
  };
};

// A reset, awaited: whether it was done.
struct ResetAwait final : ScsiReset {
  explicit ResetAwait(ScsiTransport& to) : transport(to) {}
  void run() override { waiting.resume(); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    waiting = coroutine;
    transport.start_reset(*this);
  }
  bool await_resume() const noexcept { return done; }
  ScsiTransport& transport;
  std::coroutine_handle<> waiting;
};

}  // namespace duet::shelf
