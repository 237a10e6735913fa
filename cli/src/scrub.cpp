#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

void show_scrub(const Json& json) {
  const auto done = json.value("blocks_done", std::uint64_t{0});
  const auto errors = json.value("errors", std::uint64_t{0});
  if (json.value("running", false)) {
    fmt::print("running since {}: {} blocks read, {} errors\n",
               json.value("started", std::string()), grouped(done), grouped(errors));
  } else if (json.contains("result")) {
    fmt::print("{}: {} blocks read, {} errors, ended {}\n", json.value("result", std::string()),
               grouped(done), grouped(errors), json.value("ended", std::string()));
  } else {
    fmt::print("none was run since the start of duetd\n");
  }
  if (const auto healed = json.value("healed", std::uint64_t{0}); healed > 0) {
    fmt::print("{} blocks were wrong on a disk, and were put right; see: duet raid status\n",
               grouped(healed));
  }
  if (errors > 0) {
    fmt::print("first error: {}\n", json.value("first_error", std::string()));
  }
}

Exit verdict(const Json& json) {
  return json.value("errors", std::uint64_t{0}) == 0 ? Exit::kOk : Exit::kFailed;
}

Exit follow(Session& session) {
  for (;;) {
    const Answer answer = session.call("GET", "/v1/scrub");
    if (!answer.ok()) {
      return session.fail(answer);
    }
    const bool running = answer.json.value("running", false);
    if (!session.options().json && (isatty(STDOUT_FILENO) != 0 || !running)) {
      show_scrub(answer.json);
    }
    if (!running) {
      if (session.options().json) {
        fmt::print("{}\n", answer.json.dump(2));
      }
      return verdict(answer.json);
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

Exit start(Session& session, bool wait) {
  const Answer answer = session.call("POST", "/v1/scrub");
  if (!answer.ok() || !wait) {
    return session.done(answer, "scrub started; see it with: duet scrub status");
  }
  return follow(session);
}

Exit status(Session& session) {
  const Answer answer = session.call("GET", "/v1/scrub");
  if (!answer.ok()) {
    return session.fail(answer);
  }
  if (session.options().json) {
    fmt::print("{}\n", answer.json.dump(2));
  } else {
    show_scrub(answer.json);
  }
  return verdict(answer.json);
}

}  // namespace

void add_scrub_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("scrub", "Reads and checks every block while serving");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer("`start --wait` and `status` exit with 1 when errors were found.");
  const auto wait = std::make_shared<bool>(false);
  CLI::App* begin = group->add_subcommand("start", "Begins a scrub");
  begin->add_flag("--wait", *wait, "Show progress and wait for the end");
  begin->callback(
      [&action, wait] { action = [wait](Session& session) { return start(session, *wait); }; });
  group->add_subcommand("status", "How far it is, or how the last one ended")->callback([&action] {
    action = status;
  });
  group->add_subcommand("stop", "Ends it early")->callback([&action] {
    action = [](Session& session) {
      return session.done(session.call("DELETE", "/v1/scrub"), "scrub told to stop");
    };
  });
}

}  // namespace duet::cli
