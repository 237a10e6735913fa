#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "jobs.h"

namespace demo {

namespace {

constexpr std::size_t kReadBytes = 256U << 10U;
constexpr std::size_t kTargetBytes = 4096;

// False: it is not there, or cannot be read.
bool read_remote(nfs_context* nfs, const std::string& path, bool link, std::string& bytes) {
  bytes.clear();
  if (link) {
    std::array<char, kTargetBytes> target{};
    if (nfs_readlink(nfs, path.c_str(), target.data(), static_cast<int>(target.size())) != 0) {
      return false;
    }
    bytes = target.data();
    return true;
  }
  nfsfh* file = nullptr;
  if (nfs_open(nfs, path.c_str(), O_RDONLY, &file) != 0) {
    return false;
  }
  std::vector<char> part(kReadBytes);
  int got = 0;
  do {
    got = nfs_pread(nfs, file, bytes.size(), part.size(), part.data());
    bytes.append(part.data(), static_cast<std::size_t>(std::max(got, 0)));
  } while (got > 0);
  nfs_close(nfs, file);
  return got == 0;
}

}  // namespace

std::uint64_t verify(const Server& server, const std::string& prefix, const std::string& root,
                     const std::vector<std::string>& files, int clients) {
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> total_bytes{0};
  share_out(server, files.size(), clients, [&](nfs_context* nfs, std::size_t at) {
    const Contents original = read_local(root + "/" + files[at]);
    const std::string path = prefix + "/" + files[at];
    std::string bytes;
    if (!read_remote(nfs, path, original.link, bytes)) {
      fmt::print(stderr, "missing: {} ({})\n", path, nfs_get_error(nfs));
      ++wrong;
    } else if (bytes != original.bytes) {
      fmt::print(stderr, "different: {}: {} bytes here, {} there\n", path, original.bytes.size(),
                 bytes.size());
      ++wrong;
    }
    total_bytes += original.bytes.size();
  });
  fmt::print("{} files, {:.1f} MiB compared, {} missing or different\n", files.size(),
             static_cast<double>(total_bytes.load()) / (1U << 20U), wrong.load());
  return wrong;
}

}  // namespace demo
