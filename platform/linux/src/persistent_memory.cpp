#include "platform/linux/persistent_memory.h"

#include <fcntl.h>
#include <libpmem.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "file.h"
#include "os_error.h"

namespace duet::os {

namespace {

// One mapping of libpmem.
class Mapping {
 public:
  Mapping(void* start, std::size_t bytes, bool persistent)
      : start_(static_cast<std::byte*>(start)), bytes_(bytes), persistent_(persistent) {}
  Mapping(Mapping&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)),
        bytes_(other.bytes_),
        persistent_(other.persistent_) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (start_ != nullptr) {
      pmem_unmap(start_, bytes_);
    }
  }

  [[nodiscard]] std::byte* start() const { return start_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool persistent() const { return persistent_; }

 private:
  std::byte* start_;
  std::size_t bytes_;
  bool persistent_;
};

class Memory final : public MappedMemory {
 public:
  // `file` holds the lock.
  Memory(Descriptor file, Mapping mapping, std::uint64_t bytes)
      : file_(std::move(file)), mapping_(std::move(mapping)), size_bytes_(bytes) {}

  [[nodiscard]] bool persistent() const override { return mapping_.persistent(); }
  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return {mapping_.start(), size_bytes_};
  }

  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    DUET_CHECK(offset <= size_bytes_);
    DUET_CHECK(data.size() <= size_bytes_ - offset);
    if (data.empty()) {
      return;
    }
    // Past the cache on memory of either kind: nobody reads it back soon, and a log of many
    // megabytes would drive out what is (1 MiB writes gained 30 %, 4 KiB ones 6 %).
    pmem_memcpy_nodrain(mapping_.start() + offset, data.data(), data.size());
  }

  Status persist() override {
    // Where the kernel's page cache is the memory, what was executed is kept: this orders it.
    pmem_drain();
    return Ok{};
  }

 private:
  const Descriptor file_;
  const Mapping mapping_;
  const std::size_t size_bytes_;
};

struct Opened {
  Descriptor file;
  bool created = false;
};

Result<Opened> open_or_create(const char* path, std::uint64_t bytes, bool create) {
  Descriptor file(open(path, O_RDWR | O_CLOEXEC));
  if (file.valid()) {
    return Opened{std::move(file), false};
  }
  if (errno != ENOENT || !create) {
    return os_error(errno);
  }
  Result<Descriptor> created = create_file(path, bytes);
  if (!created.ok()) {
    return created.error();
  }
  return Opened{std::move(created.value()), true};
}

Status check_size(const Descriptor& file, std::uint64_t bytes) {
  struct stat status {};
  if (fstat(file.get(), &status) != 0) {
    return os_error(errno);
  }
  // Of a DAX device the mapping tells.
  if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) {
    return Error{Errc::kInvalid, "neither a regular file nor a DAX device"};
  }
  if (S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) != bytes) {
    return Error{Errc::kInvalid, "the file has another size than configured"};
  }
  return Ok{};
}

Result<Mapping> map(const char* path, std::uint64_t bytes) {
  std::size_t mapped = 0;
  int persistent = 0;
  void* const start = pmem_map_file(path, 0, 0, 0, &mapped, &persistent);
  if (start == nullptr) {
    return os_error(errno);
  }
  Mapping mapping(start, mapped, persistent != 0);
  if (mapped < bytes) {
    return Error{Errc::kInvalid, "smaller than configured"};
  }
  return mapping;
}

Result<std::unique_ptr<MappedMemory>> map_opened(const std::string& path, std::uint64_t bytes,
                                                 Descriptor file,
                                                 const PersistentMemoryOptions& options) {
  if (const Status locked =
          options.of_another ? Status(Ok{}) : lock_exclusively(file, options.lock_wait);
      !locked.ok()) {
    return locked.error();
  }
  if (const Status fits = check_size(file, bytes); !fits.ok()) {
    return fits.error();
  }
  Result<Mapping> mapping = map(path.c_str(), bytes);
  if (!mapping.ok()) {
    return mapping.error();
  }
  if (!mapping.value().persistent() && !options.accept_volatile) {
    return Error{Errc::kNotSupported, "not persistent memory: power loss would erase it"};
  }
  if (options.populate) {
    // Where the kernel cannot, pages come at their first use.
    static_cast<void>(madvise(mapping.value().start(), bytes, MADV_POPULATE_READ));
  }
  return std::unique_ptr<MappedMemory>(
      std::make_unique<Memory>(std::move(file), std::move(mapping.value()), bytes));
}

}  // namespace

Result<std::unique_ptr<MappedMemory>> map_persistent_memory(
    const std::string& path, std::uint64_t bytes, const PersistentMemoryOptions& options) {
  if (bytes == 0) {
    return Error{Errc::kInvalid, "no size"};
  }
  Result<Opened> opened =
      open_or_create(path.c_str(), bytes, options.create && !options.of_another);
  if (!opened.ok()) {
    return opened.error();
  }
  Result<std::unique_ptr<MappedMemory>> memory =
      map_opened(path, bytes, std::move(opened.value().file), options);
  if (!memory.ok() && opened.value().created) {
    unlink(path.c_str());
  }
  return memory;
}

}  // namespace duet::os
