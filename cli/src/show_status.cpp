#include <fmt/format.h>
#include <unistd.h>

#include "admin/version.h"
#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

std::uint64_t number(const Json& json, const char* key) {
  return json.value(key, std::uint64_t{0});
}

std::string size(const Json& json, const char* key) { return config::size_text(number(json, key)); }

std::string volume_table(const Json& volumes) {
  std::vector<std::vector<std::string>> rows{{"VOLUME", "USED", "LIMIT", "FILES", "SNAPSHOTS"}};
  for (const Json& volume : volumes) {
    const std::uint64_t limit = number(volume, "limit_bytes");
    rows.push_back({volume.value("name", std::string()), size(volume, "used_bytes"),
                    limit == 0 ? "-" : config::size_text(limit),
                    grouped(number(volume, "inodes_used")), grouped(number(volume, "snapshots"))});
  }
  return table(rows);
}

std::string memory_text(const Json& memory) {
  const std::string safety = memory.value("persistent", false)
                                 ? "persistent"
                                 : "NOT persistent: survives a crash, not a loss of power";
  return fmt::format("{} {}, {}", memory.value("path", std::string()), size(memory, "bytes"),
                     safety);
}

std::string cp_text(const Json& cp) {
  return fmt::format(
      "{} done; the last wrote {} blocks in {:.1f} ms, clients waited {:.2f} ms; {} "
      "back-to-back",
      grouped(number(cp, "count")), grouped(number(cp, "last_blocks")),
      cp.value("last_duration_ms", 0.0), cp.value("last_freeze_ms", 0.0),
      grouped(number(cp, "back_to_back")));
}

std::string log_text(const Json& log) {
  return fmt::format("{} records, {} of {} in the filling half; {} replayed at the start",
                     grouped(number(log, "filling_records")), size(log, "filling_bytes"),
                     size(log, "half_bytes"), grouped(number(log, "replayed_records")));
}

std::string group_text(const Json& group) {
  if (!group.value("managed", true)) {
    return fmt::format("{}: {}, NOT managed by this node", group.value("name", std::string()),
                       group.value("level", std::string()));
  }
  const Json counters = group.value("counters", Json::object());
  const std::uint64_t whole = number(counters, "whole_stripe_updates");
  const std::uint64_t all =
      whole + number(counters, "read_modify_updates") + number(counters, "reconstruct_updates");
  std::uint64_t members = 0;
  for (const Json& disk : group.value("disks", Json::array())) {
    members += disk.contains("number") ? 1 : 0;
  }
  return fmt::format(
      "{}: {} of {} disks, {}, {} more may fail{}", group.value("name", std::string()),
      group.value("level", std::string()), members, group.value("state", std::string()),
      number(group, "can_lose"),
      all == 0 ? "" : fmt::format("; {} % of {} updates whole", whole * 100 / all, grouped(all)));
}

void show_status(const Json& json) {
  std::string addresses;
  for (const Json& address : json.value("addresses", Json::array())) {
    addresses += (addresses.empty() ? "" : ", ") + address.get<std::string>();
  }
  const Json space = json.value("space", Json::object());
  fmt::print("pair {}, node {}, filer {}: {}, up {}, {}\n", json.value("pair", std::string()),
             json.value("node", std::string()), json.value("filer", std::string()),
             json.value("state", std::string()), duration_text(json.value("uptime_seconds", 0.0)),
             json.value("version", std::string()));
  fmt::print("  addresses  {}\n", addresses);
  fmt::print("  memory     {}\n", memory_text(json.value("memory", Json::object())));
  fmt::print("  space      {} of {} free; {} not yet in a CP, {} cached\n",
             size(space, "free_bytes"), size(space, "total_bytes"), size(space, "dirty_bytes"),
             size(space, "cached_bytes"));
  fmt::print("  log        {}\n", log_text(json.value("log", Json::object())));
  fmt::print("  CPs        {}\n", cp_text(json.value("cp", Json::object())));
  fmt::print("  clients    {} connections, {} requests\n", grouped(number(json, "connections")),
             grouped(number(json, "requests")));
  for (const Json& group : json.value("raid", Json::array())) {
    fmt::print("  raid       {}\n", group_text(group));
  }
  fmt::print("\n{}", volume_table(json.value("volumes", Json::array())));
  for (const Json& warning : json.value("warnings", Json::array())) {
    fmt::print("\nwarning: {}\n", warning.get<std::string>());
  }
}

void show_space(const Json& json) {
  const Json aggregate = json.value("aggregate", Json::object());
  const std::uint64_t total = number(aggregate, "total_bytes");
  const std::uint64_t free_bytes = number(aggregate, "free_bytes");
  const std::uint64_t used = total - std::min(total, free_bytes);
  fmt::print("{}\n", table({{"AGGREGATE", "SIZE", "USED", "FREE", "USED%"},
                            {"total", config::size_text(total), config::size_text(used),
                             config::size_text(free_bytes),
                             fmt::format("{}%", total == 0 ? 0 : used * 100 / total)}}));
  fmt::print("{}", volume_table(json.value("volumes", Json::array())));
}

Exit show_version(Session& session) {
  const bool known =
      !session.options().url.empty() || access(session.options().config_file.c_str(), R_OK) == 0;
  const Answer answer = known ? session.call("GET", "/v1/version") : Answer{};
  const std::string server =
      answer.ok() ? answer.json.value("version", std::string()) : "not reached";
  if (session.options().json) {
    fmt::print("{}\n", Json{{"duet", admin::version()}, {"server", server}}.dump(2));
  } else {
    fmt::print("duet {}, server {}\n", admin::version(), server);
  }
  return Exit::kOk;
}

}  // namespace

Exit show(Session& session, const std::string& path,
          const std::function<void(const Json&)>& show_text) {
  const Answer answer = session.call("GET", path);
  if (!answer.ok()) {
    return session.fail(answer);
  }
  if (session.options().json) {
    fmt::print("{}\n", answer.json.dump(2));
  } else {
    show_text(answer.json);
  }
  const bool failed = answer.json.is_object() && answer.json.value("health", "") == "failed";
  return failed ? Exit::kFailed : Exit::kOk;
}

namespace {

// Of a pair, unless a filer is named: the pair, then each filer that can be reached from here.
Exit status(Session& session) {
  const Options& options = session.options();
  const config::Config* config = options.url.empty() ? session.config() : nullptr;
  const bool pair = config != nullptr && config->is_pair() && options.filer.empty();
  if (!pair || options.json) {
    return show(session, "/v1/status", show_status);
  }
  Exit result = show_failover(session);
  if (result == Exit::kUnreachable) {
    return result;
  }
  for (const config::Filer& filer : config->filers) {
    fmt::print("\n");
    const Exit shown = show(session, "/v1/filers/" + filer.name + "/status", show_status);
    result = result == Exit::kOk ? shown : result;
  }
  return result;
}

}  // namespace

void add_status_commands(CLI::App& app, Action& action) {
  app.add_subcommand("status", "The pair and its filers at a glance, and what needs attention")
      ->callback([&] { action = status; });
  app.add_subcommand("df", "Space of the aggregate and its volumes")->callback([&] {
    action = [](Session& session) { return show(session, "/v1/df", show_space); };
  });
  app.add_subcommand("version", "Of this program and of the server")->callback([&] {
    action = show_version;
  });
}

}  // namespace duet::cli
