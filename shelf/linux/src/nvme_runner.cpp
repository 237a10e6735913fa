// NVMe reservations (NVM Express Base 2.0, 7.5 to 7.8 and 8.19) through the kernel's passthrough.
//
// Not its pr ioctls: those read no keys before kernel 6.19 and hide what the controller said.
//
// A key is a host's, on all its controllers: a path is no more than a path, and a process of this
// machine that registers replaces the key of the one before.  Preempt and Abort ends what the other
// host has under way.

#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "translating_runner.h"

namespace duet::shelf {

namespace {

constexpr std::uint8_t kIdentify = 0x06;  // an administrative command
constexpr std::uint8_t kRegister = 0x0D;
constexpr std::uint8_t kReport = 0x0E;
constexpr std::uint8_t kAcquire = 0x11;
constexpr std::uint8_t kRelease = 0x15;

// Actions, in the lowest bits of dword 10.
constexpr std::uint32_t kRegisterNew = 0;
constexpr std::uint32_t kUnregister = 1;
constexpr std::uint32_t kReplace = 2;
constexpr std::uint32_t kAcquireIt = 0;
constexpr std::uint32_t kPreempt = 1;
constexpr std::uint32_t kPreemptAndAbort = 2;
constexpr std::uint32_t kReleaseIt = 0;
constexpr std::uint32_t kClear = 1;
constexpr std::uint32_t kIgnoreExistingKey = 1U << 3U;
constexpr std::uint32_t kPersist = 3U << 30U;
constexpr std::uint32_t kDoNotPersist = 2U << 30U;

// Status: type and code, without the bits that say whether to try again.
constexpr int kStatusMask = 0x7FF;
constexpr int kInvalidOpcode = 0x01;
constexpr int kInvalidField = 0x02;
constexpr int kInconsistentHostId = 0x18;
constexpr int kNotReady = 0x82;
constexpr int kReservationConflict = 0x83;

constexpr std::size_t kReportBytes = 4096;
constexpr std::size_t kReportHeaderBytes = 24;
constexpr std::size_t kRegistrantBytes = 24;
constexpr std::size_t kExtendedHeaderBytes = 64;
constexpr std::size_t kExtendedRegistrantBytes = 64;

constexpr std::size_t kNamespaceCapabilities = 31;  // RESCAP, of what Identify gives

// NVMe counts the types from 1 to 6; SPC-4 names them 1, 3, 5, 6, 7, 8.
constexpr std::array<std::uint8_t, 7> kScsiTypes{0, 1, 3, 5, 6, 7, 8};

std::uint32_t nvme_type(std::uint8_t scsi) {
  const auto* const found = std::ranges::find(kScsiTypes, scsi);
  return static_cast<std::uint32_t>(found - kScsiTypes.begin());
}

class NvmeRunner final : public TranslatingRunner {
 public:
  NvmeRunner(std::shared_ptr<DeviceCalls> device, std::uint32_t nsid, std::uint64_t blocks,
             unsigned timeout_ms)
      : TranslatingRunner(std::move(device), blocks), nsid_(nsid), timeout_ms_(timeout_ms) {}
  [[nodiscard]] bool aborts_are_believed() const override { return true; }

 private:
  Outcome send(unsigned long request, nvme_passthru_cmd& command) {
    command.nsid = nsid_;
    command.timeout_ms = timeout_ms_;
    const int said = device().control(request, &command);
    if (said == 0) {
      return Outcome::kDone;
    }
    if (said < 0) {
      return said == -EINTR || said == -EAGAIN ? Outcome::kAgain : Outcome::kFailed;
    }
    switch (said & kStatusMask) {
      case kReservationConflict:
        return Outcome::kConflict;
      case kInvalidOpcode:
      case kInvalidField:
      case kInconsistentHostId:
        return Outcome::kUnknown;
      case kNotReady:
        return Outcome::kAgain;
      default:
        return Outcome::kFailed;
    }
  }

  // Both layouts: which one is the host identifier's, and only the controller knows that.
  Outcome read(Held& held) override {
    const Outcome extended = read(held, true);
    return extended == Outcome::kUnknown ? read(held, false) : extended;
  }

  Outcome read(Held& held, bool extended) {
    alignas(4096) std::array<std::byte, kReportBytes> report{};
    nvme_passthru_cmd command{};
    command.opcode = kReport;
    command.addr = reinterpret_cast<std::uintptr_t>(report.data());
    command.data_len = kReportBytes;
    command.cdw10 = kReportBytes / 4 - 1;
    command.cdw11 = extended ? 1 : 0;
    const Outcome told = send(NVME_IOCTL_IO_CMD, command);
    if (told != Outcome::kDone) {
      return told;
    }
    const ConstBytes bytes(report);
    const std::size_t header = extended ? kExtendedHeaderBytes : kReportHeaderBytes;
    const std::size_t each = extended ? kExtendedRegistrantBytes : kRegistrantBytes;
    const std::size_t count =
        static_cast<std::size_t>(bytes[5]) | static_cast<std::size_t>(bytes[6]) << 8U;
    if (header + count * each > bytes.size()) {
      return Outcome::kFailed;  // more than a pair has
    }
    held = {};
    held.generation = load<std::uint32_t>(bytes, 0);
    const auto type = static_cast<std::size_t>(bytes[4]);
    held.type = type < kScsiTypes.size() ? kScsiTypes[type] : std::uint8_t{7};
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = header + i * each;
      const auto key = load<std::uint64_t>(bytes, at + (extended ? 8 : 16));
      held.keys.push_back(key);
      if ((static_cast<unsigned>(bytes[at + 2]) & 1U) != 0) {
        held.holder = key;
      }
    }
    return Outcome::kDone;
  }

  Outcome ask(Abilities& abilities) override {
    alignas(4096) std::array<std::byte, 4096> identity{};
    nvme_passthru_cmd command{};
    command.opcode = kIdentify;
    command.addr = reinterpret_cast<std::uintptr_t>(identity.data());
    command.data_len = identity.size();
    const Outcome told = send(NVME_IOCTL_ADMIN_CMD, command);
    if (told != Outcome::kDone) {
      return told;
    }
    const auto offered = static_cast<unsigned>(identity[kNamespaceCapabilities]);
    abilities.persists = (offered & 1U) != 0;
    abilities.exclusive_access = (offered & 1U << 4U) != 0;
    abilities.aborts = offered != 0;  // part of every namespace with reservations
    return Outcome::kDone;
  }

  Outcome change(const Change& what) override {
    switch (what.action) {
      case 0:
      case 6:
        return change_key(what);
      case 1:
        return acquire(what, kAcquireIt);
      case 2:
        return release(what, kReleaseIt);
      case 3:
        return release(what, kClear);
      case 4:
        return acquire(what, kPreempt);
      case 5:
        return acquire(what, kPreemptAndAbort);
      default:
        return Outcome::kUnknown;
    }
  }

  Outcome change_key(const Change& what) {
    if (what.other == 0) {
      return send_keys(kRegister, kUnregister, what.key, 0);
    }
    const std::uint32_t persist = what.persist ? kPersist : kDoNotPersist;
    const std::uint32_t ignore = what.action == 6 ? kIgnoreExistingKey : 0;
    // A host without a key is not everywhere given one by Replace.
    const Outcome replaced =
        send_keys(kRegister, kReplace | ignore | persist, what.key, what.other);
    if (replaced != Outcome::kConflict || what.action != 6) {
      return replaced;
    }
    return send_keys(kRegister, kRegisterNew | persist, 0, what.other);
  }

  Outcome acquire(const Change& what, std::uint32_t action) {
    return send_keys(kAcquire, action | nvme_type(what.type) << 8U, what.key, what.other);
  }

  Outcome release(const Change& what, std::uint32_t action) {
    std::array<std::uint64_t, 1> list{what.key};
    return send_list(kRelease, action | nvme_type(what.type) << 8U, list);
  }

  Outcome send_keys(std::uint8_t opcode, std::uint32_t dword10, std::uint64_t key,
                    std::uint64_t other) {
    std::array<std::uint64_t, 2> list{key, other};
    return send_list(opcode, dword10, list);
  }

  Outcome send_list(std::uint8_t opcode, std::uint32_t dword10, std::span<std::uint64_t> list) {
    nvme_passthru_cmd command{};
    command.opcode = opcode;
    command.addr = reinterpret_cast<std::uintptr_t>(list.data());
    command.data_len = static_cast<std::uint32_t>(list.size_bytes());
    command.cdw10 = dword10;
    return send(NVME_IOCTL_IO_CMD, command);
  }

  const std::uint32_t nsid_;
  const unsigned timeout_ms_;
};

}  // namespace

std::unique_ptr<CommandRunner> nvme_runner(std::shared_ptr<DeviceCalls> device, std::uint32_t nsid,
                                           std::uint64_t blocks, unsigned timeout_ms) {
  return std::make_unique<NvmeRunner>(std::move(device), nsid, blocks, timeout_ms);
}

}  // namespace duet::shelf
