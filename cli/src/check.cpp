// duet check: reads the disks of a filer that nobody serves and says what is wrong.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <variant>

#include "commands.h"
#include "groups/overlay.h"
#include "living.h"
#include "local.h"
#include "mailbox/sector.h"
#include "pair_groups.h"
#include "text.h"
#include "wafl_check/check.h"

namespace duet::cli {

namespace {

// One line on a terminal, rewritten; elsewhere one line per stage.
class Progress {
 public:
  void show(const wafl::CheckProgress& progress) {
    const std::uint64_t percent =
        progress.blocks_total == 0 ? 0 : progress.blocks_done * 100 / progress.blocks_total;
    if (isatty(STDERR_FILENO) != 0) {
      fmt::print(stderr, "\r\x1b[K{}: {}%", progress.stage, std::min<std::uint64_t>(percent, 100));
      shown_ = true;
    } else if (stage_ != progress.stage) {
      fmt::print(stderr, "checking: {}\n", progress.stage);
    }
    stage_ = progress.stage;
  }
  ~Progress() {
    if (shown_) {
      fmt::print(stderr, "\r\x1b[K");
    }
  }

 private:
  std::string stage_;
  bool shown_ = false;
};

Json report_json(const wafl::CheckReport& report) {
  Json problems = Json::array();
  for (const wafl::CheckProblem& problem : report.problems) {
    Json entry = {{"kind", wafl::problem_name(problem.kind)}, {"text", problem.text}};
    if (problem.block != wafl::kNoBlock) {
      entry["block"] = problem.block;
    }
    problems.push_back(entry);
  }
  return {{"clean", report.clean()},
          {"problem_count", report.problem_count},
          {"problems", problems},
          {"notes", report.notes},
          {"cp", report.cp},
          {"blocks", report.blocks},
          {"blocks_reached", report.blocks_reached},
          {"volumes", report.volumes},
          {"snapshots", report.snapshots},
          {"inodes", report.inodes}};
}

void show_report(const wafl::CheckReport& report) {
  for (const wafl::CheckProblem& problem : report.problems) {
    fmt::print("{}: {}\n", wafl::problem_name(problem.kind), problem.text);
  }
  if (report.problem_count > report.problems.size()) {
    fmt::print("... and {} more\n", grouped(report.problem_count - report.problems.size()));
  }
  for (const std::string& note : report.notes) {
    fmt::print("note: {}\n", note);
  }
  fmt::print("{}: CP {}, {} of {} blocks reached, {} volumes, {} snapshots, {} inodes\n",
             report.clean() ? "clean" : fmt::format("{} problems", grouped(report.problem_count)),
             report.cp, grouped(report.blocks_reached), grouped(report.blocks),
             grouped(report.volumes), grouped(report.snapshots), grouped(report.inodes));
}

struct What {
  bool quick = false;
  bool snapshots = false;
};

wafl::CheckReport check_disks(os::EpollScheduler& scheduler, std::vector<BlockDevice*> disks,
                              const What& what) {
  const auto progress = std::make_shared<Progress>();
  wafl::CheckOptions options;
  options.read_data = !what.quick;
  options.names_of_snapshots = what.snapshots;
  options.progress = [progress](const wafl::CheckProgress& now) { progress->show(now); };
  return run(scheduler, wafl::check(std::move(disks), std::move(options)));
}

// All disks of a pair, by config::pair_disks().
struct PairDisks {
  std::vector<std::unique_ptr<shelf::SharedDisk>> opened;  // null: not reached
  std::vector<std::string> problems;                       // why not
};

// A group can do without some of its disks; and what is neither the filer's nor a member, which may
// be others by now than the configuration says, is not needed.  Empty, or why not.
std::string open_all(Local& local, const config::Config& config, const config::Filer& filer,
                     PairDisks& disks) {
  const shelf::DiskKey key = draw_key(Purpose::kRead, local.clock, local.entropy);
  std::array<bool, mailbox::kNodes> seen{};  // a mailbox disk of the node is reached
  for (const config::PairDisk& each : config.pair_disks()) {
    std::unique_ptr<shelf::SharedDisk>& to = disks.opened.emplace_back();
    std::string& problem = disks.problems.emplace_back();
    if (each.group == nullptr && (each.filer == filer.index() || each.disk->mailbox)) {
      std::string wrong = open_shared(local.scheduler, config, *each.disk, key, to);
      if (!wrong.empty()) {
        return wrong;
      }
    } else if (auto reached = reach_shared(local.scheduler, *each.disk, key); reached.ok()) {
      to = std::move(reached.value());
    } else {
      problem = error_text(reached.error());
    }
    seen[each.filer] = seen[each.filer] || (each.disk->mailbox && to != nullptr);
  }
  for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
    if (!seen[node]) {
      return fmt::format(
          "no mailbox disk of node {} is reached, so nobody knows whether it lives; start the "
          "shelves that serve them",
          node == 0 ? 'a' : 'b');
    }
  }
  return {};
}

// Disks at shelves are locked by nobody: whoever serves them is seen in their mailbox.
std::string find_user(Local& local, const config::Config& config, const config::Filer& filer,
                      const PairDisks& disks) {
  std::vector<shelf::SharedDisk*> reached;
  for (const std::unique_ptr<shelf::SharedDisk>& disk : disks.opened) {
    if (disk != nullptr) {
      reached.push_back(disk.get());  // all: a taker's mailbox is on the other filer's
    }
  }
  const auto living = run(local.scheduler, find_living(local.scheduler, reached));
  if (!living.ok()) {
    return "the mailbox: " + error_text(living.error());
  }
  const bool on_groups = std::ranges::any_of(filer.disks, &config::Disk::is_virtual);
  for (const LivingNode& node : living.value()) {
    if ((node.serving & (1U << filer.index())) != 0) {
      return fmt::format("filer {} cannot be checked: {}; `duet scrub` reads it while it serves",
                         filer.name, text_of(node));
    }
    if (on_groups) {
      return fmt::format(
          "filer {} cannot be checked: {}; each node writes to all redundancy "
          "groups of {}",
          filer.name, text_of(node), config.pair);
    }
  }
  return {};
}

// Whose mirror memories can be on this machine.
std::vector<const config::Node*> nodes_here(const Session& session, const config::Config& config) {
  std::vector<const config::Node*> nodes;
  for (const config::Node& node : config.nodes) {
    if (config.on_one_host() || session.options().node.empty() ||
        session.options().node == node.name) {
      nodes.push_back(&node);
    }
  }
  return nodes;
}

// As a start would find the groups of the filer: what a crash left undone is finished, in memory
// only.
std::string open_pair_groups(const config::Config& config, const config::Filer& filer,
                             const std::vector<const config::Node*>& nodes, Local& local,
                             PairDisks& disks, PairLook& look) {
  if (std::ranges::none_of(filer.disks, &config::Disk::is_virtual)) {
    return {};
  }
  const std::vector<config::PairDisk> all = config.pair_disks();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].group != nullptr && config.uses(filer.index(), *all[i].group)) {
      look.add_disk(all[i], std::move(disks.opened[i]), std::move(disks.problems[i]));
    }
  }
  if (std::string wrong = look.copy_memories(nodes); !wrong.empty()) {
    return wrong;
  }
  for (const config::RaidGroup& group : config.groups) {
    if (!config.uses(filer.index(), group)) {
      continue;
    }
    if (std::string wrong = look.open(group, local.entropy); !wrong.empty()) {
      return wrong;
    }
  }
  return {};
}

std::variant<wafl::CheckReport, std::string> check_shared(
    const config::Config& config, const config::Filer& filer,
    const std::vector<const config::Node*>& nodes, const What& what) {
  Local local;
  PairLook look(local.scheduler, config);
  PairDisks disks;
  if (std::string wrong = open_all(local, config, filer, disks); !wrong.empty()) {
    return wrong;
  }
  if (std::string wrong = find_user(local, config, filer, disks); !wrong.empty()) {
    return wrong;
  }
  if (std::string wrong = open_pair_groups(config, filer, nodes, local, disks, look);
      !wrong.empty()) {
    return wrong;
  }
  std::vector<BlockDevice*> own;
  const std::vector<config::PairDisk> all = config.pair_disks();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].group == nullptr && all[i].filer == filer.index()) {
      own.push_back(disks.opened[i].get());
    }
  }
  for (const config::Disk& disk : filer.disks) {
    if (disk.is_virtual()) {
      own.push_back(look.groups().virtual_disk(disk));
    }
  }
  wafl::CheckReport report = check_disks(local.scheduler, std::move(own), what);
  for (const std::unique_ptr<groups::OfflineGroup>& group : look.groups().all()) {
    for (std::string& note : group->notes()) {
      report.notes.push_back(std::move(note));
    }
  }
  return report;
}

// As a start would find the groups: what a crash left undone is finished, in memory only.
std::string open_groups(const config::Config& config, const config::Node& node, Local& local) {
  if (std::string wrong = local.open_members(config, node, Local::Disks::kReadOnly);
      !wrong.empty() || local.groups->empty()) {
    return wrong;
  }
  config::Memory looked_at = node.memory;
  looked_at.accept_volatile = true;  // looking is no serving
  if (std::string wrong = open_memory(config, looked_at, /*create=*/false, local.memory);
      !wrong.empty()) {
    return wrong;
  }
  const std::span<const std::byte> original =
      local.memory == nullptr ? std::span<const std::byte>() : local.memory->bytes();
  local.copy = std::make_unique<groups::MemoryCopy>(original, node.memory.size_bytes);
  local.groups->lay_out(*local.copy);
  return run(local.scheduler, local.groups->open(local.entropy));
}

// What is not as it should be with the disks below.
void note_groups(const groups::NodeGroups& groups, wafl::CheckReport& report) {
  for (const std::unique_ptr<groups::ManagedGroup>& group : groups.all()) {
    const auto recovered = group->group().counters().recovered;
    if (recovered > 0) {
      report.notes.push_back(fmt::format("redundancy group {}: the next start finishes {} writes",
                                         group->configured().name, recovered));
    }
    for (const groups::DiskView& view : group->disks()) {
      if (view.number && view.state != raid::DiskState::kInSync) {
        const std::string path = view.slot == nullptr ? "(none)" : view.slot->configured->path.text;
        const std::string why =
            view.slot == nullptr || view.slot->problem.empty() ? "" : ": " + view.slot->problem;
        report.notes.push_back(fmt::format("redundancy group {}: disk {}, {}, is not used{}",
                                           group->configured().name, *view.number, path, why));
      }
    }
  }
}

std::variant<wafl::CheckReport, std::string> check_own(const config::Config& config,
                                                       const config::Filer& filer,
                                                       const What& what) {
  Local local;
  if (std::string wrong = local.open_disks(config, filer, Local::Disks::kReadOnly);
      !wrong.empty()) {
    return wrong;
  }
  if (std::string wrong = open_groups(config, *config.node(filer.home), local); !wrong.empty()) {
    return wrong;
  }
  wafl::CheckReport report = check_disks(local.scheduler, local.disk_pointers(filer), what);
  note_groups(*local.groups, report);
  return report;
}

Exit check(Session& session, const What& what) {
  const config::Config* config = session.config();
  if (config == nullptr) {
    return Exit::kUsage;
  }
  std::vector<const config::Filer*> filers;
  if (config->is_pair() && session.options().node.empty()) {
    filers = {&config->filers[0], &config->filers[1]};
  } else if (const config::Node* node = session.node(); node == nullptr) {
    return Exit::kUsage;
  } else {
    filers = {config->filer_at_home(node->name)};
  }
  if (filers.front() == nullptr) {
    return session.fail(Exit::kUsage, config->file + ": this node is no filer's home");
  }
  bool clean = true;
  Json reports = Json::object();
  for (const config::Filer* const filer : filers) {
    const auto checked = config->is_pair()
                             ? check_shared(*config, *filer, nodes_here(session, *config), what)
                             : check_own(*config, *filer, what);
    if (const std::string* wrong = std::get_if<std::string>(&checked)) {
      return session.fail(Exit::kUsage, *wrong);
    }
    const auto& report = std::get<wafl::CheckReport>(checked);
    clean = clean && report.clean();
    reports[filer->name] = report_json(report);
    if (!session.options().json) {
      fmt::print("{}", filers.size() > 1 ? fmt::format("filer {}: ", filer->name) : "");
      show_report(report);
    }
  }
  if (session.options().json) {
    const Json json = filers.size() > 1 ? Json{{"clean", clean}, {"filers", reports}}
                                        : reports[filers.front()->name];
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  return clean ? Exit::kOk : Exit::kFailed;
}

}  // namespace

void add_check_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("check", "Checks the disks of a filer that is stopped");
  const auto quick = std::make_shared<bool>(false);
  const auto snapshots = std::make_shared<bool>(false);
  command->add_flag("--quick", *quick, "Leave out the contents of files");
  command->add_flag("--snapshots", *snapshots, "Check the names in every snapshot too");
  command->footer(
      "Changes nothing.  Exits with 0 when clean, with 1 when problems were found.\n"
      "Of a pair it checks both filers, or with --node the one at home there.\n"
      "`duet scrub` reads the blocks of a filer that serves.");
  command->callback([&action, quick, snapshots] {
    action = [quick, snapshots](Session& session) {
      return check(session, {.quick = *quick, .snapshots = *snapshots});
    };
  });
}

}  // namespace duet::cli
