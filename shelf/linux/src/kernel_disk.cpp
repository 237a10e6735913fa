#include "kernel_disk.h"

#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>

#include "command_runner.h"
#include "platform/linux/block_device.h"
#include "platform/wait.h"
#include "shelf/scsi_disk.h"

namespace duet::shelf {

namespace {

constexpr Duration kRetry = std::chrono::milliseconds(50);

enum class Way { kScsi, kMultipath, kNvme };

// The device's folder in sysfs.
std::string sysfs_of(dev_t device) {
  return "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

bool is_there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Status check_kind(const std::string& path, dev_t& device) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    return Error{Errc::kNotFound, "there is no such device"};
  }
  if (!S_ISBLK(status.st_mode)) {
    return Error{Errc::kInvalid, "not a block device; duet-shelf serves files"};
  }
  device = status.st_rdev;
  if (is_there(sysfs_of(device) + "/partition")) {
    return Error{Errc::kNotSupported,
                 "a partition: its reservations are the whole disk's; name the disk"};
  }
  return Ok{};
}

struct Inquiry final : ScsiCommand {
  void run() override {}
  std::array<std::byte, 96> bytes{};
  MutableBytes part{bytes};
  explicit Inquiry(bool reservations) {
    cdb[0] = reservations ? 0x5E : 0x12;  // PERSISTENT RESERVE IN, READ KEYS; INQUIRY
    cdb_bytes = reservations ? 10 : 6;
    cdb[reservations ? 8 : 4] = 96;
    data = Data::kIn;
    parts = std::span<const MutableBytes>(&part, 1);
  }
};

// A SCSI disk, that this process may ask for its keys.  Ok: true or false.
Result<bool> answers_scsi(CommandRunner& scsi) {
  constexpr int kAttempts = 3;  // news of the unit may come first, and second
  for (int i = 0; i < kAttempts; ++i) {
    Inquiry inquiry(false);
    scsi.run(inquiry);
    if (inquiry.status == ScsiStatus::kLost) {
      return false;
    }
  }
  for (int i = 0; i < kAttempts; ++i) {
    Inquiry keys(true);
    scsi.run(keys);
    if (keys.status == ScsiStatus::kLost) {
      return Error{Errc::kAccess, "reservations need the capability CAP_SYS_RAWIO"};
    }
  }
  return true;
}

Result<Way> way_of(dev_t device, DeviceCalls& calls, CommandRunner& scsi) {
  const std::string sysfs = sysfs_of(device);
  const bool mapped = is_there(sysfs + "/dm");
  if (mapped && !first_line(sysfs + "/dm/uuid").starts_with("mpath-")) {
    return Error{Errc::kNotSupported,
                 "a mapped device other than multipath; name the disk below it, or serve this one "
                 "with duet-shelf"};
  }
  if (!mapped && calls.control(NVME_IOCTL_ID, nullptr) > 0) {
    return Way::kNvme;
  }
  const Result<bool> is_scsi = answers_scsi(scsi);
  if (!is_scsi.ok()) {
    return is_scsi.error();
  }
  if (!is_scsi.value()) {
    return Error{Errc::kNotSupported,
                 "neither SCSI nor NVMe, and so without reservations; serve it with duet-shelf"};
  }
  return mapped ? Way::kMultipath : Way::kScsi;
}

// Errors: as open_block_device.
Task<Result<std::unique_ptr<BlockDevice>>> take_device(os::EpollScheduler& scheduler,
                                                       std::string path, std::string name,
                                                       Duration within) {
  const Instant end = scheduler.now() + within;
  for (;;) {
    auto taken = os::open_block_device(scheduler, path, {.name = name});
    // Of a process that was just killed the kernel holds the device until its I/O has ended: that
    // is what lets nothing of it land behind us.
    const bool in_use = !taken.ok() && taken.error().code == Errc::kRefused;
    if (!in_use || scheduler.now() >= end) {
      co_return taken;
    }
    co_await sleep(scheduler, kRetry);
  }
}

}  // namespace

Task<Result<std::unique_ptr<SharedDisk>>> open_kernel_disk(os::EpollScheduler& scheduler,
                                                           std::string path, OpenOptions options) {
  dev_t device{};
  const Status kind = check_kind(path, device);
  if (!kind.ok()) {
    co_return kind.error();
  }
  std::string name = options.name.empty() ? "block://" + path : options.name;
  auto data = co_await take_device(scheduler, path, name, options.silence_max);
  if (!data.ok()) {
    co_return data.error();
  }
  const std::shared_ptr<DeviceCalls> calls = open_device_calls(path);
  if (calls == nullptr) {
    co_return Error{Errc::kAccess, "the device cannot be opened for commands"};
  }
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.silence_max);
  const auto timeout_ms = static_cast<unsigned>(std::max<std::int64_t>(1000, timeout.count()));
  std::unique_ptr<CommandRunner> runner = sg_runner(calls, timeout_ms);
  const Result<Way> way = way_of(device, *calls, *runner);
  if (!way.ok()) {
    co_return way.error();
  }
  const std::uint64_t blocks = data.value()->block_count();
  switch (way.value()) {
    case Way::kScsi:
      break;
    case Way::kNvme:
      runner =
          nvme_runner(calls, static_cast<std::uint32_t>(calls->control(NVME_IOCTL_ID, nullptr)),
                      blocks, timeout_ms);
      break;
    case Way::kMultipath:
      runner = multipath_runner(calls, std::move(runner));
      break;
  }
  auto transport = kernel_transport(scheduler, path, std::move(runner));
  int unit_bytes = 0;
  if (calls->control(BLKSSZGET, &unit_bytes) < 0 || unit_bytes < 512 || unit_bytes > 4096) {
    co_return Error{Errc::kNotSupported, "the device's blocks do not divide 4096"};
  }
  ScsiDiskOptions scsi{.key = options.key,
                       .name = std::move(name),
                       .data = std::move(data.value()),
                       .data_unit_bytes = static_cast<std::uint32_t>(unit_bytes),
                       .fail_after = options.fail_after};
  auto disk = co_await ScsiDisk::open(scheduler, std::move(transport), std::move(scsi));
  if (!disk.ok()) {
    co_return disk.error();
  }
  co_return std::unique_ptr<SharedDisk>(std::move(disk.value()));
}

}  // namespace duet::shelf
