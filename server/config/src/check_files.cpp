#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "config/config.h"

namespace duet::config {

namespace {

constexpr std::size_t kLinkDirectoryMax = 80;  // leaves 27 of a socket's path for a name in it

class Checker {
 public:
  Checker(const Config& config, Purpose purpose) : config_(config), purpose_(purpose) {}

  // A file that must be there when serving; `size_bytes` is what `duet init` would make it.
  void device(const Path& path, std::uint64_t size_bytes, std::string_view what) {
    struct stat status {};
    if (stat(path.text.c_str(), &status) != 0) {
      const int error = errno;
      // A node of a pair that lost its memory comes back with a blank one.
      const bool made = purpose_ == Purpose::kFormat || (config_.is_pair() && what != "disk");
      if (error == ENOENT && made && size_bytes > 0) {
        return;
      }
      const std::string remedy =
          error != ENOENT  ? "make it accessible to this user"
          : size_bytes > 0 ? fmt::format(
                                 "put it back, or correct its path; for a new filer run `duet init "
                                 "--config {}` first",
                                 config_.file)
                           : "correct the path, or give a `size` so that `duet init` makes it";
      return fail(path, fmt::format("{} {}: {}", what, path.text, std::strerror(error)), remedy);
    }
    // A DAX character device can be memory; only blocks and files can be disks.
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode) && !S_ISCHR(status.st_mode)) {
      return fail(path, fmt::format("{} {} is neither a file nor a device", what, path.text),
                  "name a disk image or a block device");
    }
    if (access(path.text.c_str(), R_OK | W_OK) != 0) {
      return fail(path, fmt::format("{} {}: {}", what, path.text, std::strerror(errno)),
                  "give this user the right to read and write it");
    }
    once(path, status, what);
  }

  // A disk of a redundancy group.  When serving, the group knows whether it can do without it.
  void member(const Disk& disk) {
    struct stat status {};
    if (purpose_ == Purpose::kFormat) {
      device(disk.path, disk.size_bytes, "disk");
    } else if (stat(disk.path.text.c_str(), &status) == 0) {
      once(disk.path, status, "disk");
    }
  }

  void readable(const Path& path, std::string_view what) {
    if (purpose_ == Purpose::kServe && access(path.text.c_str(), R_OK) != 0) {
      fail(path, fmt::format("{} {}: {}", what, path.text, std::strerror(errno)),
           "make it, or correct the path");
    }
  }

  // Where duetd makes a socket.
  void directory_of(const Path& path) {
    constexpr std::size_t kSocketPathMax = 107;  // sockaddr_un::sun_path less its NUL
    if (path.text.size() > kSocketPathMax) {
      return fail(
          path,
          fmt::format("socket {}: the path is longer than {} bytes", path.text, kSocketPathMax),
          "choose a shorter one");
    }
    if (purpose_ != Purpose::kServe) {
      return;
    }
    const std::filesystem::path above = std::filesystem::path(path.text).parent_path();
    const std::string parent = above.empty() ? std::string(1, '.') : above.string();
    if (access(parent.c_str(), W_OK | X_OK) != 0) {
      fail(path, fmt::format("directory {}: {}", parent, std::strerror(errno)),
           "make it, writable for this user");
    }
  }

  // Where the partner link keeps its socket and its inboxes; made when it is missing.
  void link_directory(const Path& path) {
    if (path.text.size() > kLinkDirectoryMax) {
      return fail(path,
                  fmt::format("directory {}: the path is longer than {} bytes", path.text,
                              kLinkDirectoryMax),
                  "choose a shorter one: sockets are made in it");
    }
    struct stat status {};
    if (stat(path.text.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) {
      return fail(path, fmt::format("{} is no directory", path.text), "name another");
    }
    // Missing: it is made, as one on a tmpfs is gone after a reboot.
    if (access(path.text.c_str(), R_OK | W_OK | X_OK) != 0 && errno != ENOENT) {
      fail(path, fmt::format("directory {}: {}", path.text, std::strerror(errno)),
           "give this user the right to read and write it");
    }
  }

  [[nodiscard]] const std::optional<ConfigError>& error() const { return error_; }

 private:
  void once(const Path& path, const struct stat& status, std::string_view what) {
    // Two device nodes of one disk have different inodes and the same device number.
    const bool node = S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode);
    const std::pair<std::uint64_t, std::uint64_t> identity =
        node ? std::pair<std::uint64_t, std::uint64_t>(status.st_rdev, ~std::uint64_t{0})
             : std::pair<std::uint64_t, std::uint64_t>(status.st_dev, status.st_ino);
    const auto [place, fresh] = seen_.emplace(identity, &path);
    if (!fresh) {
      fail(path,
           fmt::format("{} {} is the same file as {} in line {}", what, path.text,
                       place->second->text, place->second->line),
           "give each its own");
    }
  }

  void fail(const Path& path, std::string message, std::string remedy) {
    if (!error_) {
      error_ = ConfigError{config_.file, path.line, std::move(message), std::move(remedy)};
    }
  }

  const Config& config_;
  Purpose purpose_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, const Path*> seen_;
  std::optional<ConfigError> error_;
};

}  // namespace

std::optional<ConfigError> check_files(const Config& config, const Node& node, Purpose purpose) {
  Checker checker(config, purpose);
  checker.device(node.memory.path, node.memory.size_bytes, "memory");
  if (node.mirror) {
    checker.device(node.mirror->path, node.mirror->size_bytes, "mirror");
  }
  const Filer* filer = config.filer_at_home(node.name);
  if (filer != nullptr && !config.is_pair()) {  // a pair's disks are at their shelves
    for (const Disk& disk : filer->disks) {
      if (!disk.is_virtual()) {
        checker.device(disk.path, disk.size_bytes, "disk");
      }
    }
    for (const RaidGroup* const group : config.groups_of(node)) {
      for (const Disk& disk : group->disks) {
        checker.member(disk);
      }
      for (const Disk& disk : group->spares) {
        checker.member(disk);
      }
    }
  }
  if (config.on_one_host()) {
    checker.link_directory(config.interconnect->directory);
  }
  if (config.is_pair() && config.shelf_key_file) {
    checker.readable(*config.shelf_key_file, "key file");
  }
  if (config.is_pair() && config.interconnect->key_file) {
    checker.readable(*config.interconnect->key_file, "key file");
  }
  checker.directory_of(node.admin.socket);
  if (node.admin.https) {
    checker.readable(node.admin.https->certificate, "certificate");
    checker.readable(node.admin.https->key, "key");
    checker.readable(node.admin.https->token_file, "token file");
  }
  return checker.error();
}

}  // namespace duet::config
