#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

std::string state_text(const Json& disk) {
  const std::string state = disk.value("state", std::string());
  std::string text = state == "in_sync" ? "in sync" : state;
  if (disk.contains("done_percent")) {
    text += fmt::format(", {} %", disk.value("done_percent", std::uint64_t{0}));
  }
  const std::string problem = disk.value("problem", std::string());
  return problem.empty() ? text : text + ": " + problem;
}

std::string bytes_text(const Json& disk) {
  const std::uint64_t bytes = disk.value("bytes", std::uint64_t{0});
  return bytes == 0 ? "-" : config::size_text(bytes);
}

void show_disks(const Json& json) {
  std::vector<std::vector<std::string>> rows{{"DISK", "SIZE", "OF", "STATE"}};
  for (const Json& disk : json.value("disks", Json::array())) {
    rows.push_back({disk.value("path", std::string()), bytes_text(disk), "aggregate", "-"});
  }
  for (const Json& disk : json.value("group_disks", Json::array())) {
    const std::string path = disk.value("path", std::string());
    std::string of = disk.value("group", std::string());
    if (disk.contains("number")) {
      of += fmt::format(" {}", disk.value("number", std::uint64_t{0}));
    }
    rows.push_back({path.empty() ? "-" : path, bytes_text(disk), of, state_text(disk)});
  }
  fmt::print("{}", table(rows));
}

struct Wanted {
  std::string disk, path;
  bool force = false;
};

void add_fail(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* fail =
      group.add_subcommand("fail", "A disk of a redundancy group is not to be used any more");
  fail->add_option("PATH", wanted->disk, "The disk: its path or URL, or the end of it")->required();
  fail->footer(
      "What it holds is then computed from the group's other disks, and a spare takes its place.  "
      "Refused if the group could lose no more.  Then `duet disk replace` or `duet disk remove`.");
  fail->callback([&action, wanted] {
    action = [wanted](Session& session) {
      const Answer answer = session.call("POST", "/v1/disks/fail", {{"disk", wanted->disk}});
      return session.done(answer,
                          fmt::format("disk {} of group {} is not used any more", wanted->disk,
                                      answer.json.value("group", std::string())));
    };
  });
}

void add_replace(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* replace =
      group.add_subcommand("replace", "A new disk takes the place of one that failed");
  replace->add_option("PATH", wanted->disk, "The one that failed: its path or URL, or the end")
      ->required();
  replace->add_option("NEW", wanted->path, "The new one; alone it may be the same path")
      ->required();
  replace->add_flag("--force", wanted->force, "Also if it holds something, which is lost");
  replace->footer(
      "It is rebuilt while the filer serves; see it with `duet disk list`.  Then write its path "
      "into the configuration file in place of the other.  A disk that has not failed is taken "
      "out first: `duet disk fail`.  In a pair NEW must be in the configuration of both nodes "
      "before, and a new disk behind the same URL takes a restart of both, one after the other; an "
      "old disk that carries a mailbox or the owner record stays listed at both until that is "
      "elsewhere, and the answer says how.");
  replace->callback([&action, wanted] {
    action = [wanted](Session& session) {
      return session.done(
          session.call("POST", "/v1/disks/replace",
                       {{"disk", wanted->disk}, {"path", wanted->path}, {"force", wanted->force}}),
          fmt::format("{} is being rebuilt in place of {}; now {}", wanted->path, wanted->disk,
                      place_text(session)));
    };
  });
}

void add_remove(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* remove = group.add_subcommand(
      "remove", "A spare, or a disk that has failed or was replaced, is let go of");
  remove->add_option("PATH", wanted->disk, "The disk: its path or URL, or the end of it")
      ->required();
  remove->footer(
      "It can then be pulled or used elsewhere: what made it a disk of the group is erased.  A "
      "disk in use is refused: `duet disk fail` first.  Disks of the aggregate itself stay.");
  remove->callback([&action, wanted] {
    action = [wanted](Session& session) {
      const Answer answer = session.call("POST", "/v1/disks/remove", {{"disk", wanted->disk}});
      if (!answer.ok()) {
        return session.fail(answer);
      }
      const std::string note = answer.json.value("note", std::string());
      if (session.options().json) {
        fmt::print("{}\n", Json{{"ok", true}, {"note", note}}.dump());
      } else {
        fmt::print("disk {} has left group {}{}{}\n", wanted->disk,
                   answer.json.value("group", std::string()), note.empty() ? "" : "; ", note);
      }
      return Exit::kOk;
    };
  });
}

}  // namespace

void add_disk_commands(CLI::App& app, Action& action) {
  CLI::App* group =
      app.add_subcommand("disk", "The disks of the aggregate and of redundancy groups");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer(
      "Examples: duet disk add /dev/disk/by-id/wwn-0x5000000000000009\n"
      "          duet disk fail /dev/disk/by-id/wwn-0x5000000000000003\n"
      "          duet disk replace wwn-0x5000000000000003 "
      "/dev/disk/by-id/wwn-0x500000000000000a");
  const auto path = std::make_shared<std::string>();
  group->add_subcommand("list", "All disks: of what, and how they are")->callback([&action] {
    action = [](Session& session) { return show(session, "/v1/disks", show_disks); };
  });
  CLI::App* more =
      group->add_subcommand("add", "A blank disk joins the aggregate, while it serves");
  more->add_option("PATH", *path, "A block device, or an image file that exists")->required();
  more->footer("Then add it to the configuration file, or the next start misses it.");
  more->callback([&action, path] {
    action = [path](Session& session) {
      return session.done(
          session.call("POST", "/v1/disks", {{"path", *path}}),
          fmt::format("disk {} added; now add it to `disks` in the configuration file", *path));
    };
  });
  add_fail(*group, action);
  add_replace(*group, action);
  add_remove(*group, action);
}

void add_cp_command(CLI::App& app, Action& action) {
  CLI::App* cp = app.add_subcommand("cp", "Writes a consistency point now");
  cp->callback([&action] {
    action = [](Session& session) {
      return session.done(session.call("POST", "/v1/cp"), "consistency point written");
    };
  });
}

}  // namespace duet::cli
