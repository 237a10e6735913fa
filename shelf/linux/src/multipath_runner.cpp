// A multipath disk: a key must be registered through every path, for a unit knows a path as a nexus
// of its own, and the kernel does that for its pr ioctls.  They cannot read (before kernel 6.19),
// and say little: what else there is to ask goes to a path as it is.

#include <linux/pr.h>
#include <linux/types.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "command_runner.h"

namespace duet::shelf {

namespace {

constexpr std::uint8_t kReserveOut = 0x5F;
constexpr std::size_t kListBytes = 24;

// The kernel counts the types from 1 to 6; SPC-4 names them 1, 3, 5, 6, 7, 8.
constexpr std::array<std::uint8_t, 7> kScsiTypes{0, 1, 3, 5, 6, 7, 8};

// PERSISTENT RESERVE OUT and its parameter list.
struct Change {
  std::uint8_t action = 0;
  std::uint32_t type = 0;  // the kernel's
  std::uint64_t key = 0;
  std::uint64_t other = 0;
};

std::uint64_t number(const std::array<std::uint8_t, kListBytes>& from, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value = value << 8U | from[at + i];
  }
  return value;
}

Change change_of(const ScsiCommand& command) {
  std::array<std::uint8_t, kListBytes> list{};
  std::size_t at = 0;
  for (const MutableBytes part : command.parts) {
    for (std::size_t i = 0; i < part.size() && at < list.size(); ++i) {
      list[at++] = static_cast<std::uint8_t>(part[i]);
    }
  }
  const auto* const type = std::ranges::find(kScsiTypes, command.cdb[2] & 0xFU);
  return {.action = static_cast<std::uint8_t>(command.cdb[1] & 0x1FU),
          .type = static_cast<std::uint32_t>(type - kScsiTypes.begin()),
          .key = number(list, 0),
          .other = number(list, 8)};
}

class MultipathRunner final : public CommandRunner {
 public:
  MultipathRunner(std::shared_ptr<DeviceCalls> device, std::unique_ptr<CommandRunner> scsi)
      : device_(std::move(device)), scsi_(std::move(scsi)) {}

  void run(ScsiCommand& command) override {
    if (command.cdb[0] != kReserveOut) {
      scsi_->run(command);
      return;
    }
    command.sense_key = 0;
    command.sense_code = 0;
    take_outcome(command, change(change_of(command)));
  }
  bool reset() override { return scsi_->reset(); }

 private:
  int change(const Change& what) {
    switch (what.action) {
      case 0:    // REGISTER
      case 6: {  // REGISTER AND IGNORE EXISTING KEY
        pr_registration list{};
        list.old_key = what.action == 6 ? 0 : what.key;
        list.new_key = what.other;
        list.flags = what.action == 6 ? PR_FL_IGNORE_KEY : 0;
        return device_->control(IOC_PR_REGISTER, &list);
      }
      case 1: {
        pr_reservation list{.key = what.key, .type = what.type, .flags = 0};
        return device_->control(IOC_PR_RESERVE, &list);
      }
      case 2: {
        pr_reservation list{.key = what.key, .type = what.type, .flags = 0};
        return device_->control(IOC_PR_RELEASE, &list);
      }
      case 3: {
        pr_clear list{};
        list.key = what.key;
        return device_->control(IOC_PR_CLEAR, &list);
      }
      case 4: {
        // "old" is mine and "new" the victim's, whatever the names say.
        pr_preempt list{.old_key = what.key, .new_key = what.other, .type = what.type, .flags = 0};
        return device_->control(IOC_PR_PREEMPT, &list);
      }
      default:
        return -EOPNOTSUPP;
    }
  }

  // 0; -errno; or the unit's status, in the lowest byte of what a host adapter adds to it.
  static void take_outcome(ScsiCommand& command, int said) {
    const auto status = static_cast<unsigned>(said) & 0xFFU;
    if (said == 0) {
      command.status = ScsiStatus::kGood;
    } else if (said == -EBADE || (said > 0 && status == 0x18)) {
      command.status = ScsiStatus::kReservationConflict;
    } else if (said == -EINTR || said == -EAGAIN || (said > 0 && status == 0x08)) {
      command.status = ScsiStatus::kBusy;
    } else if (said > 0 && status == 0x02) {
      // News of the unit (a reset, a preemption) or a refusal, and nobody says which: the news are
      // told once, so that trying again ends either way.
      command.status = ScsiStatus::kBusy;
    } else {
      command.status = ScsiStatus::kCheckCondition;
      command.sense_key = said == -EOPNOTSUPP || said == -EINVAL || said == -ENOTTY ? 5 : 4;
    }
  }

  const std::shared_ptr<DeviceCalls> device_;
  const std::unique_ptr<CommandRunner> scsi_;
};

}  // namespace

std::unique_ptr<CommandRunner> multipath_runner(std::shared_ptr<DeviceCalls> device,
                                                std::unique_ptr<CommandRunner> scsi) {
  return std::make_unique<MultipathRunner>(std::move(device), std::move(scsi));
}

}  // namespace duet::shelf
