// duet-demo-client: what deploy/demo.sh needs of an NFS client.
//
//   duet-demo-client JOB --tree DIR [--files N] [--port P] [--clients N] [--journal FILE]
//                    [--prefix PATH]
//     copy      copies the tree; the journal gets each file that the server acknowledged
//     verify    compares the journal's files (without --journal: the tree's) with the tree
//     remove    removes the tree from the server
//     list      counts the tree
//   duet-demo-client work --stop FILE --manifest FILE [--host H] [--port P] [--export E] [--clients
//   N]
//     changes, reads back and compares until FILE is there; verify-work compares later
//   duet-demo-client hold --stop FILE --manifest FILE [--host H] [--port P] [--export E]
//     keeps a mount until its handle is stale, then mounts anew; writes the manifest once it has
//     mounted
// libnfs is a client only: it never decodes what strangers send.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>

#include "jobs.h"

int main(int argc, char** argv) {
  CLI::App app("An NFS client for the demo.");
  demo::Server server;
  std::string job, root, journal, prefix, stop, manifest;
  std::size_t files_max = std::numeric_limits<std::size_t>::max();
  int clients = 4;
  app.add_option("JOB", job)
      ->required()
      ->check(CLI::IsMember({"copy", "verify", "remove", "list", "work", "verify-work", "hold"}));
  app.add_option("--tree", root)->check(CLI::ExistingDirectory);
  app.add_option("--files", files_max);
  app.add_option("--host", server.host);
  app.add_option("--port", server.port);
  app.add_option("--export", server.path);
  app.add_option("--clients", clients)->check(CLI::Range(1, 64));
  app.add_option("--journal", journal);
  app.add_option("--prefix", prefix);
  app.add_option("--stop", stop);
  app.add_option("--manifest", manifest);
  CLI11_PARSE(app, argc, argv);

  if (job == "work") {
    demo::work(server, clients, stop, manifest);
    return 0;
  }
  if (job == "hold") {
    return demo::hold(server, manifest, stop) ? 0 : 1;
  }
  if (job == "verify-work") {
    return demo::verify_work(server, manifest) == 0 ? 0 : 1;
  }
  const demo::Tree tree = demo::read_tree(root, files_max);
  if (job == "copy") {
    demo::copy(server, tree, clients, journal);
  } else if (job == "verify") {
    const auto files = journal.empty() ? tree.files : demo::read_lines(journal);
    return demo::verify(server, prefix, root, files, clients) == 0 ? 0 : 1;
  } else if (job == "remove") {
    demo::remove(server, tree, clients);
  } else {
    fmt::print("{} files in {} directories\n", tree.files.size(), tree.directories.size());
  }
  return 0;
}
