// duet failover, takeover, giveback: the pair at a glance, and moving its filers.

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <thread>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

constexpr std::size_t kEventsShown = 8;
constexpr int kServedTries = 500;
constexpr std::chrono::milliseconds kServedPause{20};

std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// --node may name one of the two.
bool is_asked(const Session& session, const config::Node& node) {
  return session.options().node.empty() || session.options().node == node.name;
}

// What each node that can be reached from here says; by the nodes' names.
Json ask_both(Session& session, const config::Config& pair) {
  Json views = Json::object();
  for (const config::Node& node : pair.nodes) {
    if (is_asked(session, node)) {
      Answer answer = session.ask_state(node);
      if (answer.ok()) {
        views[node.name] = std::move(answer.json);
      }
    }
  }
  return views;
}

std::string mirror_text(const Json& filer) {
  const Json mirror = filer.value("mirror", Json::object());
  if (mirror.empty()) {
    return "-";
  }
  const double seconds = mirror.value("seconds", 0.0);
  if (mirror.value("solo", false)) {
    return "solo since " + duration_text(seconds);
  }
  const std::string state = text(mirror, "state");
  return state == "in sync" && mirror.value("marked", false) ? "clearing the mark" : state;
}

// A filer's row from whoever knows of its latest epoch, of two from the one that has the filer: a
// node that is cut off still believes what was true before.
std::vector<std::string> filer_row(const Json& views, std::size_t index) {
  Json best;
  std::string waits_for;
  for (const auto& [node, view] : views.items()) {
    const Json filer = view.at("filers").at(index);
    waits_for = waits_for.empty() ? text(filer, "waits_for") : waits_for;
    const auto rank = [](const Json& one) {
      return std::pair(one.value("epoch", std::uint64_t{0}), text(one, "state") != "away");
    };
    if (best.is_null() || rank(filer) > rank(best)) {
      best = filer;
    }
  }
  const bool away = text(best, "state") == "away";
  const std::string state = away ? "served by node " + text(best, "owner") + ", as the record says"
                            : best.value("answering", false) ? text(best, "state")
                                                             : text(best, "state") + ", silent";
  return {text(best, "name"),
          text(best, "home"),
          text(best, "owner"),
          fmt::format("{}", best.value("epoch", std::uint64_t{0})),
          state,
          mirror_text(best),
          waits_for};
}

void show_vetoes(const Json& vetoes, const std::string& indent) {
  for (const Json& veto : vetoes) {
    fmt::print("{}{}: {}; {}\n", indent, veto.value("hard", true) ? "no" : "warning",
               text(veto, "reason"), text(veto, "remedy"));
  }
}

void show_node(const std::string& name, const Json& view) {
  const Json partner = view.value("partner", Json::object());
  std::size_t lost = 0;
  const Json disks = view.value("disks", Json::array());
  for (const Json& disk : disks) {
    lost += disk.value("connected", false) ? 0 : 1;
  }
  fmt::print("node {}: {}, {} disks{}; sees node {}: link {}, mailbox {} and {}{}\n", name,
             view.value("halted", false)        ? "halted"
             : view.value("conflict", false)    ? "resolving a reservation conflict"
             : view.value("lease_valid", false) ? "lease valid"
                                                : "no lease: silent",
             disks.size(), lost == 0 ? ", all connected" : fmt::format(", {} LOST", lost),
             text(partner, "node"), text(partner, "link"), text(partner, "mailbox"),
             text(partner, "beat"), partner.value("solo", false) ? ", SOLO" : "");
  for (const Json& disk : disks) {
    if (!disk.value("connected", false)) {
      fmt::print("  disk {}: {}\n", text(disk, "url"), text(disk, "last_error"));
    }
  }
  const Json mailbox = view.value("mailbox", Json::object());
  const Json members = mailbox.value("members", Json::object()).value(name, Json::object());
  std::string urls;
  for (const Json& url : members.value("disks", Json::array())) {
    urls += (urls.empty() ? "" : ", ") + url.get<std::string>();
  }
  const auto generation = members.value("generation", std::uint64_t{0});
  fmt::print("  mailbox of node {}: {} ({}){}\n", name, urls,
             generation == 0 ? "as configured" : fmt::format("generation {}", generation),
             mailbox.value("replacing", false) ? ", a member is being REPLACED" : "");
  fmt::print("  owner record: {}{}\n", text(mailbox, "arbitration"),
             mailbox.value("moving", false) ? ", MOVING to another disk" : "");
  for (const Json& difference : mailbox.value("differences", Json::array())) {
    fmt::print("  configuration: {}\n", difference.get<std::string>());
  }
  if (!text(view, "groups").empty()) {
    fmt::print("  redundancy groups: {}\n", text(view, "groups"));
  }
  if (!text(view, "automatic_giveback").empty()) {
    fmt::print("  giveback by itself: {}\n", text(view, "automatic_giveback"));
  }
  if (view.value("lapsed_ms", 0.0) > 0) {
    fmt::print("  the lease is over for {}: no client is answered by this node\n",
               duration_text(view.value("lapsed_ms", 0.0) / 1000));
  }
  if (!text(partner, "remedy").empty()) {
    fmt::print("  alarm: {}; {}\n", text(partner, "alarm"), text(partner, "remedy"));
  }
  const bool possible = view.value("takeover_possible", false);
  fmt::print("  takeover of node {} by node {}: {}\n", text(partner, "node"), name,
             possible ? "possible" : "NOT possible");
  show_vetoes(view.value("takeover_vetoes", Json::array()), "    ");
}

std::string clock_text(std::int64_t ns_since_epoch) {
  const std::time_t seconds = ns_since_epoch / 1'000'000'000;
  std::tm fields{};
  localtime_r(&seconds, &fields);
  return fmt::format("{:02}:{:02}:{:02}.{:03}", fields.tm_hour, fields.tm_min, fields.tm_sec,
                     ns_since_epoch / 1'000'000 % 1000);
}

void show_past(const std::string& name, const Json& view) {
  const Json last = view.value("last_takeover", Json::object());
  if (!last.empty()) {
    fmt::print(
        "\nlast takeover by node {}: detect {:.0f} ms, fence {:.0f} ms, replay {:.0f} ms, "
        "address {:.0f} ms; swap to first answer {:.0f} ms\n",
        name, last.value("detect_ms", 0.0), last.value("fence_ms", 0.0),
        last.value("replay_ms", 0.0), last.value("address_ms", 0.0), last.value("serve_ms", 0.0));
  }
  const Json events = view.value("events", Json::array());
  const std::size_t first = events.size() > kEventsShown ? events.size() - kEventsShown : 0;
  for (std::size_t i = first; i < events.size(); ++i) {
    const Json& event = events[i];
    const std::string filer = text(event, "filer");
    fmt::print("{} node {} {}: {}{}{}\n", clock_text(event.value("time_ns", std::int64_t{0})), name,
               text(event, "severity"), filer.empty() ? "" : "filer " + filer + ": ",
               text(event, "what"),
               text(event, "remedy").empty() ? "" : "; " + text(event, "remedy"));
  }
}

// Null, and why is printed.
const config::Config* pair_of(Session& session) {
  const config::Config* config = session.config();
  if (config != nullptr && !config->is_pair()) {
    session.fail(Exit::kUsage, config->file + ": no pair: there is no pair.interconnect");
    return nullptr;
  }
  return config;
}

Exit unreachable(Session& session) {
  return session.fail(Exit::kUnreachable,
                      "no node of the pair answers here: is duetd running, and may this user "
                      "connect?");
}

// Exit code 1: something would not work.
Exit check_failover(Session& session) {
  const config::Config* pair = pair_of(session);
  if (pair == nullptr) {
    return Exit::kUsage;
  }
  const Json views = ask_both(session, *pair);
  if (views.empty()) {
    return unreachable(session);
  }
  bool good = views.size() == pair->nodes.size() || !session.options().node.empty();
  for (const auto& [name, view] : views.items()) {
    good = good && view.value("takeover_possible", false);
    for (const Json& vetoes : view.value("handover_vetoes", Json::object())) {
      for (const Json& veto : vetoes) {
        good = good && !veto.value("hard", true);
      }
    }
  }
  if (session.options().json) {
    Json result = {{"good", good}, {"nodes", Json::object()}};
    for (const auto& [name, view] : views.items()) {
      result["nodes"][name] = {{"takeover_vetoes", view.at("takeover_vetoes")},
                               {"handover_vetoes", view.at("handover_vetoes")}};
    }
    fmt::print("{}\n", result.dump(2));
    return good ? Exit::kOk : Exit::kFailed;
  }
  for (const config::Node& node : pair->nodes) {
    const auto view = views.find(node.name);
    if (view == views.end()) {
      fmt::print("node {}: not {}\n", node.name,
                 is_asked(session, node) ? "reached from here" : "asked");
      continue;
    }
    const std::string peer = text(view->at("partner"), "node");
    fmt::print("takeover of node {} by node {}: {}\n", peer, node.name,
               view->value("takeover_possible", false) ? "possible" : "NOT possible");
    show_vetoes(view->at("takeover_vetoes"), "  ");
    for (const auto& [filer, vetoes] : view->at("handover_vetoes").items()) {
      fmt::print("handover of filer {} from node {} to node {}: {}\n", filer, node.name, peer,
                 vetoes.empty() ? "possible" : "see");
      show_vetoes(vetoes, "  ");
    }
  }
  return good ? Exit::kOk : Exit::kFailed;
}

// The filers that the partner of `of` would take: those that `of` owns.
Exit take_over(Session& session, const std::string& of, bool forced, std::uint64_t confirmation) {
  const config::Config* pair = pair_of(session);
  if (pair == nullptr) {
    return Exit::kUsage;
  }
  const std::string taker_name = of == "a" ? "b" : "a";
  const config::Node* taker = pair->node(taker_name);
  if (of != "a" && of != "b") {
    return session.fail(Exit::kUsage, "--of: the nodes of a pair are a and b");
  }
  if (forced) {
    const Json body = confirmation == 0 ? Json::object() : Json{{"confirmation", confirmation}};
    const Answer answer = session.call_node(*taker, "POST", "/v1/failover/force", body);
    if (!answer.ok()) {
      return session.fail(answer);
    }
    if (confirmation == 0) {
      fmt::print("{}\nTo do it: duet takeover --of {} --force --confirm {}\n",
                 text(answer.json, "warning"), of,
                 answer.json.value("confirmation", std::uint64_t{0}));
      return Exit::kFailed;
    }
    fmt::print("node {} takes over by force; see duet failover show\n", taker_name);
    return Exit::kOk;
  }
  const Answer view = session.ask_state(*taker);
  if (!view.ok()) {
    return view.status == 0 ? session.fail(Exit::kUnreachable, "node " + taker_name +
                                                                   " does not answer here: run "
                                                                   "this on its machine")
                            : session.fail(view);
  }
  Json moved = Json::array();
  for (const Json& filer : view.json.at("filers")) {
    if (text(filer, "owner") != of) {
      continue;
    }
    const Answer answer = session.call_node(*taker, "POST", "/v1/failover/takeover",
                                            {{"filer", text(filer, "name")}});
    if (!answer.ok()) {
      return session.fail(answer);
    }
    moved.push_back(answer.json);
    if (!session.options().json) {
      fmt::print("filer {} is served by node {}\n", text(filer, "name"), taker_name);
    }
  }
  if (session.options().json) {
    fmt::print("{}\n", Json{{"moved", moved}}.dump(2));
  } else if (moved.empty()) {
    fmt::print("node {} serves nothing\n", of);
  }
  return Exit::kOk;
}

// At the node whose mailbox it is: the home of the disk's filer.
Exit replace_member(Session& session, const std::string& old_disk, const std::string& new_disk) {
  const config::Config* pair = pair_of(session);
  if (pair == nullptr) {
    return Exit::kUsage;
  }
  const Json views = ask_both(session, *pair);
  if (views.empty()) {
    return unreachable(session);
  }
  std::string home;
  for (const Json& disk : views.begin()->at("disks")) {
    const std::string url = text(disk, "url");
    if (url == old_disk || url.substr(url.find_last_of("#/") + 1) == old_disk) {
      home = text(disk, "filer");
    }
  }
  if (home.empty()) {
    return session.fail(Exit::kUsage, old_disk +
                                          ": no disk of the pair; duet failover show --json "
                                          "has them all");
  }
  const Answer answer = session.call_node(*pair->node(home), "POST", "/v1/failover/members",
                                          {{"old", old_disk}, {"new", new_disk}});
  if (answer.status == 0) {
    return session.fail(Exit::kUnreachable,
                        "node " + home + " does not answer here: run this on its machine");
  }
  if (!answer.ok()) {
    return session.fail(answer);
  }
  return session.done(
      answer, fmt::format("{} is a mailbox member of node {} instead of {}; bring `mailbox: true` "
                          "in {} up to date",
                          text(answer.json, "new"), home, text(answer.json, "old"), pair->file));
}

Exit move_record(Session& session, const std::string& to) {
  const config::Config* pair = pair_of(session);
  if (pair == nullptr) {
    return Exit::kUsage;
  }
  const Answer answer = session.call("POST", "/v1/failover/arbitration", {{"to", to}});
  if (!answer.ok()) {
    return session.fail(answer);
  }
  return session.done(answer, fmt::format("the owner record is on {}; bring `arbitration: true` in "
                                          "{} up to date",
                                          text(answer.json, "arbitration"), pair->file));
}

// A filer that was handed over is opened at the other end after the answer.  False: it is not
// served there in time.  A node that does not answer here is believed.
bool await_served(Session& session, const config::Node& node, const std::string& filer) {
  for (int tried = 0; tried < kServedTries; ++tried) {
    const Answer view = session.ask_state(node);
    if (!view.ok()) {
      return true;
    }
    for (const Json& each : view.json.value("filers", Json::array())) {
      if (text(each, "name") == filer && text(each, "state") == "serving") {
        return true;
      }
    }
    std::this_thread::sleep_for(kServedPause);
  }
  return false;
}

Exit give_back(Session& session, bool check) {
  if (check) {
    return check_failover(session);
  }
  const config::Config* pair = pair_of(session);
  if (pair == nullptr) {
    return Exit::kUsage;
  }
  const Answer answer = session.call("POST", "/v1/failover/giveback");
  if (!answer.ok()) {
    return session.fail(answer);
  }
  for (const Json& one : answer.json.value("moved", Json::array())) {
    const config::Node* home = pair->node(text(one, "to"));
    if (home != nullptr && !await_served(session, *home, text(one, "filer"))) {
      return session.fail(
          Exit::kFailed, fmt::format("filer {} was handed to node {}, which does not serve it yet; "
                                     "duet failover show says what it waits for",
                                     text(one, "filer"), home->name));
    }
  }
  if (session.options().json) {
    fmt::print("{}\n", answer.json.dump(2));
    return Exit::kOk;
  }
  const Json moved = answer.json.value("moved", Json::array());
  for (const Json& one : moved) {
    fmt::print("filer {} is served by node {}, its home\n", text(one, "filer"), text(one, "to"));
  }
  if (moved.empty()) {
    fmt::print("every filer is at home\n");
  }
  return Exit::kOk;
}

}  // namespace

Exit show_failover(Session& session) {
  const config::Config* pair = pair_of(session);
  if (pair == nullptr) {
    return Exit::kUsage;
  }
  const Json views = ask_both(session, *pair);
  if (views.empty()) {
    return unreachable(session);
  }
  if (session.options().json) {
    fmt::print("{}\n", views.dump(2));
    return Exit::kOk;
  }
  std::vector<std::vector<std::string>> rows{
      {"FILER", "HOME", "OWNER", "EPOCH", "STATE", "LOG MIRROR", "WAITS FOR"}};
  for (std::size_t i = 0; i < views.begin()->at("filers").size(); ++i) {
    rows.push_back(filer_row(views, i));
  }
  fmt::print("pair {}\n{}\n", pair->pair, table(rows));
  for (const config::Node& node : pair->nodes) {
    const auto view = views.find(node.name);
    if (view == views.end()) {
      const bool asked = session.options().node.empty() || session.options().node == node.name;
      fmt::print("node {}: not {}\n", node.name, asked ? "reached from here" : "asked");
    } else {
      show_node(node.name, *view);
    }
  }
  for (const auto& [name, view] : views.items()) {
    show_past(name, view);
  }
  return Exit::kOk;
}

void add_failover_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("failover", "The pair: who serves what, and what would be");
  group->require_subcommand(1);
  group->add_subcommand("show", "Nodes, filers, log mirrors, disks and events on one screen")
      ->callback([&] { action = show_failover; });
  group->add_subcommand("check", "Whether takeover and handover would work now, and why not")
      ->callback([&] { action = check_failover; });

  CLI::App* member = group->add_subcommand("member", "The disks that carry a node's mailbox");
  member->require_subcommand(1);
  CLI::App* replace = member->add_subcommand("replace", "Makes another disk a mailbox member");
  const auto old_disk = std::make_shared<std::string>();
  const auto new_disk = std::make_shared<std::string>();
  replace->add_option("old", *old_disk, "The member that goes: its URL, or the end of it")
      ->required();
  replace->add_option("new", *new_disk, "The disk of the same filer that comes")->required();
  replace->footer("Example: duet failover member replace a1 a2");
  replace->callback([&action, old_disk, new_disk] {
    action = [=](Session& session) { return replace_member(session, *old_disk, *new_disk); };
  });
  CLI::App* arbitration =
      group->add_subcommand("arbitration", "The record of who owns which filer");
  arbitration->require_subcommand(1);
  CLI::App* move = arbitration->add_subcommand("move", "Moves the record to another disk");
  const auto to = std::make_shared<std::string>();
  move->add_option("disk", *to, "A disk that is no mailbox member: its URL, or the end of it")
      ->required();
  move->callback(
      [&action, to] { action = [=](Session& session) { return move_record(session, *to); }; });

  CLI::App* takeover =
      app.add_subcommand("takeover", "Moves all that a node serves to its partner");
  const auto of = std::make_shared<std::string>();
  const auto forced = std::make_shared<bool>(false);
  const auto confirmation = std::make_shared<std::uint64_t>(0);
  takeover->add_option("--of", *of, "The node whose filers are taken")->required();
  takeover->add_flag("--force", *forced,
                     "Take over a dead node although requests will be lost; asks twice");
  takeover->add_option("--confirm", *confirmation, "With --force: the number that it gave");
  takeover->footer("Planned: clients see a pause, nothing is lost.\nExample: duet takeover --of b");
  takeover->callback([&action, of, forced, confirmation] {
    action = [=](Session& session) { return take_over(session, *of, *forced, *confirmation); };
  });

  CLI::App* giveback = app.add_subcommand("giveback", "Moves every filer to its home");
  const auto check = std::make_shared<bool>(false);
  giveback->add_flag("--check", *check, "Only say what stands in the way");
  giveback->callback(
      [&action, check] { action = [=](Session& session) { return give_back(session, *check); }; });
}

}  // namespace duet::cli
