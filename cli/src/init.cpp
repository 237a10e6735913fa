// duet init: makes the aggregate, the log, the volumes and the exports of one filer.
//
// Looks first at everything that it would overwrite, and touches nothing if any of it holds data.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "commands.h"
#include "filer/filer.h"
#include "local.h"
#include "nvlog/request_log.h"
#include "wafl/aggregate.h"

namespace duet::cli {

namespace {

void progress(const Session& session, const std::string& line) {
  if (!session.options().json) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
}

std::string disk_contents(const wafl::DiskProbe& probe) {
  if (!probe.ours) {
    return "holds data that is not Duet's";
  }
  const auto& name = probe.label.filer_name;
  const std::string filer(name.data(), strnlen(name.data(), name.size()));
  return fmt::format("is disk {} of filer {} ({})", probe.label.index, filer,
                     config::size_text(probe.label.block_count * kBlockBytes));
}

std::string memory_contents(const nvlog::RegionProbe& probe) {
  if (!probe.ours) {
    return "holds data that is not Duet's";
  }
  std::string text;
  for (std::uint32_t area = 0; area < nvlog::kAreas; ++area) {
    if (probe.areas[area] != nvlog::LogIdentity{}) {
      text +=
          fmt::format("{}the log of filer {} with {} records", text.empty() ? "holds " : " and ",
                      area == 0 ? "a" : "b", probe.records[area]);
    }
  }
  return text.empty() ? "is formatted, without a log" : text;
}

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
      found.push_back(fmt::format("disk {} {}", disk->name(), disk_contents(probe.value())));
    }
  }
  if (std::string wrong = local.open_memory(config, node, /*create=*/false); !wrong.empty()) {
    return wrong;
  }
  if (local.memory != nullptr) {
    const nvlog::RegionProbe probe = nvlog::probe(*local.memory);
    if (!probe.blank) {
      found.push_back(fmt::format("memory {} {}", node.memory.path.text, memory_contents(probe)));
    }
  }
  return found;
}

void make_directories(const config::Node& node, const config::Filer& filer) {
  std::vector<std::string> paths{node.memory.path.text, node.admin.socket.text};
  for (const config::Disk& disk : filer.disks) {
    paths.push_back(disk.path.text);
  }
  for (const std::string& path : paths) {
    std::error_code ignored;  // opening what is inside tells what is wrong
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  }
}

// With --force: what stood on the memory must not be taken for a log.
void erase(PersistentMemory& memory) {
  static constexpr std::array<std::byte, 65'536> kZeros{};
  for (std::uint64_t at = 0; at < memory.bytes().size(); at += kZeros.size()) {
    memory.store(at, std::span(kZeros).first(
                         std::min<std::size_t>(kZeros.size(), memory.bytes().size() - at)));
  }
}

Task<Status> make_contents(Local& local, const config::Filer& filer) {
  auto opened = co_await filer::Filer::open(local.scheduler, local.clock, local.entropy,
                                            local.disk_pointers(), *local.memory, filer.options);
  if (!opened.ok()) {
    co_return opened.error();
  }
  filer::Filer& serving = *opened.value();
  for (const config::Volume& volume : filer.volumes) {
    const Status created = co_await serving.create_volume(volume.name, volume.limit_bytes);
    if (!created.ok()) {
      co_return created;
    }
  }
  const Status exported = co_await serving.set_exports(filer.exports);
  if (!exported.ok()) {
    co_return exported;
  }
  co_return co_await serving.stop();
}

std::string format_all(const Session& session, Local& local, const config::Config& config,
                       const config::Filer& filer) {
  wafl::FormatOptions options;
  options.pair = config::pair_id(config.pair);
  options.filer = filer.index();
  options.filer_name = filer.name;
  options.log_id = local.entropy.next() | 1U;
  options.now = wafl::Timestamp{local.clock.since_epoch().count()};

  progress(session, "formatting the log");
  nvlog::LogIdentity identity;
  identity.pair = options.pair;
  identity.filer = options.filer;
  identity.log_id = options.log_id;
  if (Status log = nvlog::format_area(*local.memory, identity, /*epoch=*/0); !log.ok()) {
    return "the log: " + error_text(log.error());
  }
  progress(session, fmt::format("formatting {} disks", local.disks.size()));
  const Status formatted = run(local.scheduler, wafl::format(local.scheduler, local.disk_pointers(),
                                                             options, local.entropy));
  if (!formatted.ok()) {
    return "formatting: " + error_text(formatted.error());
  }
  progress(session, fmt::format("making {} volumes and {} exports", filer.volumes.size(),
                                filer.exports.exports.size()));
  const Status made = run(local.scheduler, make_contents(local, filer));
  return made.ok() ? "" : "volumes and exports: " + error_text(made.error());
}

Exit init(Session& session, bool force) {
  const config::Config* config = session.config();
  const config::Node* node = config == nullptr ? nullptr : session.node();
  if (node == nullptr) {
    return Exit::kUsage;
  }
  const config::Filer* filer = config->filer_at_home(node->name);
  if (filer == nullptr) {
    return session.fail(Exit::kUsage, fmt::format("{}: no filer has its home at node {}; name "
                                                  "another node with --node",
                                                  config->file, node->name));
  }
  if (const auto wrong = config::check_files(*config, *node, config::Purpose::kFormat)) {
    return session.fail(Exit::kUsage, wrong->text());
  }
  const auto looked = find_data(*config, *node, *filer);
  if (const std::string* wrong = std::get_if<std::string>(&looked)) {
    return session.fail(Exit::kUsage, *wrong);
  }
  const auto& found = std::get<std::vector<std::string>>(looked);
  if (!found.empty() && !force) {
    return session.fail(Exit::kFailed,
                        fmt::format("nothing was touched, because data would be lost: {}; --force "
                                    "destroys it",
                                    fmt::join(found, "; ")));
  }
  for (const std::string& lost : found) {
    fmt::print(stderr, "duet: destroying: {}\n", lost);
  }
  make_directories(*node, *filer);
  Local local;
  progress(session, fmt::format("filer {}: opening {} disks and {}", filer->name,
                                filer->disks.size(), node->memory.path.text));
  if (std::string wrong = local.open_memory(*config, *node, /*create=*/true); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (std::string wrong = local.open_disks(*config, *filer, Local::Disks::kCreate);
      !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (!found.empty()) {
    erase(*local.memory);
  }
  if (std::string wrong = format_all(session, local, *config, *filer); !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  progress(session, fmt::format("filer {} is ready; serve it with: duetd --config {} --node {}",
                                filer->name, config->file, node->name));
  if (session.options().json) {
    fmt::print("{}\n", Json{{"ok", true}}.dump());
  }
  return Exit::kOk;
}

}  // namespace

void add_init_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("init", "Formats the disks and the log of a node's filer");
  const auto force = std::make_shared<bool>(false);
  command->add_flag("--force", *force,
                    "Destroy what the disks and the memory hold; it is named first");
  command->footer(
      "Makes missing disk images of the configured size, then the volumes and exports.\n"
      "Example: duet init --config deploy/samples/single.yaml");
  command->callback(
      [&action, force] { action = [force](Session& session) { return init(session, *force); }; });
}

}  // namespace duet::cli
