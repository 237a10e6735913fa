#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

struct Arguments {
  std::string name, new_name, limit;
};

std::string origin_text(const Json& volume) {
  const Json origin = volume.value("origin", Json::object());
  return origin.empty() ? "-"
                        : origin.value("volume", std::string()) + "@" +
                              origin.value("snapshot", std::string());
}

void show_volumes(const Json& json) {
  std::vector<std::vector<std::string>> rows{
      {"VOLUME", "USED", "LIMIT", "FILES", "SNAPSHOTS", "CREATED", "CLONE OF"}};
  for (const Json& volume : json.value("volumes", Json::array())) {
    const auto limit = volume.value("limit_bytes", std::uint64_t{0});
    const char* state = volume.value("receiving", false) ? " (receiving)" : "";
    rows.push_back({volume.value("name", std::string()) + state,
                    config::size_text(volume.value("used_bytes", std::uint64_t{0})),
                    limit == 0 ? "-" : config::size_text(limit),
                    grouped(volume.value("inodes_used", std::uint64_t{0})),
                    grouped(volume.value("snapshots", std::uint64_t{0})),
                    volume.value("created", std::string()), origin_text(volume)});
  }
  fmt::print("{}", table(rows));
}

Exit create(Session& session, const Arguments& arguments) {
  const std::optional<std::uint64_t> limit = limit_from(arguments.limit);
  if (!limit) {
    return session.fail(Exit::kUsage, "--limit: write a size such as 100GiB, or none");
  }
  return session.done(
      session.call("POST", "/v1/volumes", {{"name", arguments.name}, {"limit_bytes", *limit}}),
      fmt::format("volume {} created; export it with: duet export add /{} --client ADDRESS",
                  arguments.name, arguments.name));
}

Exit clone(Session& session, const Arguments& arguments) {
  const std::optional<std::uint64_t> limit = limit_from(arguments.limit);
  if (!limit) {
    return session.fail(Exit::kUsage, "--limit: write a size such as 100GiB, or none");
  }
  const auto [volume, snapshot] = snapshot_from(arguments.name);
  if (volume.empty()) {
    return session.fail(Exit::kUsage, "write VOLUME@SNAPSHOT, such as projects@monday");
  }
  return session.done(
      session.call("POST", "/v1/volumes/" + volume + "/snapshots/" + snapshot + "/clone",
                   {{"name", arguments.new_name}, {"limit_bytes", *limit}}),
      fmt::format(
          "volume {} is a clone of {}; export it with: duet export add /{} --client ADDRESS",
          arguments.new_name, arguments.name, arguments.new_name));
}

Exit set_limit(Session& session, const Arguments& arguments) {
  const std::optional<std::uint64_t> limit = limit_from(arguments.limit);
  if (!limit) {
    return session.fail(Exit::kUsage, "LIMIT: write a size such as 100GiB, or none");
  }
  return session.done(
      session.call("PATCH", "/v1/volumes/" + arguments.name, {{"limit_bytes", *limit}}),
      fmt::format("volume {}: limit {}", arguments.name, arguments.limit));
}

}  // namespace

std::pair<std::string, std::string> snapshot_from(const std::string& text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string::npos || at == 0 || at + 1 == text.size()) {
    return {};
  }
  return {text.substr(0, at), text.substr(at + 1)};
}

std::optional<std::uint64_t> limit_from(const std::string& text) {
  const auto bytes = text == "none" ? std::optional<std::uint64_t>(0) : config::parse_size(text);
  return text != "none" && bytes == 0U ? std::nullopt : bytes;
}

void add_volume_commands(CLI::App& app, Action& action) {
  CLI::App* group =
      app.add_subcommand("volume", "File trees of their own, with limits and snapshots");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer(
      "Examples: duet volume create projects --limit 100GiB\n"
      "          duet volume clone projects@monday trial");
  const auto arguments = std::make_shared<Arguments>();
  arguments->limit = "none";

  group->add_subcommand("list", "All volumes")->callback([&action] {
    action = [](Session& session) { return show(session, "/v1/volumes", show_volumes); };
  });
  CLI::App* make = group->add_subcommand("create", "Makes an empty volume");
  make->add_option("NAME", arguments->name)->required();
  make->add_option("--limit", arguments->limit, "Its largest size, such as 100GiB")
      ->capture_default_str();
  make->callback([&action, arguments] {
    action = [arguments](Session& session) { return create(session, *arguments); };
  });
  CLI::App* copy =
      group->add_subcommand("clone", "Makes a writable volume that begins as a snapshot");
  copy->add_option("VOLUME@SNAPSHOT", arguments->name)->required();
  copy->add_option("NEW-VOLUME", arguments->new_name)->required();
  copy->add_option("--limit", arguments->limit, "The most that it may write itself")
      ->capture_default_str();
  copy->footer(
      "It takes no time and no space; what it shares with the snapshot is not in its USED.\n"
      "The snapshot cannot be deleted before the clone is destroyed.\n"
      "Example: duet volume clone projects@monday trial");
  copy->callback([&action, arguments] {
    action = [arguments](Session& session) { return clone(session, *arguments); };
  });
  CLI::App* destroy = group->add_subcommand("destroy", "Destroys a volume with all its files");
  destroy->add_option("NAME", arguments->name)->required();
  destroy->footer("Its snapshots must be deleted first, and their clones before them.");
  destroy->callback([&action, arguments] {
    action = [arguments](Session& session) {
      return session.done(session.call("DELETE", "/v1/volumes/" + arguments->name),
                          fmt::format("volume {} destroyed", arguments->name));
    };
  });
  CLI::App* rename = group->add_subcommand("rename", "Gives a volume another name");
  rename->add_option("NAME", arguments->name)->required();
  rename->add_option("NEW-NAME", arguments->new_name)->required();
  rename->callback([&action, arguments] {
    action = [arguments](Session& session) {
      return session.done(
          session.call("PATCH", "/v1/volumes/" + arguments->name, {{"name", arguments->new_name}}),
          fmt::format("volume {} is now {}", arguments->name, arguments->new_name));
    };
  });
  CLI::App* limit = group->add_subcommand("limit", "Sets or lifts a volume's size limit");
  limit->add_option("NAME", arguments->name)->required();
  limit->add_option("LIMIT", arguments->limit, "A size such as 100GiB, or none")->required();
  limit->callback([&action, arguments] {
    action = [arguments](Session& session) { return set_limit(session, *arguments); };
  });
}

}  // namespace duet::cli
