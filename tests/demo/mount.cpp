#include "mount.h"

#include <fmt/format.h>

#include <cstdlib>

namespace demo {

Mount mount(const Server& server) {
  Mount context(nfs_init_context());
  if (context == nullptr) {
    fmt::print(stderr, "no memory\n");
    std::exit(1);
  }
  // As root, whoever runs it; and through a restart of the server, as kernel clients do.
  const std::string url =
      fmt::format("nfs://{0}{1}?version=3&nfsport={2}&mountport={2}&uid=0&gid=0&autoreconnect=-1",
                  server.host, server.path, server.port);
  nfs_url* const parsed = nfs_parse_url_dir(context.get(), url.c_str());
  if (parsed == nullptr || nfs_mount(context.get(), parsed->server, parsed->path) != 0) {
    fail(context.get(), "mount", url);
  }
  nfs_destroy_url(parsed);
  return context;
}

void fail(nfs_context* context, const std::string& what, const std::string& path) {
  fmt::print(stderr, "{} {}: {}\n", what, path, nfs_get_error(context));
  std::exit(1);
}

}  // namespace demo
