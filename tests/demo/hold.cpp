// Hold: a client that keeps what it mounted while the filer becomes an older one (a forced
// takeover).

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "jobs.h"

namespace demo {

bool hold(const Server& server, const std::string& held_file, const std::string& stop_file) {
  const Mount connection = mount(server);
  nfs_stat_64 before{};
  if (nfs_stat64(connection.get(), "/", &before) != 0) {
    fail(connection.get(), "stat", "/");
  }
  fclose(fopen(held_file.c_str(), "w"));
  int said = 0;
  while (said == 0 && access(stop_file.c_str(), F_OK) != 0) {
    nfs_stat_64 now{};
    said = nfs_stat64(connection.get(), "/", &now);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (said != -ESTALE) {
    fmt::print("the old mount: {}\n", said == 0 ? "works" : nfs_get_error(connection.get()));
    return false;
  }
  const Mount anew = mount(server);
  nfs_stat_64 after{};
  if (nfs_stat64(anew.get(), "/", &after) != 0) {
    fail(anew.get(), "stat", "/");
  }
  fmt::print("the old mount: stale file handle; a new one works, fsid {}\n",
             before.nfs_dev == after.nfs_dev ? "as before" : "new");
  return before.nfs_dev != after.nfs_dev;
}

}  // namespace demo
