// duet log: the log of the serving filer, or, when nobody serves, what its memory holds.

#include <fmt/format.h>

#include "commands.h"
#include "local.h"
#include "nvlog/request_log.h"
#include "text.h"

namespace duet::cli {

namespace {

void show_serving(const Json& json) {
  fmt::print("serving: sequence {}, durable up to {}\n",
             grouped(json.value("last_sequence", std::uint64_t{0})),
             grouped(json.value("durable_sequence", std::uint64_t{0})));
  fmt::print("filling half: {} records, {} of {}; the other half is {}\n",
             grouped(json.value("filling_records", std::uint64_t{0})),
             config::size_text(json.value("filling_bytes", std::uint64_t{0})),
             config::size_text(json.value("half_bytes", std::uint64_t{0})),
             json.value("other_half_free", false) ? "free" : "waiting for its consistency point");
  fmt::print("since the start: {} records, {}; replayed then: {} records in {:.1f} ms\n",
             grouped(json.value("logged_records", std::uint64_t{0})),
             config::size_text(json.value("logged_bytes", std::uint64_t{0})),
             grouped(json.value("replayed_records", std::uint64_t{0})),
             json.value("replay_ms", 0.0));
}

Json probe_json(const nvlog::RegionProbe& probe, const config::Memory& memory, bool persistent) {
  Json areas = Json::array();
  for (std::uint32_t area = 0; area < nvlog::kAreas; ++area) {
    areas.push_back({{"filer", area == 0 ? "a" : "b"},
                     {"formatted", probe.areas[area] != nvlog::LogIdentity{}},
                     {"epoch", probe.epochs[area]},
                     {"records", probe.records[area]}});
  }
  return {{"memory", memory.path.text},
          {"persistent", persistent},
          {"blank", probe.blank},
          {"ours", probe.ours},
          {"areas", areas}};
}

void show_areas(const Json& json, std::string_view what) {
  fmt::print("{} is {}persistent and {}\n", json.value("memory", std::string()),
             json.value("persistent", false) ? "" : "NOT ",
             json.value("blank", false)  ? "blank"
             : json.value("ours", false) ? "a log region"
                                         : "not a log region");
  for (const Json& area : json.value("areas", Json::array())) {
    if (area.value("formatted", false)) {
      fmt::print("filer {}: epoch {}, {} records {}\n", area.value("filer", std::string()),
                 area.value("epoch", std::uint64_t{0}),
                 grouped(area.value("records", std::uint64_t{0})), what);
    }
  }
}

void show_probe(const Json& json) {
  fmt::print("nobody serves; ");
  show_areas(json, "that the next start looks at");
  if (json.contains("mirror")) {
    fmt::print("copies of the partner's logs: ");
    show_areas(json.at("mirror"), "that a takeover looks at");
  }
}

// Null, and the message is printed: it cannot be looked at.
Json look(Session& session, config::Memory memory) {
  memory.accept_volatile = true;  // looking is no serving
  std::unique_ptr<os::MappedMemory> opened;
  if (std::string wrong = open_memory(*session.config(), memory, /*create=*/false, opened);
      !wrong.empty()) {
    session.fail(Exit::kUsage, wrong);
    return nullptr;
  }
  if (opened == nullptr) {
    session.fail(Exit::kUsage,
                 fmt::format("memory {} is not there; `duet init` makes it", memory.path.text));
    return nullptr;
  }
  return probe_json(nvlog::probe(*opened), memory, opened->persistent());
}

Exit show_log(Session& session) {
  const Answer answer = session.call("GET", "/v1/log");
  if (answer.status != 0 || !session.options().url.empty()) {
    return show(session, "/v1/log", show_serving);
  }
  const config::Node* node = session.node();
  if (node == nullptr) {
    return Exit::kUsage;
  }
  Json json = look(session, node->memory);
  if (json.is_null()) {
    return Exit::kUsage;
  }
  if (node->mirror) {
    json["mirror"] = look(session, *node->mirror);
    if (json["mirror"].is_null()) {
      return Exit::kUsage;
    }
  }
  if (session.options().json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    show_probe(json);
  }
  return Exit::kOk;
}

}  // namespace

void add_log_command(CLI::App& app, Action& action) {
  app.add_subcommand("log", "The request log, or what its memory holds when nobody serves")
      ->callback([&action] { action = show_log; });
}

}  // namespace duet::cli
