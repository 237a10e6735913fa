#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

struct Arguments {
  std::string volume, name, new_name;
  bool delete_newer = false;

  [[nodiscard]] std::string list_path() const { return "/v1/volumes/" + volume + "/snapshots"; }
  [[nodiscard]] std::string path() const { return list_path() + "/" + name; }
};

void show_snapshots(const Json& json) {
  std::vector<std::vector<std::string>> rows{{"SNAPSHOT", "CREATED", "CP", "HOLDS", "CLONES"}};
  for (const Json& snapshot : json.value("snapshots", Json::array())) {
    const auto clones = snapshot.value("clones", std::vector<std::string>());
    rows.push_back({snapshot.value("name", std::string()), snapshot.value("created", std::string()),
                    grouped(snapshot.value("cp", std::uint64_t{0})),
                    config::size_text(snapshot.value("held_bytes", std::uint64_t{0})),
                    clones.empty() ? "-" : fmt::format("{}", fmt::join(clones, ", "))});
  }
  fmt::print("{}", table(rows));
}

// The snapshots younger than `name`; they go when it is restored.
std::vector<std::string> newer_than(const Json& json, const std::string& name) {
  std::vector<std::string> newer;
  bool behind = false;
  for (const Json& snapshot : json.value("snapshots", Json::array())) {
    const std::string found = snapshot.value("name", std::string());
    if (behind) {
      newer.push_back(found);
    }
    behind = behind || found == name;
  }
  return newer;
}

Exit restore(Session& session, const Arguments& arguments) {
  const Answer list = session.call("GET", arguments.list_path());
  if (!list.ok()) {
    return session.fail(list);
  }
  const std::vector<std::string> newer = newer_than(list.json, arguments.name);
  if (!newer.empty() && !arguments.delete_newer) {
    return session.fail(
        Exit::kFailed,
        fmt::format("newer snapshots would be deleted: {}; repeat with --delete-newer",
                    fmt::join(newer, ", ")));
  }
  return session.done(
      session.call("POST", arguments.path() + "/restore", {{"delete_newer", newer}}),
      fmt::format("volume {} is as it was in {}", arguments.volume, arguments.name));
}

CLI::App* with_names(CLI::App* command, const std::shared_ptr<Arguments>& arguments) {
  command->add_option("VOLUME", arguments->volume)->required();
  command->add_option("NAME", arguments->name)->required();
  return command;
}

}  // namespace

void add_snapshot_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("snapshot", "Images of a volume that do not change");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer(
      "Clients see them as .snapshot/NAME in every directory.\n"
      "Examples: duet snapshot create projects monday\n"
      "          duet snapshot send projects@tuesday --from monday > tuesday.stream\n"
      "          duet snapshot receive copy < tuesday.stream");
  const auto arguments = std::make_shared<Arguments>();

  CLI::App* list = group->add_subcommand("list", "The snapshots of a volume, oldest first");
  list->add_option("VOLUME", arguments->volume)->required();
  list->callback([&action, arguments] {
    action = [arguments](Session& session) {
      return show(session, arguments->list_path(), show_snapshots);
    };
  });
  with_names(group->add_subcommand("create", "Keeps the volume as it is now"), arguments)
      ->callback([&action, arguments] {
        action = [arguments](Session& session) {
          return session.done(
              session.call("POST", arguments->list_path(), {{"name", arguments->name}}),
              fmt::format("snapshot {} of {} created", arguments->name, arguments->volume));
        };
      });
  with_names(group->add_subcommand("delete", "Gives its space back"), arguments)
      ->callback([&action, arguments] {
        action = [arguments](Session& session) {
          return session.done(
              session.call("DELETE", arguments->path()),
              fmt::format("snapshot {} of {} deleted", arguments->name, arguments->volume));
        };
      });
  CLI::App* rename =
      with_names(group->add_subcommand("rename", "Gives it another name"), arguments);
  rename->add_option("NEW-NAME", arguments->new_name)->required();
  rename->callback([&action, arguments] {
    action = [arguments](Session& session) {
      return session.done(
          session.call("PATCH", arguments->path(), {{"name", arguments->new_name}}),
          fmt::format("snapshot {} is now {}", arguments->name, arguments->new_name));
    };
  });
  CLI::App* back =
      with_names(group->add_subcommand("restore", "Makes the volume what it was"), arguments);
  back->add_flag("--delete-newer", arguments->delete_newer,
                 "Delete the snapshots taken after it, as restoring needs");
  back->callback([&action, arguments] {
    action = [arguments](Session& session) { return restore(session, *arguments); };
  });
  add_stream_commands(*group, action);
}

}  // namespace duet::cli
