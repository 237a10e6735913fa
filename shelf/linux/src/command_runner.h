// CommandRunner: carries out SCSI commands of one kernel block device by blocking calls, and
// KernelTransport: runs them on threads of its own.
//
// Implementations: SgRunner (SCSI: the commands as they are), MultipathRunner (with the kernel's pr
// ioctls for what concerns all paths), NvmeRunner (what ScsiDisk needs, in the words of NVMe).  So
// the reservation logic is ScsiDisk's, whatever the disk.
//
// A killed process lets go of the device only when its calls have returned: they wait for the unit.

#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/linux/epoll_scheduler.h"
#include "shelf/scsi_transport.h"

namespace duet::shelf {

// The system calls on one open device.  Blocking; from any thread.
class DeviceCalls {
 public:
  virtual ~DeviceCalls() = default;
  // As ioctl(2), but -errno for -1.
  virtual int control(unsigned long request, void* argument) = 0;
  // Bytes, or -errno.  `durable`: when it returns (RWF_DSYNC).
  virtual std::int64_t read(const std::vector<iovec>& parts, std::uint64_t offset) = 0;
  virtual std::int64_t write(const std::vector<iovec>& parts, std::uint64_t offset,
                             bool durable) = 0;
  // 0, or -errno.
  virtual int flush() = 0;
};

// Null, and errno says why.  Beside an os::open_block_device() that keeps others away.
std::unique_ptr<DeviceCalls> open_device_calls(const std::string& path);

class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  // Sets the command's status and what goes with it.  Blocking; from any thread, several at a time.
  virtual void run(ScsiCommand& command) = 0;
  // Resets the unit (ScsiReset).  False: it could not.
  virtual bool reset() = 0;
  // As ScsiTransport's.
  [[nodiscard]] virtual bool aborts_are_believed() const { return false; }
};

// SG_IO.  `timeout_ms`: of one command; after it the kernel aborts it, which may take longer.
std::unique_ptr<CommandRunner> sg_runner(std::shared_ptr<DeviceCalls> device, unsigned timeout_ms);
// NVMe passthrough, to namespace `nsid` of `blocks` blocks of 4 KiB.
std::unique_ptr<CommandRunner> nvme_runner(std::shared_ptr<DeviceCalls> device, std::uint32_t nsid,
                                           std::uint64_t blocks, unsigned timeout_ms);
// A multipath disk, whose paths are SCSI: changes of keys and reservation go through the kernel's
// pr ioctls, which concern all paths; the rest are commands to one path, through `scsi`.
std::unique_ptr<CommandRunner> multipath_runner(std::shared_ptr<DeviceCalls> device,
                                                std::unique_ptr<CommandRunner> scsi);

// Ownership: owns the runner.  Its destructor waits for the commands under way.
std::unique_ptr<ScsiTransport> kernel_transport(os::EpollScheduler& scheduler, std::string name,
                                                std::unique_ptr<CommandRunner> runner);

}  // namespace duet::shelf
