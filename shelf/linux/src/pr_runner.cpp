// Reservations through the kernel's pr ioctls, for disks that have no language of their own here,
// and for the paths of a multipath disk, which the kernel registers all.

#include <linux/pr.h>
#include <linux/types.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "translating_runner.h"

namespace duet::shelf {

namespace {

// Of linux/pr.h since 6.19; the headers that this is built with may be older.
struct ReadKeys {
  std::uint32_t generation;
  std::uint32_t count;  // in: room; out: there are
  std::uint64_t keys;   // address
};
struct ReadReservation {
  std::uint64_t key;
  std::uint32_t generation;
  std::uint32_t type;  // 0: none
};
static_assert(sizeof(ReadKeys) == 16 && sizeof(ReadReservation) == 16);
constexpr unsigned long kReadKeys = _IOWR('p', 206, ReadKeys);
constexpr unsigned long kReadReservation = _IOR('p', 207, ReadReservation);

constexpr std::size_t kKeysMax = 512;

// The kernel names the types as NVMe does.
constexpr std::array<std::uint8_t, 7> kScsiTypes{0, 1, 3, 5, 6, 7, 8};

class PrRunner final : public TranslatingRunner {
 public:
  PrRunner(std::shared_ptr<DeviceCalls> device, std::uint64_t blocks)
      : TranslatingRunner(std::move(device), blocks) {}

 private:
  Outcome call(unsigned long request, void* argument) {
    const int said = device().control(request, argument);
    if (said == 0) {
      return Outcome::kDone;
    }
    if (said < 0) {
      switch (-said) {
        case EBADE:
          return Outcome::kConflict;
        case EINTR:
        case EAGAIN:
          return Outcome::kAgain;
        case ENOTTY:
        case EOPNOTSUPP:
        case EINVAL:
          return Outcome::kUnknown;
        default:
          return Outcome::kFailed;
      }
    }
    // The unit's status: SCSI's (or as it, 6.3 and later) in the low byte, NVMe's in eleven bits.
    if ((said & 0xFF) == 0x18 || (said & 0x7FF) == 0x83) {
      return Outcome::kConflict;
    }
    return (said & 0xFF) == 0x08 || (said & 0xFF) == 0x28 ? Outcome::kAgain : Outcome::kFailed;
  }

  Outcome read(Held& held) override {
    std::array<std::uint64_t, kKeysMax> keys{};
    ReadKeys all{.generation = 0, .count = kKeysMax, .keys = 0};
    all.keys = reinterpret_cast<std::uintptr_t>(keys.data());
    const Outcome listed = call(kReadKeys, &all);
    if (listed != Outcome::kDone) {
      return listed;
    }
    ReadReservation reservation{};
    const Outcome told = call(kReadReservation, &reservation);
    if (told != Outcome::kDone) {
      return told;
    }
    if (all.count > kKeysMax) {
      return Outcome::kFailed;
    }
    held = {.generation = all.generation,
            .keys = {keys.begin(), keys.begin() + all.count},
            .holder = reservation.key,
            .type = reservation.type < kScsiTypes.size() ? kScsiTypes[reservation.type]
                                                         : std::uint8_t{7}};
    return Outcome::kDone;
  }

  // The kernel asks for persistence with every key, and does not tell whether there is any: none is
  // claimed.
  Outcome ask(Abilities& abilities) override {
    abilities = {.persists = false, .exclusive_access = true, .aborts = true};
    return Outcome::kDone;
  }

  Outcome change(const Change& what) override {
    const auto found = std::ranges::find(kScsiTypes, what.type);
    const auto type = static_cast<std::uint32_t>(found - kScsiTypes.begin());
    switch (what.action) {
      case 0:
      case 6: {
        pr_registration list{};
        list.old_key = what.action == 6 ? what.other : what.key;
        list.new_key = what.other;
        list.flags = what.action == 6 ? PR_FL_IGNORE_KEY : 0;
        const Outcome replaced = call(IOC_PR_REGISTER, &list);
        if (replaced != Outcome::kConflict || what.action != 6) {
          return replaced;
        }
        list.old_key = 0;
        return call(IOC_PR_REGISTER, &list);
      }
      case 1: {
        pr_reservation list{.key = what.key, .type = type, .flags = 0};
        return call(IOC_PR_RESERVE, &list);
      }
      case 2: {
        pr_reservation list{.key = what.key, .type = type, .flags = 0};
        return call(IOC_PR_RELEASE, &list);
      }
      case 3: {
        pr_clear list{};
        list.key = what.key;
        return call(IOC_PR_CLEAR, &list);
      }
      case 4:
      case 5: {
        // "old": mine, "new": the victim's, whatever the names say.
        pr_preempt list{.old_key = what.key, .new_key = what.other, .type = type, .flags = 0};
        return call(what.action == 4 ? IOC_PR_PREEMPT : IOC_PR_PREEMPT_ABORT, &list);
      }
      default:
        return Outcome::kUnknown;
    }
  }
};

// A command goes to one path, a change of keys or reservation to all.
class MultipathRunner final : public CommandRunner {
 public:
  MultipathRunner(std::shared_ptr<DeviceCalls> device, std::uint64_t blocks,
                  std::unique_ptr<CommandRunner> scsi)
      : pr_(std::move(device), blocks), scsi_(std::move(scsi)) {}
  void run(ScsiCommand& command) override {
    constexpr std::uint8_t kReserveOut = 0x5F;
    if (command.cdb[0] == kReserveOut) {
      pr_.run(command);
    } else {
      scsi_->run(command);
    }
  }
  bool reset() override { return scsi_->reset(); }

 private:
  PrRunner pr_;
  const std::unique_ptr<CommandRunner> scsi_;
};

}  // namespace

std::unique_ptr<CommandRunner> pr_runner(std::shared_ptr<DeviceCalls> device, std::uint64_t blocks,
                                         std::unique_ptr<CommandRunner> scsi) {
  if (scsi == nullptr) {
    return std::make_unique<PrRunner>(std::move(device), blocks);
  }
  return std::make_unique<MultipathRunner>(std::move(device), blocks, std::move(scsi));
}

}  // namespace duet::shelf
