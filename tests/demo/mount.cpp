#include "mount.h"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace demo {

namespace {

// As mount.nfs: a server that is away for a while is asked again, one that refuses is not.
constexpr auto kAskFor = std::chrono::minutes(2);
constexpr auto kAskAgain = std::chrono::milliseconds(100);
bool refuses(int error) { return error == -EACCES || error == -ENOENT || error == -EPERM; }

}  // namespace

Mount mount(const Server& server) {
  // As root, whoever runs it; and through a restart of the server, as kernel clients do.
  const std::string url =
      fmt::format("nfs://{0}{1}?version=3&nfsport={2}&mountport={2}&uid=0&gid=0&autoreconnect=-1",
                  server.host, server.path, server.port);
  const auto deadline = std::chrono::steady_clock::now() + kAskFor;
  for (;;) {
    Mount context(nfs_init_context());
    if (context == nullptr) {
      fmt::print(stderr, "no memory\n");
      std::exit(1);
    }
    nfs_url* const parsed = nfs_parse_url_dir(context.get(), url.c_str());
    if (parsed == nullptr) {
      fail(context.get(), "mount", url);
    }
    const int mounted = nfs_mount(context.get(), parsed->server, parsed->path);
    nfs_destroy_url(parsed);
    if (mounted == 0) {
      return context;
    }
    if (refuses(mounted) || std::chrono::steady_clock::now() > deadline) {
      fail(context.get(), "mount", url);
    }
    std::this_thread::sleep_for(kAskAgain);
  }
}

void fail(nfs_context* context, const std::string& what, const std::string& path) {
  fmt::print(stderr, "{} {}: {}\n", what, path, nfs_get_error(context));
  std::exit(1);
}

}  // namespace demo
