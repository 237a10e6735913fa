// duet: the operator's command.

#include <fmt/format.h>

#include <cstdlib>

#include "commands.h"

namespace {

constexpr const char* kFooter =
    R"(Exit codes: 0 done; 1 it failed, or problems were found; 2 the command line or the
configuration is wrong; 3 the server cannot be reached.

Examples:
  duet init --config deploy/samples/single.yaml
  duet --config deploy/samples/single.yaml status
  duet volume create projects --limit 100GiB
  duet snapshot create projects monday
  duet export add /projects --client 10.1.0.0/16 --access rw --squash root
  duet failover show
  duet takeover --of b
  duet status --json | jq .space.free_bytes)";

std::string default_config() {
  const char* from_environment = std::getenv("DUET_CONFIG");  // NOLINT(concurrency-mt-unsafe)
  return from_environment != nullptr ? from_environment : "/etc/duet/duet.yaml";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace duet::cli;  // NOLINT(google-build-using-namespace)
  CLI::App app("Duet: operates the filers of a pair.");
  app.name("duet");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();  // global options may stand behind the subcommand

  Options options;
  options.config_file = default_config();
  app.add_option("-c,--config", options.config_file, "The pair's YAML file (or $DUET_CONFIG)")
      ->capture_default_str();
  app.add_option("--node", options.node, "Which node of the file (default: its first)");
  app.add_option("--filer", options.filer, "Of a pair: which filer (default: the node's own)");
  app.add_flag("--json", options.json, "Print JSON");
  app.add_option("--url", options.url, "https://HOST:PORT of a node instead of its Unix socket")
      ->check([](const std::string& url) {
        return url.starts_with("https://") ? std::string() : "write https://HOST:PORT";
      });
  app.add_option("--token-file", options.token_file, "The bearer token for --url")
      ->check(CLI::ExistingFile);
  app.add_option("--ca", options.ca_file, "The certificate authority that signed its certificate")
      ->check(CLI::ExistingFile);

  Action action;
  add_init_command(app, action);
  add_status_commands(app, action);
  add_failover_commands(app, action);
  add_log_command(app, action);
  add_volume_commands(app, action);
  add_snapshot_commands(app, action);
  add_export_commands(app, action);
  add_disk_commands(app, action);
  add_raid_commands(app, action);
  add_check_command(app, action);
  add_scrub_commands(app, action);
  add_cp_command(app, action);
  add_top_command(app, action);

  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
    if (extras.empty()) {
      app.exit(error);
    } else {
      fmt::print(stderr, "duet: there is no command \"{}\"; --help lists them\n", extras.front());
    }
    return static_cast<int>(Exit::kUsage);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(Exit::kOk) : static_cast<int>(Exit::kUsage);
  }
  Session session(options);
  try {
    return static_cast<int>(action(session));
  } catch (const std::exception& error) {  // JSON of another shape than this version's
    return static_cast<int>(session.fail(
        Exit::kFailed, fmt::format("an answer that cannot be understood: {}", error.what())));
  }
}
