#include "descriptor.h"

#include <fcntl.h>

#include <string>
#include <string_view>

namespace duet::os {

namespace {

constexpr mode_t kOwnerOnly = 0600;

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
