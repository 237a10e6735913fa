// Mount: one NFSv3 connection through libnfs, for one thread.

#pragma once

#include <nfsc/libnfs.h>

#include <memory>
#include <string>

namespace demo {

// Where a filer's volume is reached.
struct Server {
  std::string host = "127.0.0.1";
  int port = 20049;
  std::string path = "/vol0";  // the export
};

struct NfsDeleter {
  void operator()(nfs_context* context) const { nfs_destroy_context(context); }
};
using Mount = std::unique_ptr<nfs_context, NfsDeleter>;

// Asks a server that is away again, for two minutes.  Ends the program with a message when it
// cannot.
Mount mount(const Server& server);
// Ends the program: the operation on `path` failed, and why.
[[noreturn]] void fail(nfs_context* context, const std::string& what, const std::string& path);

}  // namespace demo
