// The redundancy groups.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "state.h"

namespace duet::admin {

namespace {

Json disk_json(const RaidDiskInfo& disk) {
  Json json = {
      {"path", disk.path}, {"state", disk.state}, {"blocks_put_right", disk.blocks_put_right}};
  if (disk.number) {
    json["number"] = *disk.number;
  }
  if (!disk.problem.empty()) {
    json["problem"] = disk.problem;
  }
  return json;
}

// What a rebuild and an expansion have in common.
template <typename Work>
Json progress_json(const Work& work) {
  Json json = {{"stripes", work.stripes},
               {"done", work.done},
               {"done_percent", work.percent()},
               {"stripes_per_second", work.stripes_per_second},
               {"node_shares", work.node_shares}};
  if (work.stripes_per_second > 0) {
    json["seconds_left"] = static_cast<double>(work.stripes - work.done) / work.stripes_per_second;
  }
  if (!work.trouble.empty()) {
    json["trouble"] = work.trouble;
  }
  return json;
}

Json expansion_json(const RaidGroupInfo::Expansion& expansion) {
  Json json = progress_json(expansion);
  json["disks_before"] = expansion.disks_before;
  json["disks_after"] = expansion.disks_after;
  json["waits"] = expansion.waits;
  return json;
}

Json scrub_json(const RaidGroupInfo::Scrub& scrub) {
  Json json = {{"running", scrub.running},
               {"stripes", scrub.stripes},
               {"done", scrub.done},
               {"done_percent", scrub.percent()},
               {"node_shares", scrub.node_shares},
               {"repaired_rows", scrub.repaired},
               {"unreadable_rows", scrub.unreadable},
               {"unsure_rows", scrub.unsure},
               {"trusts_data", scrub.trusts_data},
               {"trusted_rows", scrub.trusted},
               {"loose_rows", scrub.loose},
               {"loose_left_rows", scrub.loose_left}};
  if (!scrub.trouble.empty()) {
    json["trouble"] = scrub.trouble;
  }
  return json;
}

Json group_json(const RaidGroupInfo& group) {
  Json disks = Json::array();
  for (const RaidDiskInfo& disk : group.disks) {
    disks.push_back(disk_json(disk));
  }
  Json virtual_disks = Json::array();
  for (const RaidGroupInfo::VirtualDisk& disk : group.virtual_disks) {
    virtual_disks.push_back({{"name", disk.name}, {"bytes", disk.bytes}});
  }
  if (!group.managed) {
    return {{"name", group.name},       {"level", group.level},    {"state", group.state()},
            {"managed", group.managed}, {"reason", group.why_not}, {"disks", disks}};
  }
  Json json = {{"name", group.name},
               {"level", group.level},
               {"state", group.state()},
               {"managed", group.managed},
               {"can_lose", group.can_lose.value_or(0)},
               {"redundancy", group.redundancy},
               {"chunk_bytes", group.chunk_bytes},
               {"stripe_bytes", group.stripe_bytes},
               {"bytes", group.bytes},
               {"background_bytes_per_second", group.background_bytes_per_s},
               {"generation", group.generation},
               {"loose_regions", group.loose_regions},
               {"disks", disks},
               {"virtual_disks", virtual_disks},
               {"counters",
                {{"reads", group.reads},
                 {"degraded_reads", group.degraded_reads},
                 {"whole_stripe_updates", group.whole_stripes},
                 {"read_modify_updates", group.read_modify},
                 {"reconstruct_updates", group.reconstruct},
                 {"whole_stripe_percent", group.whole_percent()},
                 {"disk_blocks_read", group.blocks_read},
                 {"disk_blocks_written", group.blocks_written},
                 {"settles", group.settles},
                 {"recovered_intents", group.recovered},
                 {"healed_blocks", group.healed},
                 {"other_reads", group.others_read},
                 {"rebuilt_stripes", group.rebuilt},
                 {"passed_by_stripes", group.passed_by},
                 {"intents", group.intents}}}};
  if (group.rebuild) {
    json["rebuild"] = progress_json(*group.rebuild);
  }
  if (group.expansion) {
    json["expansion"] = expansion_json(*group.expansion);
  }
  if (group.scrub) {
    json["scrub"] = scrub_json(*group.scrub);
  }
  return json;
}

}  // namespace

Json Api::State::groups_json() const {
  Json groups = Json::array();
  if (context.groups) {
    for (const RaidGroupInfo& group : context.groups()) {
      groups.push_back(group_json(group));
    }
  }
  return groups;
}

namespace {

// Reads the members of a body, until one is wrong.
class OrderReader {
 public:
  explicit OrderReader(const Json& json) : json_(json) {}

  std::string text(const char* key) {
    const std::optional<std::string> found = text_member(json_, key);
    if (!found) {
      refuse(fmt::format("\"{}\" must be a text", key));
    }
    return found.value_or("");
  }
  std::vector<std::string> texts(const char* key) {
    std::vector<std::string> all;
    const auto found = json_.find(key);
    if (found != json_.end() && found->is_array() && !found->empty() &&
        std::ranges::all_of(*found, [](const Json& each) { return each.is_string(); })) {
      all = found->get<std::vector<std::string>>();
    } else {
      refuse(fmt::format("\"{}\" must be a list of texts", key));
    }
    return all;
  }
  std::uint64_t size(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_number_unsigned()) {
      refuse(fmt::format("\"{}\" must be a number of bytes", key));
      return 0;
    }
    return found->get<std::uint64_t>();
  }
  bool flag(const char* key) {
    const auto found = json_.find(key);
    if (found != json_.end() && !found->is_boolean()) {
      refuse(fmt::format("\"{}\" must be true or false", key));
      return false;
    }
    return found != json_.end() && found->get<bool>();
  }
  [[nodiscard]] std::optional<Response>& wrong() { return wrong_; }

 private:
  void refuse(const std::string& why) {
    if (!wrong_) {
      wrong_ = refusal(400, "invalid", why);
    }
  }
  const Json& json_;
  std::optional<Response> wrong_;
};

struct OrderVerb {
  std::string_view name;
  RaidOrder::Verb posted;
  std::optional<RaidOrder::Verb> deleted;
};

// What is asked of a group, by the last part of its path and the body; a Response: why it is wrong.
std::variant<RaidOrder, Response> order_from(const Request& request, const Parts& parts) {
  using Verb = RaidOrder::Verb;
  static constexpr std::array<OrderVerb, 7> kVerbs = {{
      {"fail", Verb::kFail, {}},
      {"return", Verb::kReturn, {}},
      {"replace", Verb::kReplace, {}},
      {"spare", Verb::kAddSpare, Verb::kRemoveSpare},
      {"add", Verb::kExpand, {}},
      {"virtual", Verb::kAddVirtual, {}},
      {"scrub", Verb::kScrub, Verb::kStopScrub},
  }};
  const auto* const verb = std::ranges::find(kVerbs, parts[2], &OrderVerb::name);
  if (verb == kVerbs.end()) {
    return not_found();
  }
  const bool deletes = request.method == "DELETE" && verb->deleted;
  if (request.method != "POST" && !deletes) {
    return wrong_method();
  }
  RaidOrder order;
  order.group = parts[1];
  order.verb = deletes ? *verb->deleted : verb->posted;
  if (order.verb == Verb::kStopScrub || (order.verb == Verb::kScrub && request.body.empty())) {
    return order;
  }
  std::variant<Json, Response> body =
      order.verb == Verb::kScrub
          ? read_body(request, {"trust_data"})
          : read_body(request, {"disk", "path", "force", "paths", "name", "bytes"});
  if (Response* bad = std::get_if<Response>(&body)) {
    return std::move(*bad);
  }
  OrderReader reader(std::get<Json>(body));
  const bool of_one = order.verb == Verb::kFail || order.verb == Verb::kReturn;
  if (of_one || order.verb == Verb::kReplace) {
    order.disk = reader.text("disk");
  }
  if (order.verb == Verb::kExpand) {
    order.paths = reader.texts("paths");
  } else if (order.verb == Verb::kAddVirtual) {
    order.name = reader.text("name");
    order.bytes = reader.size("bytes");
  } else if (order.verb == Verb::kScrub) {
    order.trust_data = reader.flag("trust_data");
  } else if (!of_one) {
    order.path = reader.text("path");
  }
  order.force = reader.flag("force");
  if (reader.wrong()) {
    return std::move(*reader.wrong());
  }
  return order;
}

}  // namespace

Task<Response> Api::State::raid(const Request& request, const Parts& parts) {
  if (parts.size() == 1) {
    if (request.method != "GET") {
      co_return wrong_method();
    }
    co_return reply({{"groups", groups_json()}});
  }
  if (parts.size() != 3) {
    co_return not_found();
  }
  std::variant<RaidOrder, Response> order = order_from(request, parts);
  if (Response* bad = std::get_if<Response>(&order)) {
    co_return std::move(*bad);
  }
  if (!context.order_raid) {
    co_return refusal(404, "not_found", "this filer lives on no redundancy group");
  }
  const RaidOutcome done = co_await context.order_raid(std::move(std::get<RaidOrder>(order)));
  if (!done.wrong.empty()) {
    co_return refusal(409, "refused", done.wrong, "`duet raid status` names groups and disks");
  }
  Json json = Json::object();
  if (!done.note.empty()) {
    json["note"] = done.note;
  }
  co_return reply(json);
}

namespace {

// The figures of those that this node manages.
void add_managed(Metrics& metrics, const std::vector<RaidGroupInfo>& groups) {
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge("duet_raid_can_lose_disks",
                  "Disks that the group can still lose; -1: too few left.",
                  group.can_lose ? number(*group.can_lose) : -1, {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    for (const RaidDiskInfo& disk : group.disks) {
      if (disk.number) {
        metrics.gauge("duet_raid_disk_in_sync", "1: the disk holds what it should.",
                      disk.state == "in_sync" ? 1 : 0,
                      {{"group", group.name}, {"disk", std::to_string(*disk.number)}});
      }
    }
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge("duet_raid_rebuild_ratio", "How far the rebuild is; 1: nothing is being rebuilt.",
                  group.rebuild && group.rebuild->stripes > 0
                      ? number(group.rebuild->done) / number(group.rebuild->stripes)
                      : 1,
                  {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge("duet_raid_expansion_ratio", "How far the expansion is; 1: there is none.",
                  group.expansion && group.expansion->stripes > 0
                      ? number(group.expansion->done) / number(group.expansion->stripes)
                      : 1,
                  {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge("duet_raid_scrub_unsure_rows",
                  "Rows that the last scrub found not to match, and could not put right.",
                  group.scrub ? number(group.scrub->unsure) : 0, {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge("duet_raid_scrub_trusted_rows",
                  "Rows that got new check data in the last scrub, as the data was trusted.",
                  group.scrub ? number(group.scrub->trusted) : 0, {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge(
        "duet_raid_loose_regions",
        "Parts of the group with stripes that a rebuild has passed by; a scrub ends that.",
        number(group.loose_regions), {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    const char* const name = "duet_raid_updates_total";
    const char* const help =
        "Writes of a part of a stripe: without reading, or what was read first.";
    metrics.counter(name, help, number(group.whole_stripes),
                    {{"group", group.name}, {"kind", "whole"}});
    metrics.counter(name, help, number(group.read_modify),
                    {{"group", group.name}, {"kind", "read_modify"}});
    metrics.counter(name, help, number(group.reconstruct),
                    {{"group", group.name}, {"kind", "reconstruct"}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.counter("duet_raid_reads_total", "Reads of a part of a stripe.", number(group.reads),
                    {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.counter("duet_raid_degraded_reads_total", "Of those, computed from other disks.",
                    number(group.degraded_reads), {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.counter("duet_raid_disk_blocks_total", "Blocks of 4 KiB of the group's disks.",
                    number(group.blocks_read), {{"group", group.name}, {"direction", "read"}});
    metrics.counter("duet_raid_disk_blocks_total", "", number(group.blocks_written),
                    {{"group", group.name}, {"direction", "written"}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.counter("duet_raid_healed_blocks_total",
                    "Blocks that were wrong by a filer's checksum, and were put right.",
                    number(group.healed), {{"group", group.name}});
  }
  for (const RaidGroupInfo& group : groups) {
    for (const RaidDiskInfo& disk : group.disks) {
      if (disk.number) {
        metrics.counter(
            "duet_raid_put_right_blocks_total",
            "Blocks of a disk that were wrong or unreadable, and were put right, by a filer or a "
            "scrub.",
            number(disk.blocks_put_right),
            {{"group", group.name}, {"disk", std::to_string(*disk.number)}});
      }
    }
  }
  for (const RaidGroupInfo& group : groups) {
    const char* const name = "duet_raid_rebuild_stripes_total";
    const char* const help = "Stripes of new disks: rebuilt, or passed by as nobody needs them.";
    metrics.counter(name, help, number(group.rebuilt),
                    {{"group", group.name}, {"kind", "rebuilt"}});
    metrics.counter(name, help, number(group.passed_by),
                    {{"group", group.name}, {"kind", "passed_by"}});
  }
  for (const RaidGroupInfo& group : groups) {
    metrics.counter("duet_raid_settles_total", "Flushes of all disks to end intents.",
                    number(group.settles), {{"group", group.name}});
  }
}

}  // namespace

void add_raid(Metrics& metrics, const std::vector<RaidGroupInfo>& groups) {
  std::vector<RaidGroupInfo> managed;
  for (const RaidGroupInfo& group : groups) {
    metrics.gauge("duet_raid_degraded",
                  "1: it can lose fewer disks than when all is well, or is not managed here.",
                  group.state() == "optimal" ? 0 : 1, {{"group", group.name}});
    if (group.managed) {
      managed.push_back(group);
    }
  }
  add_managed(metrics, managed);
}

}  // namespace duet::admin
