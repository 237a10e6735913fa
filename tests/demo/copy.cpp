#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "jobs.h"

namespace demo {

namespace {

constexpr std::size_t kWriteBytes = 256U << 10U;

void copy_file(nfs_context* nfs, const std::string& path, const Contents& contents) {
  nfsfh* file = nullptr;
  if (nfs_create(nfs, path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644, &file) != 0) {
    fail(nfs, "create", path);
  }
  for (std::size_t at = 0; at < contents.bytes.size();) {
    const std::size_t bytes = std::min(kWriteBytes, contents.bytes.size() - at);
    const int written = nfs_pwrite(nfs, file, at, bytes, contents.bytes.data() + at);
    if (written <= 0) {
      fail(nfs, "write", path);
    }
    at += static_cast<std::size_t>(written);
  }
  // COMMIT: had any write been answered UNSTABLE, the acknowledgement would be this one.
  if (nfs_fsync(nfs, file) != 0 || nfs_close(nfs, file) != 0) {
    fail(nfs, "commit", path);
  }
}

}  // namespace

void copy(const Server& server, const Tree& tree, int clients, const std::string& journal) {
  const int log = open(journal.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const Mount first = mount(server);
  for (const std::string& directory : tree.directories) {
    if (nfs_mkdir(first.get(), ("/" + directory).c_str()) != 0) {
      fail(first.get(), "mkdir", directory);
    }
  }
  share_out(server, tree.files.size(), clients, [&](nfs_context* nfs, std::size_t at) {
    const std::string path = "/" + tree.files[at];
    const Contents contents = read_local(tree.root + path);
    if (!contents.link) {
      copy_file(nfs, path, contents);
    } else if (nfs_symlink(nfs, contents.bytes.c_str(), path.c_str()) != 0) {
      fail(nfs, "symlink", path);
    }
    const std::string line = tree.files[at] + "\n";
    if (write(log, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      fail(nfs, "journal", journal);
    }
  });
  close(log);
}

void remove(const Server& server, const Tree& tree, int clients) {
  share_out(server, tree.files.size(), clients, [&](nfs_context* nfs, std::size_t at) {
    if (nfs_unlink(nfs, ("/" + tree.files[at]).c_str()) != 0) {
      fail(nfs, "remove", tree.files[at]);
    }
  });
  const Mount last = mount(server);
  for (auto directory = tree.directories.rbegin(); directory != tree.directories.rend();
       ++directory) {
    if (nfs_rmdir(last.get(), ("/" + *directory).c_str()) != 0) {
      fail(last.get(), "rmdir", *directory);
    }
  }
  nfsdir* root = nullptr;
  if (nfs_opendir(last.get(), "/", &root) != 0) {
    fail(last.get(), "opendir", "/");
  }
  for (const nfsdirent* entry = nfs_readdir(last.get(), root); entry != nullptr;
       entry = nfs_readdir(last.get(), root)) {
    const std::string name = entry->name;
    if (name != "." && name != ".." && name != ".snapshot") {
      fail(last.get(), "still there after removal:", name);
    }
  }
  nfs_closedir(last.get(), root);
}

}  // namespace demo
