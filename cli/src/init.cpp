// duet init: makes the aggregate, the log, the volumes and the exports of one filer; of a pair see
// init_pair.cpp.
//
// Looks first at everything that it would overwrite, and touches nothing if any of it holds data.

#include "init.h"

#include <fmt/format.h>

#include <variant>

#include "commands.h"
#include "format.h"
#include "local.h"

namespace duet::cli {

namespace {

// What would be lost, one text each.  An Error text when something cannot be looked at.
std::variant<std::vector<std::string>, std::string> find_data(const config::Config& config,
                                                              const config::Node& node,
                                                              const config::Filer& filer) {
  Local local;
  std::vector<std::string> found;
  if (std::string wrong = local.open_disks(config, filer, Local::Disks::kExisting);
      !wrong.empty()) {
    return wrong;
  }
  for (const std::unique_ptr<BlockDevice>& disk : local.disks) {
    const Result<wafl::DiskProbe> probe = run(local.scheduler, wafl::probe(*disk));
    if (!probe.ok()) {
      return fmt::format("disk {}: {}", disk->name(), error_text(probe.error()));
    }
    if (!probe.value().blank) {
      found.push_back(fmt::format("disk {} {}", disk->name(), contents_of(probe.value())));
    }
  }
  if (std::string wrong = local.open_memory(config, node, /*create=*/false); !wrong.empty()) {
    return wrong;
  }
  if (local.memory != nullptr) {
    const nvlog::RegionProbe probe = nvlog::probe(*local.memory);
    if (!probe.blank) {
      found.push_back(fmt::format("memory {} {}", node.memory.path.text, contents_of(probe)));
    }
  }
  return found;
}

void make_directories(const config::Node& node, const config::Filer& filer) {
  std::vector<std::string> paths{node.memory.path.text, node.admin.socket.text};
  for (const config::Disk& disk : filer.disks) {
    paths.push_back(disk.path.text);
  }
  make_directories_of(paths);
}

Exit init_alone(Session& session, const config::Config& config, bool force) {
  const config::Node* node = session.node();
  if (node == nullptr) {
    return Exit::kUsage;
  }
  const config::Filer* filer = config.filer_at_home(node->name);
  if (filer == nullptr) {
    return session.fail(Exit::kUsage, fmt::format("{}: no filer has its home at node {}; name "
                                                  "another node with --node",
                                                  config.file, node->name));
  }
  if (const auto wrong = config::check_files(config, *node, config::Purpose::kFormat)) {
    return session.fail(Exit::kUsage, wrong->text());
  }
  const auto looked = find_data(config, *node, *filer);
  if (const std::string* wrong = std::get_if<std::string>(&looked)) {
    return session.fail(Exit::kUsage, *wrong);
  }
  const auto& found = std::get<std::vector<std::string>>(looked);
  if (!may_destroy(session, found, force)) {
    return Exit::kFailed;
  }
  make_directories(*node, *filer);
  Local local;
  progress(session, fmt::format("filer {}: opening {} disks and {}", filer->name,
                                filer->disks.size(), node->memory.path.text));
  if (std::string wrong = local.open_memory(config, *node, /*create=*/true); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (std::string wrong = local.open_disks(config, *filer, Local::Disks::kCreate); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (!found.empty()) {
    erase(*local.memory);
  }
  const FilerFormat format{.config = config,
                           .filer = *filer,
                           .disks = local.disk_pointers(),
                           .memory = *local.memory,
                           .progress = [&](const std::string& line) { progress(session, line); }};
  if (std::string wrong = format_filer(local.scheduler, local.clock, local.entropy, format);
      !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  progress(session, fmt::format("filer {} is ready; serve it with: duetd --config {} --node {}",
                                filer->name, config.file, node->name));
  return done(session);
}

Exit init(Session& session, bool force) {
  const config::Config* config = session.config();
  if (config == nullptr) {
    return Exit::kUsage;
  }
  return config->is_pair() ? init_pair(session, *config, force)
                           : init_alone(session, *config, force);
}

}  // namespace

void progress(const Session& session, const std::string& line) {
  if (!session.options().json) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
}

bool may_destroy(Session& session, const std::vector<std::string>& found, bool force) {
  if (!found.empty() && !force) {
    session.fail(Exit::kFailed,
                 fmt::format("nothing was touched, because data would be lost: {}; --force "
                             "destroys it",
                             fmt::join(found, "; ")));
    return false;
  }
  for (const std::string& lost : found) {
    fmt::print(stderr, "duet: destroying: {}\n", lost);
  }
  return true;
}

Exit done(const Session& session) {
  if (session.options().json) {
    fmt::print("{}\n", Json{{"ok", true}}.dump());
  }
  return Exit::kOk;
}

void add_init_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("init", "Formats the disks and the log of a node's filer");
  const auto force = std::make_shared<bool>(false);
  command->add_flag("--force", *force,
                    "Destroy what the disks and the memory hold; it is named first");
  command->footer(
      "Makes missing disk images of the configured size, then the volumes and exports.\n"
      "Of a pair, whose shelves must be running: on one host both filers and both nodes' memories\n"
      "at once; with --node one filer and its home node's memories, once on each machine.\n"
      "Example: duet init --config deploy/samples/single.yaml");
  command->callback(
      [&action, force] { action = [force](Session& session) { return init(session, *force); }; });
}

}  // namespace duet::cli
