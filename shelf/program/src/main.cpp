// duet-shelf: serves disks to both nodes of a pair, and keeps reservations.

#include <CLI/CLI.hpp>
#include <csignal>

#include "disks.h"

namespace {

constexpr const char* kFooter =
    R"(Exit codes: 0 done, or stopped as asked (SIGTERM, SIGINT); 1 failed; 2 the command line, a disk or a
label does not allow it, and nothing was changed.

Example:
  duet-shelf create run/d0.img --size 1G
  duet-shelf serve --listen unix:///run/duet/shelf.sock --disk d0=run/d0.img
Nodes then reach it as shelf+unix:///run/duet/shelf.sock#d0.

For nodes on other machines, with one key file for all (`openssl rand -hex 32`, mode 0600):
  duet-shelf serve --listen tls://192.0.2.7:7420 --key-file /etc/duet/shelf.key --disk d0=run/d0.img
Nodes then reach it as shelf+tls://192.0.2.7:7420/d0.  With tcp:// nothing is encrypted and nobody is asked
who he is: between machines it needs --plaintext, and a network that nobody else reaches.)";

}  // namespace

int main(int argc, char** argv) {
  using namespace duet::shelf;  // NOLINT: the program's own
  CLI::App app("Duet's shelf: disks with reservations for two nodes.");
  app.name("duet-shelf");
  app.footer(kFooter);
  app.require_subcommand(1);

  CreateOptions create_options;
  CLI::App* const creates =
      app.add_subcommand("create", "Make a disk's label, and the disk's file");
  creates->add_option("path", create_options.path, "Image or block device")->required();
  creates->add_option("--size", create_options.bytes, "Make the image, this large (64M, 10G)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{4096}, std::uint64_t{1} << 60U));
  creates->add_option("--label-dir", create_options.label_directory,
                      "Where labels stand (beside the disk; needed for block devices)");

  ShowOptions show_options;
  CLI::App* const shows = app.add_subcommand("show", "Print a label: keys, reservation, epoch");
  shows->add_option("path", show_options.path, "Image or block device")->required();
  shows->add_option("--label-dir", show_options.label_directory, "Where labels stand");

  ServeOptions serve_options;
  std::uint32_t wait_s = 10;
  CLI::App* const serves = app.add_subcommand("serve", "Serve disks until told to stop");
  serves
      ->add_option("--listen", serve_options.listen,
                   "unix:///path, tls://address:port, or tcp://address:port (loopback)")
      ->required();
  serves->add_option("--key-file", serve_options.key_file,
                     "For tls://: 64 to 128 hexadecimal digits, readable by owner and group only");
  serves->add_flag("--plaintext", serve_options.plaintext,
                   "Allow tcp:// where other machines reach it: whoever does may write");
  serves->add_option("--disk", serve_options.disks, "NAME=PATH")->required();
  serves->add_option("--label-dir", serve_options.label_directory, "Where labels stand");
  serves->add_flag("--buffered", serve_options.buffered, "Through the page cache");
  serves->add_option("--wait", wait_s, "Seconds to wait for a killed shelf's I/O to end")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  std::signal(SIGPIPE, SIG_IGN);
  serve_options.wait = std::chrono::seconds(wait_s);
  if (creates->parsed()) {
    return create(create_options);
  }
  return shows->parsed() ? show(show_options) : serve(serve_options);
}
