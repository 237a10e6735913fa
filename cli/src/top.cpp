#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

struct Rate {
  std::string name;
  double per_second = 0;
  double mean_ns = 0;
  double p99_ns = 0;  // the upper bound of its bucket
  double failures_per_second = 0;
};

std::uint64_t number(const Json& json, const char* key) {
  return json.value(key, std::uint64_t{0});
}

// The bucket bound below which 99 of 100 of the interval's calls were.
double p99(const Json& before, const Json& after, std::uint64_t calls) {
  const Json old = before.value("buckets", Json::array());
  const Json now = after.value("buckets", Json::array());
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    seen += now[i].get<std::uint64_t>() - (i < old.size() ? old[i].get<std::uint64_t>() : 0);
    if (seen * 100 >= calls * 99) {
      return static_cast<double>(std::uint64_t{1} << (i + 10));
    }
  }
  return 0;
}

std::vector<Rate> rates(const Json& before, const Json& after, double seconds) {
  std::vector<Rate> list;
  const Json old = before.value("procedures", Json::array());
  const Json now = after.value("procedures", Json::array());
  for (std::size_t i = 0; i < now.size(); ++i) {
    const Json earlier = i < old.size() ? old[i] : Json::object();
    const std::uint64_t calls = number(now[i], "calls") - number(earlier, "calls");
    if (calls == 0) {
      continue;
    }
    Rate rate;
    rate.name = now[i].value("procedure", std::string());
    rate.per_second = static_cast<double>(calls) / seconds;
    rate.mean_ns = static_cast<double>(number(now[i], "total_ns") - number(earlier, "total_ns")) /
                   static_cast<double>(calls);
    rate.p99_ns = p99(earlier, now[i], calls);
    rate.failures_per_second =
        static_cast<double>(number(now[i], "failures") - number(earlier, "failures")) / seconds;
    list.push_back(rate);
  }
  std::sort(list.begin(), list.end(),
            [](const Rate& left, const Rate& right) { return left.per_second > right.per_second; });
  return list;
}

void print_json(const std::vector<Rate>& list) {
  Json procedures = Json::array();
  for (const Rate& rate : list) {
    procedures.push_back({{"procedure", rate.name},
                          {"per_second", rate.per_second},
                          {"mean_ns", rate.mean_ns},
                          {"p99_below_ns", rate.p99_ns},
                          {"failures_per_second", rate.failures_per_second}});
  }
  fmt::print("{}\n", Json{{"procedures", procedures}}.dump());
}

void print_screen(const Json& after, const std::vector<Rate>& list) {
  if (isatty(STDOUT_FILENO) != 0) {
    fmt::print("\x1b[H\x1b[2J");
  }
  const Json log = after.value("log", Json::object());
  const Json cp = after.value("cp", Json::object());
  fmt::print("{} connections; log half {} of {}; {} CPs, {} back-to-back; {} not yet in a CP\n\n",
             grouped(number(after, "connections")), config::size_text(number(log, "filling_bytes")),
             config::size_text(number(log, "half_bytes")), grouped(number(cp, "count")),
             grouped(number(cp, "back_to_back")),
             config::size_text(number(after.value("space", Json::object()), "dirty_bytes")));
  std::vector<std::vector<std::string>> rows{
      {"PROCEDURE", "PER SECOND", "MEAN", "P99 BELOW", "ERRORS/S"}};
  for (const Rate& rate : list) {
    rows.push_back({rate.name, fmt::format("{:.0f}", rate.per_second), latency_text(rate.mean_ns),
                    latency_text(rate.p99_ns), fmt::format("{:.0f}", rate.failures_per_second)});
  }
  fmt::print("{}\n", table(rows));
  std::fflush(stdout);
}

Exit top(Session& session, double interval_seconds, std::uint64_t count) {
  Answer before = session.call("GET", "/v1/counters");
  for (std::uint64_t round = 0; before.ok() && (count == 0 || round < count); ++round) {
    std::this_thread::sleep_for(std::chrono::duration<double>(interval_seconds));
    Answer after = session.call("GET", "/v1/counters");
    if (!after.ok()) {
      return session.fail(after);
    }
    const auto passed_ns = number(after.json, "now_ns") - number(before.json, "now_ns");
    const double seconds = std::max(static_cast<double>(passed_ns) / 1e9, 1e-3);
    const std::vector<Rate> list = rates(before.json, after.json, seconds);
    if (session.options().json) {
      print_json(list);
    } else {
      print_screen(after.json, list);
    }
    before = std::move(after);
  }
  return before.ok() ? Exit::kOk : session.fail(before);
}

}  // namespace

void add_top_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("top", "What clients do, second by second");
  const auto interval = std::make_shared<double>(1.0);
  const auto count = std::make_shared<std::uint64_t>(0);
  command->add_option("--interval", *interval, "Seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_option("--count", *count, "How many looks; 0: until interrupted")
      ->capture_default_str();
  command->callback([&action, interval, count] {
    action = [interval, count](Session& session) { return top(session, *interval, *count); };
  });
}

}  // namespace duet::cli
