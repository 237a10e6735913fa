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
  if (std::string wrong = local.open_members(config, node, Local::Disks::kExisting);
      !wrong.empty()) {
    return wrong;
  }
  for (const std::unique_ptr<groups::ManagedGroup>& group : local.groups->all()) {
    for (const groups::Slot& slot : group->slots()) {
      if (slot.device == nullptr) {
        continue;  // made, or missed, when it is opened
      }
      const auto contents = run(local.scheduler, contents_of(*slot.device));
      if (!contents.ok()) {
        return fmt::format("disk {}: {}", slot.device->name(), error_text(contents.error()));
      }
      if (!contents.value().empty()) {
        found.push_back(fmt::format("disk {} {}", slot.device->name(), contents.value()));
      }
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

void make_directories(const config::Config& config, const config::Node& node,
                      const config::Filer& filer) {
  std::vector<std::string> paths{node.memory.path.text, node.admin.socket.text};
  for (const config::Disk& disk : filer.disks) {
    if (!disk.is_virtual()) {
      paths.push_back(disk.path.text);
    }
  }
  for (const config::RaidGroup* const group : config.groups_of(node)) {
    for (const std::vector<config::Disk>* const disks : {&group->disks, &group->spares}) {
      for (const config::Disk& disk : *disks) {
        paths.push_back(disk.path.text);
      }
    }
  }
  make_directories_of(paths);
}

// Makes the redundancy groups and opens them.  Empty, or what went wrong.
std::string format_groups(Session& session, Local& local) {
  for (const std::unique_ptr<groups::ManagedGroup>& group : local.groups->all()) {
    const config::RaidGroup& configured = group->configured();
    progress(session, fmt::format("redundancy group {}: {} of {} disks", configured.name,
                                  config::level_name(configured.level), configured.disks.size()));
  }
  const auto say = [&](const std::string& line) { progress(session, line); };
  std::string wrong = run(local.scheduler, local.groups->format(local.entropy, say));
  if (wrong.empty()) {
    wrong = run(local.scheduler, local.groups->open(local.entropy));
  }
  return wrong;
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
  make_directories(config, *node, *filer);
  Local local;
  progress(session, fmt::format("filer {}: opening {} disks and {}", filer->name,
                                filer->disks.size(), node->memory.path.text));
  if (std::string wrong = local.open_members(config, *node, Local::Disks::kCreate);
      !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (std::string wrong = local.open_memory(config, *node, /*create=*/true); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (std::string wrong = local.open_disks(config, *filer, Local::Disks::kCreate); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (!found.empty()) {
    erase(*local.memory);
  }
  local.groups->lay_out(*local.memory);
  if (std::string wrong = format_groups(session, local); !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  const FilerFormat format{.config = config,
                           .filer = *filer,
                           .disks = local.disk_pointers(*filer),
                           .memory = local.groups->log_memory(),
                           .progress = [&](const std::string& line) { progress(session, line); }};
  if (std::string wrong = format_filer(local.scheduler, local.clock, local.entropy, format);
      !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  if (const Status closed = run(local.scheduler, local.groups->close()); !closed.ok()) {
    return session.fail(Exit::kFailed, "closing a redundancy group: " + error_text(closed.error()));
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
