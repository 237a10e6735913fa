// duet check: reads the disks of a filer that nobody serves and says what is wrong.

#include <fmt/format.h>
#include <unistd.h>

#include "commands.h"
#include "local.h"
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

Exit check(Session& session, bool quick, bool snapshots) {
  const config::Config* config = session.config();
  const config::Node* node = config == nullptr ? nullptr : session.node();
  const config::Filer* filer = node == nullptr ? nullptr : config->filer_at_home(node->name);
  if (filer == nullptr) {
    return config == nullptr || node == nullptr
               ? Exit::kUsage
               : session.fail(Exit::kUsage, config->file + ": this node is no filer's home");
  }
  Local local;
  if (std::string wrong = local.open_disks(*config, *filer, Local::Disks::kReadOnly);
      !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  const auto progress = std::make_shared<Progress>();
  wafl::CheckOptions options;
  options.read_data = !quick;
  options.names_of_snapshots = snapshots;
  options.progress = [progress](const wafl::CheckProgress& now) { progress->show(now); };
  const wafl::CheckReport report =
      run(local.scheduler, wafl::check(local.disk_pointers(), std::move(options)));
  if (session.options().json) {
    fmt::print("{}\n", report_json(report).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    show_report(report);
  }
  return report.clean() ? Exit::kOk : Exit::kFailed;
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
      "`duet scrub` reads the blocks of a filer that serves.");
  command->callback([&action, quick, snapshots] {
    action = [quick, snapshots](Session& session) { return check(session, *quick, *snapshots); };
  });
}

}  // namespace duet::cli
