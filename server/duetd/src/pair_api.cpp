// What operators ask of the pair: docs/ADMIN_API.md, "failover".

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "admin/reply.h"
#include "admin/version.h"
#include "pair.h"

namespace duet::daemon {

namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

constexpr Duration kHandoverPatience = 30s;  // its last CP included

constexpr std::array<const char*, 2> kNames = {"a", "b"};

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

const char* name_of(failover::FilerState state) {
  switch (state) {
    case failover::FilerState::kAway:
      return "away";
    case failover::FilerState::kOpening:
      return "opening";
    case failover::FilerState::kServing:
      return "serving";
    case failover::FilerState::kHanding:
      return "handing over";
    case failover::FilerState::kEnding:
      break;
  }
  return "ending";
}

const char* name_of(failover::LinkEvidence link) {
  switch (link) {
    case failover::LinkEvidence::kUp:
      return "up";
    case failover::LinkEvidence::kReset:
      return "up, the partner has restarted";
    case failover::LinkEvidence::kLost:
      break;
  }
  return "lost";
}

const char* name_of(failover::MailboxEvidence mailbox) {
  switch (mailbox) {
    case failover::MailboxEvidence::kBoth:
      return "readable";
    case failover::MailboxEvidence::kOne:
      return "readable in part";
    case failover::MailboxEvidence::kNone:
      break;
  }
  return "not readable";
}

const char* name_of(failover::BeatEvidence beat) {
  switch (beat) {
    case failover::BeatEvidence::kChanging:
      return "changing";
    case failover::BeatEvidence::kClaims:
      return "claims this node's filer";
    case failover::BeatEvidence::kStale:
      break;
  }
  return "stale";
}

const char* name_of(nvlog::MirrorState state) {
  switch (state) {
    case nvlog::MirrorState::kSynced:
      return "in sync";
    case nvlog::MirrorState::kInterrupted:
      return "interrupted";
    case nvlog::MirrorState::kNone:
      return "none";
    case nvlog::MirrorState::kPreparing:
    case nvlog::MirrorState::kFilling:
    case nvlog::MirrorState::kSealing:
      break;
  }
  return "beginning";
}

const char* name_of(failover::GroupsState state) {
  switch (state) {
    case failover::GroupsState::kShared:
      return "shared with the partner";
    case failover::GroupsState::kAlone:
      return "managed by this node alone";
    case failover::GroupsState::kWaiting:
      break;
  }
  return "not managed by this node";
}

const char* name_of(failover::Severity severity) {
  switch (severity) {
    case failover::Severity::kInformation:
      return "information";
    case failover::Severity::kWarning:
      return "warning";
    case failover::Severity::kError:
      return "error";
    case failover::Severity::kCritical:
      break;
  }
  return "critical";
}

Json vetoes_json(const std::vector<failover::Veto>& vetoes) {
  Json list = Json::array();
  for (const failover::Veto& veto : vetoes) {
    list.push_back({{"hard", veto.hard}, {"reason", veto.reason}, {"remedy", veto.remedy}});
  }
  return list;
}

Json phases_json(const failover::Phases& phases) {
  Json filers = Json::array();
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    if (phases.filers[filer]) {
      filers.push_back(kNames[filer]);
    }
  }
  return {{"filers", filers},
          {"detect_ms", milliseconds(phases.detect)},
          {"fence_ms", milliseconds(phases.fence)},
          {"replay_ms", milliseconds(phases.replay)},
          {"address_ms", milliseconds(phases.address)},
          {"serve_ms", milliseconds(phases.serve)}};
}

}  // namespace

Json Pair::filer_json(std::uint32_t filer) const {
  const failover::FilerStatus status = pair_->status().filers[filer];
  Json json = {{"name", kNames[filer]},
               {"home", kNames[filer]},
               {"owner", kNames[status.owner]},
               {"epoch", status.epoch},
               {"state", name_of(status.state)},
               {"answering", status.answering},
               {"waits_for", status.waits_for},
               {"last_handover_silence_ms", milliseconds(status.handover_silence)},
               {"last_handover_error", status.handover_error}};
  const filer::Filer* open = hosts_[filer]->filer();
  if (open != nullptr && open->mirrored_log() != nullptr) {
    const nvlog::MirrorStatus mirror = open->mirrored_log()->mirror_status();
    json["mirror"] = {{"state", name_of(mirror.state)},
                      {"solo", mirror.solo},
                      {"marked", mirror.marked},
                      {"seconds", milliseconds(machine_.strand.now() - mirror.since) / 1000},
                      {"generation", mirror.generation},
                      {"under_way", mirror.under_way},
                      {"went_solo", mirror.went_solo},
                      {"resumed", mirror.resumed}};
    json["replayed_records"] = open->statistics().replayed_records;
  }
  return json;
}

// By the worst of them: state() is what fences go by, and calls them shared as soon as one is.
std::string Pair::groups_text() const {
  const raid::NodeId partner{static_cast<std::uint8_t>(1 - number())};
  std::string unmanaged;
  std::string alone;
  for (const std::unique_ptr<groups::ManagedGroup>& group : groups_->all()) {
    const std::string& name = group->configured().name;
    if (!group->managed()) {
      unmanaged += (unmanaged.empty() ? ": " : ", ") + name;
    } else if (!raid::contains(group->group().status().members, partner)) {
      alone += (alone.empty() ? ": " : ", ") + name;
    }
  }
  if (!unmanaged.empty()) {
    return name_of(failover::GroupsState::kWaiting) + unmanaged;
  }
  return alone.empty() ? name_of(failover::GroupsState::kShared)
                       : name_of(failover::GroupsState::kAlone) + alone;
}

std::string Pair::url_of(std::size_t disk) const { return disks_[disk].configured->shown(); }

// By its URL, or by the name at the end of it if only one has that.
std::optional<std::size_t> Pair::disk_named(const std::string& name) const {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const std::string url = url_of(i);
    if (url == name || disks_[i].configured->path.text == name) {
      return i;
    }
    if (url.substr(url.find_last_of("#/") + 1) == name) {
      if (found) {
        return std::nullopt;
      }
      found = i;
    }
  }
  return found;
}

std::vector<CarryingDisk> Pair::carrying_disks() const {
  std::vector<CarryingDisk> list;
  for (std::size_t i = 0; i < disks_.size() && disks_[i].carries; ++i) {
    list.push_back({url_of(i), disks_[i].filer});
  }
  return list;
}

std::string Pair::what_it_carries(const std::string& url) const {
  const std::optional<std::size_t> disk = disk_named(url);
  const std::vector<CarryingDisk> disks = carrying_disks();
  return disk && *disk < disks.size() ? what_is_carried(pair_->status(), disks, *disk)
                                      : std::string();
}

// Also by its number in the group.
std::string Pair::note_on(const admin::RaidOrder& order) const {
  const groups::ManagedGroup* const group = groups_->find(order.group);
  const auto number = group != nullptr && group->managed() ? group->find_disk(order.disk)
                                                           : std::optional<std::uint32_t>();
  const std::vector<CarryingDisk> disks = carrying_disks();
  for (std::size_t i = 0; number && i < disks.size(); ++i) {
    const groups::Slot* const slot = group->disks()[*number].slot;
    if (slot != nullptr && slot->configured == disks_[i].configured) {
      return note_on_replaced(pair_->status(), disks, i);
    }
  }
  return {};
}

// Which disks carry the mailboxes and the owner record, as they say themselves.
Json Pair::mailbox_json() const {
  const failover::PairStatus status = pair_->status();
  Json members = Json::object();
  Json differences = Json::array();
  for (std::uint32_t node = 0; node < 2; ++node) {
    const failover::MembersStatus& of_node = status.members[node];
    Json urls = Json::array();
    for (const std::size_t disk : of_node.disks) {
      urls.push_back(url_of(disk));
    }
    members[kNames[node]] = {
        {"known", of_node.known}, {"generation", of_node.generation}, {"disks", urls}};
    const auto is_member = [&of_node](std::size_t disk) {
      return std::ranges::find(of_node.disks, disk) != of_node.disks.end();
    };
    bool differs = false;
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      differs =
          differs || (disks_[i].filer == node && is_member(i) != disks_[i].configured->mailbox);
    }
    // All of them: what is written for one disk ends the defaults of the others.
    for (std::size_t i = 0; of_node.known && differs && i < disks_.size(); ++i) {
      const bool is = is_member(i);
      if (disks_[i].filer == node && (is || disks_[i].configured->mailbox)) {
        const bool names_node = is && disks_[i].group != nullptr;
        differences.push_back(fmt::format("{} is {} mailbox member of node {}: write `mailbox: {}`",
                                          url_of(i), is ? "a" : "no", kNames[node],
                                          names_node ? kNames[node]
                                          : is       ? "true"
                                                     : "false"));
      }
    }
  }
  if (!disks_[status.arbitration].configured->arbitration) {
    differences.push_back(fmt::format("the owner record is on {}: write `arbitration: true` there",
                                      url_of(status.arbitration)));
  }
  return {{"members", members},
          {"replacing", status.replacing},
          {"arbitration", url_of(status.arbitration)},
          {"arbitration_generation", status.arbitration_generation},
          {"moving", status.moving},
          {"differences", differences}};
}

Json Pair::disks_json() const {
  const failover::PairStatus status = pair_->status();
  Json list = Json::array();
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const Disk& disk = disks_[i];
    const shelf::DiskHealth health = disk.device->health();
    const std::vector<std::size_t>& members = status.members[disk.filer].disks;
    list.push_back({{"url", url_of(i)},
                    {"filer", kNames[disk.filer]},
                    {"mailbox", std::ranges::find(members, i) != members.end()},
                    {"arbitration", status.arbitration == i},
                    {"connected", health.connected},
                    {"reconnects", health.reconnects},
                    {"waiting", health.operations},
                    {"last_error", health.last_error}});
  }
  return list;
}

Json Pair::status_json() const {
  const failover::PairStatus status = pair_->status();
  const interconnect::LinkStatus link = link_->status();
  Json filers = Json::array();
  Json vetoes = Json::object();
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    filers.push_back(filer_json(filer));
    if (status.filers[filer].state == failover::FilerState::kServing) {
      vetoes[kNames[filer]] = vetoes_json(pair_->handover_vetoes(filer));
    }
  }
  const std::vector<failover::Veto> against = pair_->takeover_vetoes();
  Json events = Json::array();
  for (const PastEvent& past : events_) {
    events.push_back({{"time_ns", past.at_ns},
                      {"severity", name_of(past.event.severity)},
                      {"what", past.event.what},
                      {"remedy", past.event.remedy},
                      {"filer", past.event.filer ? kNames[*past.event.filer] : ""}});
  }
  Json json = {{"pair", machine_.config.pair},
               {"node", machine_.node.name},
               {"version", admin::version()},
               {"incarnation", incarnation_},
               {"entered", status.entered},
               {"waits_for", status.waits_for},
               {"lease_valid", status.lease_valid},
               {"lapsed_ms", milliseconds(status.lapsed)},
               {"conflict", status.conflict},
               {"halted", status.halted},
               {"filers", filers},
               {"partner",
                {{"node", kNames[1 - number()]},
                 {"link", name_of(status.evidence.link)},
                 {"link_reason", link.reason},
                 {"link_sessions", link_->counters().sessions},
                 {"mailbox", name_of(status.evidence.mailbox)},
                 {"beat", name_of(status.evidence.beat)},
                 {"solo", status.evidence.mirror == failover::MirrorEvidence::kSolo},
                 {"decision", failover::name(status.verdict.action)},
                 {"alarm", failover::name(status.verdict.alarm)},
                 {"remedy", failover::remedy(status.verdict.alarm)}}},
               {"takeover_possible", against.empty()},
               {"takeover_vetoes", vetoes_json(against)},
               {"handover_vetoes", vetoes},
               {"refused_takeovers", status.refused_takeovers},
               {"automatic_giveback", status.giveback},
               {"mailbox", mailbox_json()},
               {"disks", disks_json()},
               {"events", events}};
  if (groups_ != nullptr) {
    json["groups"] = groups_text();
  }
  if (status.last_takeover) {
    json["last_takeover"] = phases_json(*status.last_takeover);
  }
  return json;
}

// The filer moves to the other node, by a handover from whoever serves it.
Task<admin::Response> Pair::move(std::uint32_t filer) {
  const failover::FilerStatus before = pair_->status().filers[filer];
  const bool from_here = before.state == failover::FilerState::kServing;
  Status asked = Ok{};
  if (from_here) {
    asked = pair_->start_handover(filer);
  } else if (before.owner == number()) {
    asked = Error{Errc::kRefused, "the filer is on its way here"};
  } else {
    asked = pair_->ask_for(filer);
  }
  if (!asked.ok()) {
    co_return admin::refusal(409, "refused",
                             asked.error().code == Errc::kClosed
                                 ? "the partner does not answer over the link"
                                 : asked.error().context,
                             "duet failover check says what stands in the way");
  }
  const std::function<bool()> moved = [this, filer, from_here, before] {
    const failover::FilerStatus now = pair_->status().filers[filer];
    return from_here ? now.handovers != before.handovers
                     : now.state == failover::FilerState::kServing;
  };
  const bool in_time = co_await wait_for(moved, kHandoverPatience);
  if (!in_time) {
    co_return admin::refusal(504, "timeout", "the filer was not handed over in time",
                             "see duet failover show, and the trace of both nodes");
  }
  const failover::FilerStatus after = pair_->status().filers[filer];
  if (from_here && !after.handover_error.empty()) {
    co_return admin::refusal(409, "refused", after.handover_error,
                             "the filer is served where it was; see duet failover check");
  }
  co_return admin::reply({{"filer", kNames[filer]},
                          {"to", kNames[from_here ? 1 - number() : number()]},
                          {"silence_ms", milliseconds(after.handover_silence)}});
}

Task<admin::Response> Pair::take_over(const admin::Request& request) {
  const Json body = Json::parse(request.body, nullptr, false);
  const std::string filer = admin::text_member(body, "filer").value_or("");
  if (filer != "a" && filer != "b") {
    co_return admin::refusal(400, "invalid", "\"filer\" must be a or b");
  }
  const std::uint32_t index = filer == "b" ? 1 : 0;
  if (pair_->status().filers[index].state == failover::FilerState::kServing) {
    co_return admin::refusal(409, "refused", "filer " + filer + " is served by this node already",
                             "ask the other node");
  }
  co_return co_await move(index);
}

// Every filer that is not at home goes there.
Task<admin::Response> Pair::give_back() {
  Json moved = Json::array();
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    const failover::FilerStatus status = pair_->status().filers[filer];
    if (status.owner == filer) {
      continue;
    }
    admin::Response response = co_await move(filer);
    if (response.status != 200) {
      co_return response;
    }
    moved.push_back(Json::parse(response.body));
  }
  co_return admin::reply({{"moved", moved}});
}

// Asked twice: the second time with the number that the first one gave.
Task<admin::Response> Pair::force(const admin::Request& request) {
  const Json body = Json::parse(request.body, nullptr, false);
  const std::uint64_t number = admin::number_member(body, "confirmation").value_or(0);
  if (number == 0) {
    const auto prepared = pair_->prepare_forced_takeover();
    if (!prepared.ok()) {
      co_return admin::refusal(409, "refused", prepared.error().context);
    }
    co_return admin::reply(
        {{"confirmation", prepared.value().number}, {"warning", prepared.value().warning}});
  }
  const Status forced = pair_->force_takeover(number);
  if (!forced.ok()) {
    co_return admin::refusal(409, "refused", forced.error().context,
                             "ask without a confirmation first");
  }
  co_return admin::reply({{"ok", true}});
}

Task<admin::Response> Pair::replace_member(const admin::Request& request) {
  const Json body = Json::parse(request.body, nullptr, false);
  const auto from = disk_named(admin::text_member(body, "old").value_or(""));
  const auto to = disk_named(admin::text_member(body, "new").value_or(""));
  if (!from || !to) {
    co_return admin::refusal(
        400, "invalid",
        fmt::format("\"{}\" names none of the pair's disks, or several", from ? "new" : "old"),
        "write the disk's URL as duet failover show has it");
  }
  const std::uint64_t before = pair_->status().replacements;
  const Status begun = pair_->start_replacement(*from, *to);
  if (!begun.ok()) {
    co_return admin::refusal(
        409, "refused", begun.error().context,
        "duet failover show says whose disks these are and where the owner record is");
  }
  const std::function<bool()> ended = [this, before] {
    return pair_->status().replacements != before;
  };
  const bool in_time = co_await wait_for(ended);
  const failover::PairStatus now = pair_->status();
  if (!in_time) {
    co_return admin::refusal(504, "timeout", "the member was not replaced in time",
                             "see duet failover show: it may still be");
  }
  if (!now.replacement_error.empty()) {
    co_return admin::refusal(409, "refused", now.replacement_error,
                             "the old members count until duet failover show says otherwise");
  }
  co_return admin::reply({{"node", machine_.node.name},
                          {"old", url_of(*from)},
                          {"new", url_of(*to)},
                          {"generation", now.members[number()].generation}});
}

Task<admin::Response> Pair::move_record(const admin::Request& request) {
  const Json body = Json::parse(request.body, nullptr, false);
  const auto to = disk_named(admin::text_member(body, "to").value_or(""));
  if (!to) {
    co_return admin::refusal(400, "invalid", "\"to\" names none of the pair's disks, or several",
                             "write the disk's URL as duet failover show has it");
  }
  const std::uint64_t before = pair_->status().moves;
  const Status begun = pair_->start_move(*to);
  if (!begun.ok()) {
    co_return admin::refusal(409, "refused", begun.error().context, "see duet failover show");
  }
  const std::function<bool()> ended = [this, before] { return pair_->status().moves != before; };
  const bool in_time = co_await wait_for(ended);
  const failover::PairStatus now = pair_->status();
  if (!in_time || !now.move_error.empty()) {
    co_return admin::refusal(in_time ? 409 : 504, in_time ? "refused" : "timeout",
                             in_time ? now.move_error : "the owner record did not move in time",
                             "duet failover show says where it is");
  }
  co_return admin::reply(
      {{"arbitration", url_of(*to)}, {"generation", now.arbitration_generation}});
}

Task<admin::Response> Pair::failover_request(const admin::Request& request,
                                             const std::string& verb) {
  if (verb.empty() && request.method == "GET") {
    co_return admin::reply(status_json());
  }
  if (request.method != "POST") {
    co_return admin::wrong_method();
  }
  if (verb == "takeover") {
    co_return co_await take_over(request);
  }
  if (verb == "giveback") {
    co_return co_await give_back();
  }
  if (verb == "members") {
    co_return co_await replace_member(request);
  }
  if (verb == "arbitration") {
    co_return co_await move_record(request);
  }
  if (verb == "force") {
    co_return co_await force(request);
  }
  co_return admin::not_found();
}

admin::Metrics Pair::pair_metrics() const {
  const failover::PairStatus status = pair_->status();
  const interconnect::LinkCounters& link = link_->counters();
  const auto number_of = [](std::uint64_t value) { return static_cast<double>(value); };
  admin::Metrics metrics({{"node", machine_.node.name}});
  metrics.gauge("duet_lease_valid", "1: this node may answer clients.", status.lease_valid ? 1 : 0);
  metrics.gauge("duet_owner_record_generation",
                "Grows each time that the owner record moves to another disk.",
                number_of(status.arbitration_generation));
  metrics.gauge("duet_mailbox_members_generation",
                "Grows each time that a mailbox member of this node is replaced.",
                number_of(status.members[number()].generation));
  metrics.gauge("duet_takeover_possible", "1: this node could take the partner's filers now.",
                pair_->takeover_vetoes().empty() ? 1 : 0);
  metrics.gauge("duet_partner_link_up", "1: the partner's application answers over the link.",
                status.evidence.link == failover::LinkEvidence::kLost ? 0 : 1);
  metrics.gauge("duet_partner_mailbox_changing", "1: the partner's beats on the disks change.",
                status.evidence.beat == failover::BeatEvidence::kStale ? 0 : 1);
  metrics.counter("duet_link_sessions_total", "Sessions with the partner.",
                  number_of(link.sessions));
  metrics.counter("duet_link_sent_bytes_total", "Bytes to the partner.",
                  number_of(link.bytes_sent));
  metrics.counter("duet_link_damaged_packets_total", "Packets whose checksum was wrong.",
                  number_of(link.damaged_packets));
  metrics.counter("duet_link_refused_peers_total", "Connections that were not the partner.",
                  number_of(link.refused_peers));
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    metrics.gauge("duet_filer_answering", "1: this node answers for the filer.",
                  status.filers[filer].answering ? 1 : 0, {{"filer", kNames[filer]}});
  }
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    const filer::Filer* open = hosts_[filer]->filer();
    if (open != nullptr && open->mirrored_log() != nullptr) {
      metrics.gauge("duet_log_mirrored", "1: every acknowledged request is in both memories.",
                    hosts_[filer]->mirrored() ? 1 : 0, {{"filer", kNames[filer]}});
    }
  }
  for (const Disk& disk : disks_) {
    metrics.gauge("duet_disk_connected", "1: this node reaches the disk.",
                  disk.device->health().connected ? 1 : 0, {{"disk", disk.configured->shown()}});
  }
  return metrics;
}

Task<admin::Response> Pair::metrics() {
  admin::Metrics all = pair_metrics();
  admin::add_nbd(all, host_disks_->info());
  for (const auto& host : hosts_) {
    const prometheus::ClientMetric::Label which{"filer", host->configured().name};
    admin::Metrics::Labels labels(1, which);
    admin::Metrics of_filer = co_await host->served().metrics(std::move(labels));
    all.merge(std::move(of_filer));
  }
  co_return admin::metrics_response(all);
}

// /v1/failover...           the pair
// /v1/nbd                   hosts that attach virtual disks through this node
// /v1/filers/NAME/REST      a filer that is served here: /v1/REST of its interface
// /v1/REST                  the same for the filer whose home this is, or the one that is here
Task<admin::Response> Pair::answer(admin::Request request) {
  static constexpr std::string_view kFailover = "/v1/failover";
  static constexpr std::string_view kFilers = "/v1/filers/";
  const std::string path = request.path;
  if (path == "/metrics" && request.method == "GET") {
    co_return co_await metrics();
  }
  if (path == "/v1/nbd" && request.method == "GET") {
    co_return admin::nbd_response(host_disks_->info());
  }
  if (path.starts_with(kFailover)) {
    const std::string rest = path.substr(kFailover.size());
    if (rest.empty() || rest.front() == '/') {
      const std::string verb(rest, std::min<std::size_t>(rest.size(), 1));
      co_return co_await failover_request(request, verb);
    }
    co_return admin::not_found();
  }
  std::uint32_t filer = number();
  if (path.starts_with(kFilers)) {
    const std::string rest = path.substr(kFilers.size());
    const std::size_t slash = rest.find('/');
    const std::string name = rest.substr(0, slash);
    if ((name != "a" && name != "b") || slash == std::string::npos) {
      co_return admin::not_found();
    }
    filer = name == "b" ? 1 : 0;
    request.path = "/v1" + rest.substr(slash);
  } else if (!hosts_[filer]->served().serves() && hosts_[1 - filer]->served().serves()) {
    filer = 1 - filer;
  }
  if (!hosts_[filer]->served().serves()) {
    const std::uint32_t owner = pair_->status().filers[filer].owner;
    co_return admin::refusal(
        421, "elsewhere",
        fmt::format("filer {} is not served by node {}", kNames[filer], machine_.node.name),
        owner == number() ? "see duet failover show" : fmt::format("ask node {}", kNames[owner]));
  }
  co_return co_await hosts_[filer]->served().answer(std::move(request));
}

}  // namespace duet::daemon
