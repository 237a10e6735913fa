#include "platform/linux/block_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "file.h"
#include "io_engine.h"
#include "os_error.h"

namespace duet::os {

namespace {

class OpenDisk final : public BlockDevice {
 public:
  OpenDisk(EpollScheduler& scheduler, std::shared_ptr<IoEngine> engine, Descriptor descriptor,
           std::uint64_t blocks, std::string name, bool read_only)
      : scheduler_(scheduler),
        engine_(std::move(engine)),
        descriptor_(std::move(descriptor)),
        client_{descriptor_.get(), 0},
        blocks_(blocks),
        name_(std::move(name)),
        read_only_(read_only) {}
  ~OpenDisk() override { engine_->drain(client_); }

  [[nodiscard]] std::uint64_t block_count() const override { return blocks_; }
  [[nodiscard]] std::string_view name() const override { return name_; }

  void start(BlockOperation& operation) override {
    check(operation);
    if (read_only_ && operation.kind == BlockOperation::Kind::kWrite) {
      operation.result = Error{Errc::kReadOnly, "the disk is open for reading only"};
      scheduler_.post(operation);
      return;
    }
    engine_->start(client_, operation);
  }

 private:
  void check(const BlockOperation& operation) const {
    std::uint64_t bytes = 0;
    for (const MutableBytes part : operation.parts) {
      DUET_CHECK(part.size() % kBlockBytes == 0);
      DUET_CHECK(reinterpret_cast<std::uintptr_t>(part.data()) % kBlockBytes == 0);
      bytes += part.size();
    }
    DUET_CHECK(operation.block <= blocks_);
    DUET_CHECK(bytes / kBlockBytes <= blocks_ - operation.block);
  }

  EpollScheduler& scheduler_;
  const std::shared_ptr<IoEngine> engine_;
  const Descriptor descriptor_;
  IoClient client_;
  const std::uint64_t blocks_;
  const std::string name_;
  const bool read_only_;
};

Result<Descriptor> open_or_create(const char* path, const BlockDeviceOptions& options) {
  struct stat status {};
  const bool exists = stat(path, &status) == 0;
  if (!exists && errno == ENOENT && options.create_bytes > 0) {
    return create_file(path, options.create_bytes);
  }
  if (!exists) {
    return os_error(errno);
  }
  if (!S_ISBLK(status.st_mode) && !S_ISREG(status.st_mode)) {
    return Error{Errc::kInvalid, "neither a block device nor a regular file"};
  }
  // O_EXCL keeps the kernel from mounting a block device, and fails on a mounted one.
  const int flags =
      O_CLOEXEC | (options.read_only ? O_RDONLY : O_RDWR) | (S_ISBLK(status.st_mode) ? O_EXCL : 0);
  Descriptor disk(open(path, flags));
  if (!disk.valid()) {
    return os_error(errno);
  }
  return disk;
}

Result<std::uint64_t> blocks_of(const Descriptor& disk) {
  struct stat status {};
  if (fstat(disk.get(), &status) != 0) {
    return os_error(errno);
  }
  auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (S_ISBLK(status.st_mode) && ioctl(disk.get(), BLKGETSIZE64, &bytes) != 0) {
    return os_error(errno);
  }
  if (bytes < kBlockBytes) {
    return Error{Errc::kInvalid, "smaller than one block"};
  }
  return bytes / kBlockBytes;
}

// Some file systems refuse O_DIRECT, some only when it is used.
void go_around_page_cache(const Descriptor& disk) {
  const int flags = fcntl(disk.get(), F_GETFL);
  if (flags < 0 || fcntl(disk.get(), F_SETFL, flags | O_DIRECT) != 0) {
    return;
  }
  alignas(kBlockBytes) std::byte block[kBlockBytes];
  if (pread(disk.get(), block, sizeof(block), 0) < 0 && errno == EINVAL) {
    DUET_CHECK(fcntl(disk.get(), F_SETFL, flags) == 0);
  }
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> open_block_device(EpollScheduler& scheduler,
                                                       const std::string& path,
                                                       const BlockDeviceOptions& options) {
  Result<Descriptor> disk = open_or_create(path.c_str(), options);
  if (!disk.ok()) {
    return disk.error();
  }
  if (const Status locked = lock_exclusively(disk.value(), options.lock_wait); !locked.ok()) {
    return locked.error();
  }
  const Result<std::uint64_t> blocks = blocks_of(disk.value());
  if (!blocks.ok()) {
    return blocks.error();
  }
  if (options.direct) {
    go_around_page_cache(disk.value());
  }
  return std::unique_ptr<BlockDevice>(std::make_unique<OpenDisk>(
      scheduler, shared_engine(scheduler, options.thread_pool), std::move(disk.value()),
      blocks.value(), options.name.empty() ? path : options.name, options.read_only));
}

}  // namespace duet::os
