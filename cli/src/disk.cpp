#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

void show_disks(const Json& json) {
  std::vector<std::vector<std::string>> rows{{"DISK", "SIZE"}};
  for (const Json& disk : json.value("disks", Json::array())) {
    rows.push_back({disk.value("path", std::string()),
                    config::size_text(disk.value("bytes", std::uint64_t{0}))});
  }
  fmt::print("{}", table(rows));
}

}  // namespace

void add_disk_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("disk", "The disks of the aggregate");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer("Example: duet disk add /dev/disk/by-id/wwn-0x5000000000000009");
  const auto path = std::make_shared<std::string>();
  group->add_subcommand("list", "All disks")->callback([&action] {
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
