#include "file.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <thread>

#include "os_error.h"

namespace duet::os {

namespace {

constexpr mode_t kOwnerOnly = 0600;
constexpr std::chrono::milliseconds kLockPause{10};

// 0, or errno.
int allocate(int file, std::uint64_t bytes) {
  const auto size = static_cast<off_t>(bytes);
  if (fallocate(file, 0, 0, size) == 0) {
    return 0;
  }
  if (errno != EOPNOTSUPP) {
    return errno;
  }
  return ftruncate(file, size) == 0 ? 0 : errno;
}

void sync_directory_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string_view::npos ? std::string(".") : std::string(path.substr(0, slash + 1));
  const Descriptor opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.valid()) {
    fsync(opened.get());
  }
}

}  // namespace

Status lock_exclusively(const Descriptor& file, std::chrono::milliseconds wait) {
  const auto end = std::chrono::steady_clock::now() + wait;
  while (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return os_error(errno);
    }
    if (std::chrono::steady_clock::now() >= end) {
      return Error{Errc::kRefused, "in use by another process"};
    }
    std::this_thread::sleep_for(kLockPause);
  }
  return Ok{};
}

Result<Descriptor> create_file(const char* path, std::uint64_t bytes) {
  Descriptor file(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerOnly));
  if (!file.valid()) {
    return os_error(errno);
  }
  int failure = allocate(file.get(), bytes);
  if (failure == 0 && fsync(file.get()) != 0) {
    failure = errno;
  }
  if (failure != 0) {
    unlink(path);
    return os_error(failure);
  }
  sync_directory_of(path);
  return file;
}

}  // namespace duet::os
