#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "command_runner.h"

namespace duet::shelf {

namespace {

class OpenDevice final : public DeviceCalls {
 public:
  explicit OpenDevice(int descriptor) : descriptor_(descriptor) {}
  ~OpenDevice() override { close(descriptor_); }
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;

  int control(unsigned long request, void* argument) override {
    const int outcome = ioctl(descriptor_, request, argument);
    return outcome < 0 ? -errno : outcome;
  }
  std::int64_t read(const std::vector<iovec>& parts, std::uint64_t offset) override {
    const ssize_t moved = preadv(descriptor_, parts.data(), static_cast<int>(parts.size()),
                                 static_cast<off_t>(offset));
    return moved < 0 ? -errno : moved;
  }
  std::int64_t write(const std::vector<iovec>& parts, std::uint64_t offset, bool durable) override {
    const ssize_t moved = pwritev2(descriptor_, parts.data(), static_cast<int>(parts.size()),
                                   static_cast<off_t>(offset), durable ? RWF_DSYNC : 0);
    return moved < 0 ? -errno : moved;
  }
  int flush() override { return fdatasync(descriptor_) < 0 ? -errno : 0; }

 private:
  const int descriptor_;
};

}  // namespace

std::unique_ptr<DeviceCalls> open_device_calls(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
  return descriptor < 0 ? nullptr : std::make_unique<OpenDevice>(descriptor);
}

}  // namespace duet::shelf
