#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

struct Arguments {
  std::string path, client, access = "rw", squash = "root";
  std::uint32_t anonymous_uid = 65'534, anonymous_gid = 65'534;
  bool secure = false;
};

void show_exports(const Json& json) {
  std::vector<std::vector<std::string>> rows{
      {"PATH", "CLIENT", "ACCESS", "SQUASH", "ANONYMOUS", "PORTS"}};
  for (const Json& entry : json.value("exports", Json::array())) {
    for (const Json& client : entry.value("clients", Json::array())) {
      rows.push_back({entry.value("path", std::string()), client.value("match", std::string()),
                      client.value("access", std::string()), client.value("squash", std::string()),
                      fmt::format("{}:{}", client.value("anonymous_uid", 0U),
                                  client.value("anonymous_gid", 0U)),
                      client.value("secure", false) ? "below 1024" : "any"});
    }
  }
  fmt::print("{}", table(rows));
}

Exit add(Session& session, const Arguments& arguments) {
  const Json client = {{"match", arguments.client},
                       {"access", arguments.access},
                       {"squash", arguments.squash},
                       {"anonymous_uid", arguments.anonymous_uid},
                       {"anonymous_gid", arguments.anonymous_gid},
                       {"secure", arguments.secure}};
  const Json body = {{"path", arguments.path}, {"clients", Json::array({client})}};
  return session.done(session.call("POST", "/v1/exports/add", body),
                      fmt::format("{} exported to {} ({}, squash {})", arguments.path,
                                  arguments.client, arguments.access, arguments.squash));
}

Exit remove(Session& session, const Arguments& arguments) {
  Json body = {{"path", arguments.path}};
  if (!arguments.client.empty()) {
    body["client"] = arguments.client;
  }
  return session.done(session.call("POST", "/v1/exports/remove", body),
                      fmt::format("{} is no longer exported{}", arguments.path,
                                  arguments.client.empty() ? "" : " to " + arguments.client));
}

}  // namespace

void add_export_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("export", "Which clients may mount which volume, and how");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer(
      "Changes take effect at once and survive restarts; `reload` makes the configuration file's\n"
      "exports count again.  The first client entry that matches counts; `add` puts its own "
      "first.\n"
      "Example: duet export add /projects --client 10.1.0.0/16 --access ro");
  const auto arguments = std::make_shared<Arguments>();

  group->add_subcommand("list", "All exports")->callback([&action] {
    action = [](Session& session) { return show(session, "/v1/exports", show_exports); };
  });
  CLI::App* more = group->add_subcommand("add", "Exports a volume, or changes how");
  more->add_option("PATH", arguments->path, "/ and the volume's name")->required();
  more->add_option("--client", arguments->client, "An address, a subnet, or \"*\"")->required();
  more->add_option("--access", arguments->access)
      ->check(CLI::IsMember({"rw", "ro"}))
      ->capture_default_str();
  more->add_option("--squash", arguments->squash, "Whose ids become the anonymous ones")
      ->check(CLI::IsMember({"none", "root", "all"}))
      ->capture_default_str();
  more->add_option("--anonymous-uid", arguments->anonymous_uid)->capture_default_str();
  more->add_option("--anonymous-gid", arguments->anonymous_gid)->capture_default_str();
  more->add_flag("--secure", arguments->secure, "Only from ports below 1024");
  more->callback([&action, arguments] {
    action = [arguments](Session& session) { return add(session, *arguments); };
  });
  CLI::App* less = group->add_subcommand("remove", "Ends an export, or one client's part of it");
  less->add_option("PATH", arguments->path)->required();
  less->add_option("--client", arguments->client, "Only this entry, as `list` shows it");
  less->callback([&action, arguments] {
    action = [arguments](Session& session) { return remove(session, *arguments); };
  });
  group->add_subcommand("reload", "Reads the exports of the configuration file again")
      ->callback([&action] {
        action = [](Session& session) {
          return session.done(session.call("POST", "/v1/exports/reload"), "exports reloaded");
        };
      });
}

}  // namespace duet::cli
