// SCSI commands through SG_IO, as the kernel's block devices of SCSI disks take them.

#include <scsi/sg.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "command_runner.h"

namespace duet::shelf {

namespace {

constexpr std::size_t kSenseBytes = 64;
// SG_SCSI_RESET: this unit only, and nothing greater when that fails.
constexpr int kResetUnit = SG_SCSI_RESET_DEVICE | 0x100;  // SG_SCSI_RESET_NO_ESCALATE

// What the kernel says of a command that had no end at the unit (its DID_ codes).
constexpr unsigned kHostTimedOut = 0x03;
constexpr unsigned kHostAborted = 0x05;
constexpr unsigned kHostReset = 0x08;
constexpr unsigned kHostBusy = 0x02;
constexpr unsigned kHostRequeue = 0x0D;
constexpr unsigned kHostDisrupted = 0x0E;

void take_sense(ScsiCommand& command, const std::array<std::uint8_t, kSenseBytes>& sense,
                std::size_t bytes) {
  const std::uint8_t format = sense[0] & 0x7FU;
  const auto code = [&](std::size_t at) {
    return static_cast<std::uint16_t>(sense[at] << 8U | sense[at + 1]);
  };
  command.sense_key = 0;
  command.sense_code = 0;
  if (bytes >= 4 && (format == 0x72 || format == 0x73)) {  // descriptors (SPC-4, 4.5.2)
    command.sense_key = sense[1] & 0xFU;
    command.sense_code = code(2);
  } else if (bytes >= 3 && (format == 0x70 || format == 0x71)) {  // fixed (4.5.3)
    command.sense_key = sense[2] & 0xFU;
    command.sense_code = bytes >= 14 ? code(12) : std::uint16_t{0};
  }
}

void take_status(ScsiCommand& command, const sg_io_hdr& header) {
  switch (header.status & 0x7EU) {
    case 0x02:
      command.status = ScsiStatus::kCheckCondition;
      return;
    case 0x08:
    case 0x18:
    case 0x28:
    case 0x40:
      command.status = static_cast<ScsiStatus>(header.status & 0x7EU);
      return;
    case 0x00:
    case 0x04:  // CONDITION MET
      break;
    default:
      command.status = ScsiStatus::kLost;
      return;
  }
  switch (header.host_status) {
    case 0:
      command.status = ScsiStatus::kGood;
      break;
    case kHostBusy:
    case kHostRequeue:
      command.status = ScsiStatus::kBusy;
      break;
    case kHostAborted:
    case kHostReset:
    case kHostDisrupted:
    case kHostTimedOut:  // and aborted, before this is said
      command.status = ScsiStatus::kTaskAborted;
      break;
    default:
      command.status = ScsiStatus::kLost;
  }
}

class SgRunner final : public CommandRunner {
 public:
  SgRunner(std::shared_ptr<DeviceCalls> device, unsigned timeout_ms)
      : device_(std::move(device)), timeout_ms_(timeout_ms) {}

  void run(ScsiCommand& command) override {
    std::array<std::uint8_t, kSenseBytes> sense{};
    std::vector<iovec> vectors;
    std::size_t bytes = 0;
    for (const MutableBytes part : command.parts) {
      vectors.push_back({part.data(), part.size()});
      bytes += part.size();
    }
    sg_io_hdr header{};
    header.interface_id = 'S';
    header.dxfer_direction = command.data == ScsiCommand::Data::kIn    ? SG_DXFER_FROM_DEV
                             : command.data == ScsiCommand::Data::kOut ? SG_DXFER_TO_DEV
                                                                       : SG_DXFER_NONE;
    header.cmd_len = command.cdb_bytes;
    header.cmdp = command.cdb.data();
    header.mx_sb_len = kSenseBytes;
    header.sbp = sense.data();
    header.timeout = timeout_ms_;
    header.dxfer_len = static_cast<unsigned>(bytes);
    if (vectors.size() == 1) {
      header.dxferp = vectors.front().iov_base;
    } else if (!vectors.empty()) {
      header.iovec_count = static_cast<unsigned short>(vectors.size());
      header.dxferp = vectors.data();
    }
    if (device_->control(SG_IO, &header) < 0) {
      command.status = ScsiStatus::kLost;
      return;
    }
    take_status(command, header);
    if (command.status == ScsiStatus::kCheckCondition) {
      take_sense(command, sense, header.sb_len_wr);
    }
    const std::size_t less = static_cast<std::size_t>(std::max(header.resid, 0));
    command.received =
        command.data == ScsiCommand::Data::kIn ? bytes - std::min(bytes, less) : std::size_t{0};
  }

  bool reset() override {
    int what = kResetUnit;
    return device_->control(SG_SCSI_RESET, &what) >= 0;
  }

 private:
  const std::shared_ptr<DeviceCalls> device_;
  const unsigned timeout_ms_;
};

}  // namespace

std::unique_ptr<CommandRunner> sg_runner(std::shared_ptr<DeviceCalls> device, unsigned timeout_ms) {
  return std::make_unique<SgRunner>(std::move(device), timeout_ms);
}

}  // namespace duet::shelf
