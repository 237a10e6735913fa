// duetd: serves one node's filer.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "admin/version.h"
#include "config/config.h"
#include "daemon.h"
#include "pair.h"

namespace {

constexpr int kExitUsage = 2;

constexpr const char* kFooter =
    R"(SIGTERM and SIGINT stop it gracefully; SIGHUP reads the exports again.
Exit codes: 0 stopped as asked; 1 failed; 2 the command line, the configuration or the machine does
not allow it, and nothing was changed.

Example: duetd --config deploy/samples/single.yaml --node a)";

int refuse(const std::string& message) {
  fmt::print(stderr, "duetd: {}\n", message);
  return kExitUsage;
}

int serve(const std::string& file, const std::string& node_name) {
  duet::config::Outcome<duet::config::Config> loaded = duet::config::load(file);
  if (!loaded.ok()) {
    return refuse(loaded.error().text());
  }
  const duet::config::Config& config = loaded.value();
  const duet::config::Node* node = config.node(node_name);
  if (node == nullptr) {
    return refuse(fmt::format("{}: there is no node \"{}\"; name one of the file's with --node",
                              file, node_name));
  }
  if (config.filer_at_home(node_name) == nullptr) {
    return refuse(fmt::format("{}:{}: node {} is no filer's home; give it a filer", file,
                              node->line, node_name));
  }
  if (const auto wrong = duet::config::check_files(config, *node, duet::config::Purpose::kServe)) {
    return refuse(wrong->text());
  }
  if (!config.is_pair()) {
    duet::daemon::Daemon daemon(config, node_name);
    return daemon.run();
  }
  std::vector<duet::address::AddressClaim> claims;
  if (const std::string wrong = duet::daemon::claim_addresses(config, node_name, claims);
      !wrong.empty()) {
    return refuse(wrong);
  }
  // The process that serves has a small one above it, which outlives it.
  return duet::supervisor::supervise(duet::daemon::supervisor_options(config, node_name),
                                     [&](const duet::supervisor::Inherited& inherited) {
                                       duet::supervisor::ParentLink parent(inherited.channel);
                                       // Never destroyed: what is under way at its end ends with
                                       // the process.
                                       auto* const daemon =
                                           new duet::daemon::Daemon(config, node_name, &parent);
                                       return daemon->run();
                                     });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Duet's server.");
  app.name("duetd");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string(duet::admin::version()));
  std::string file = "/etc/duet/duet.yaml";
  std::string node = "a";
  bool foreground = true;
  app.add_option("-c,--config", file, "The pair's YAML file")->capture_default_str();
  app.add_option("--node", node, "Which node this is")->capture_default_str();
  app.add_flag("--foreground", foreground, "Accepted for habit: it never goes to the background");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  std::signal(SIGPIPE, SIG_IGN);
  return serve(file, node);
}
