// duet raid: the redundancy groups below the filer.

#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

std::uint64_t number(const Json& json, const char* key) {
  return json.value(key, std::uint64_t{0});
}

std::string state_text(const Json& disk) {
  const std::string state = disk.value("state", std::string());
  if (state == "rebuilding") {
    return fmt::format("rebuilding, {} %", number(disk, "done_percent"));
  }
  return state == "in_sync" ? "in sync" : state;
}

void show_disks(const Json& group) {
  std::vector<std::vector<std::string>> rows{{"DISK", "STATE", "PATH"}};
  for (const Json& disk : group.value("disks", Json::array())) {
    const std::string problem = disk.value("problem", std::string());
    rows.push_back(
        {disk.contains("number") ? std::to_string(number(disk, "number")) : "-",
         problem.empty() ? state_text(disk) : fmt::format("{}: {}", state_text(disk), problem),
         disk.value("path", std::string())});
  }
  fmt::print("{}", table(rows));
}

void show_counters(const Json& counters) {
  const std::uint64_t whole = number(counters, "whole_stripe_updates");
  const std::uint64_t modify = number(counters, "read_modify_updates");
  const std::uint64_t reconstruct = number(counters, "reconstruct_updates");
  const std::uint64_t all = whole + modify + reconstruct;
  fmt::print("  updates    {} since the start: {} % whole, {} by read-modify, {} by reconstruct\n",
             grouped(all), all == 0 ? 0 : whole * 100 / all, grouped(modify), grouped(reconstruct));
  fmt::print("  reads      {}, {} of them computed from other disks\n",
             grouped(number(counters, "reads")), grouped(number(counters, "degraded_reads")));
  fmt::print("  intents    {} under way, {} flushes to end them, {} carried out after a crash\n",
             grouped(number(counters, "intents")), grouped(number(counters, "settles")),
             grouped(number(counters, "recovered_intents")));
}

void show_groups(const Json& json) {
  const Json groups = json.value("groups", Json::array());
  if (groups.empty()) {
    fmt::print("the filer lives on no redundancy group\n");
  }
  bool first = true;
  for (const Json& group : groups) {
    fmt::print("{}group {}: {}, {}, {} more may fail; {} in stripes of {}, chunks of {}\n",
               std::exchange(first, false) ? "" : "\n", group.value("name", std::string()),
               group.value("level", std::string()), group.value("state", std::string()),
               number(group, "can_lose"), config::size_text(number(group, "bytes")),
               config::size_text(number(group, "stripe_bytes")),
               config::size_text(number(group, "chunk_bytes")));
    for (const Json& disk : group.value("virtual_disks", Json::array())) {
      fmt::print("  virtual    {} of {}\n", disk.value("name", std::string()),
                 config::size_text(number(disk, "bytes")));
    }
    show_counters(group.value("counters", Json::object()));
    show_disks(group);
  }
}

// For scripts: a group that is not as it should be is a problem.
Exit status(Session& session) {
  const Answer answer = session.call("GET", "/v1/raid");
  if (!answer.ok()) {
    return session.fail(answer);
  }
  if (session.options().json) {
    fmt::print("{}\n", answer.json.dump(2));
  } else {
    show_groups(answer.json);
  }
  bool well = true;
  for (const Json& group : answer.json.value("groups", Json::array())) {
    well = well && group.value("state", std::string()) == "optimal";
  }
  return well ? Exit::kOk : Exit::kFailed;
}

}  // namespace

void add_raid_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("raid", "The redundancy groups below the filer");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer("Example: duet raid fail tank /dev/disk/by-id/wwn-0x5000000000000009");
  group->add_subcommand("status", "Groups, disks and counters; exit code 1: one is not optimal")
      ->callback([&action] { action = status; });
  const auto name = std::make_shared<std::string>();
  const auto disk = std::make_shared<std::string>();
  CLI::App* fail = group->add_subcommand("fail", "A disk is not to be used any more");
  fail->add_option("GROUP", *name, "Its group")->required();
  fail->add_option("DISK", *disk, "Its path, the end of that, or its number")->required();
  fail->footer(
      "What it holds is then computed from the other disks.  Refused if the group could lose no "
      "more.");
  fail->callback([&action, name, disk] {
    action = [name, disk](Session& session) {
      return session.done(session.call("POST", "/v1/raid/" + *name + "/fail", {{"disk", *disk}}),
                          fmt::format("disk {} of {} is not used any more", *disk, *name));
    };
  });
}

}  // namespace duet::cli
