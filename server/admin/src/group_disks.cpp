// The disks of redundancy groups, by their paths alone: operators think in disks.

#include <fmt/format.h>

#include <algorithm>

#include "state.h"

namespace duet::admin {

namespace {

constexpr std::string_view kSeeList = "`duet disk list` shows all disks";

struct GroupDisk {
  std::string group;
  RaidDiskInfo disk;
};

// A path says nothing of a key; the configuration file may, behind a URL.
bool is_whole(const std::string& path, const std::string& name) {
  return path == name || name.starts_with(path + "?key_file=");
}

// By all of its path or URL, or by the end of it behind a slash or a #.
bool names(const std::string& path, const std::string& name) {
  return is_whole(path, name) ||
         (!name.empty() && (path.ends_with("/" + name) || path.ends_with("#" + name)));
}

std::vector<GroupDisk> group_disks(const Context& context) {
  std::vector<GroupDisk> all;
  if (context.groups) {
    for (const RaidGroupInfo& group : context.groups()) {
      for (const RaidDiskInfo& disk : group.disks) {
        if (!disk.path.empty()) {
          all.push_back({group.name, disk});
        }
      }
    }
  }
  return all;
}

// Why it is none of a redundancy group.
Response no_group_disk(const Context& context, const std::string& name) {
  const std::vector<RaidGroupInfo> groups =
      context.groups ? context.groups() : std::vector<RaidGroupInfo>();
  for (const RaidGroupInfo& group : groups) {
    for (const RaidGroupInfo::VirtualDisk& disk : group.virtual_disks) {
      if (group.name + "/" + disk.name == name) {
        return refusal(409, "refused",
                       fmt::format("{} is a virtual disk of redundancy group {}, not a disk", name,
                                   group.name),
                       "name one of the disks below it; `duet disk list` shows them");
      }
    }
  }
  const std::vector<DiskInfo> disks = context.disks();
  if (std::ranges::any_of(disks, [&](const DiskInfo& disk) { return names(disk.path, name); })) {
    return refusal(
        409, "refused",
        fmt::format("disk {} belongs to the aggregate itself, and to no redundancy group: nothing "
                    "else has what it holds, so it can only be lost with the aggregate",
                    name),
        "send the volumes to another filer (`duet snapshot send`) and make this one anew on a "
        "redundancy group (docs/CONFIGURATION.md, raid); or copy the whole disk to another while "
        "duetd is stopped, and write that one's path into the configuration file");
  }
  return refusal(404, "not_found", fmt::format("there is no disk {}", name), kSeeList);
}

// All of a path says more than the end of one.
std::variant<GroupDisk, Response> find_disk(const Context& context, const std::string& name) {
  std::vector<GroupDisk> found;
  for (GroupDisk& each : group_disks(context)) {
    if (is_whole(each.disk.path, name)) {
      return std::move(each);
    }
    if (names(each.disk.path, name)) {
      found.push_back(std::move(each));
    }
  }
  if (found.size() > 1) {
    return refusal(
        409, "refused",
        fmt::format("{} could be {} or {}", name, found[0].disk.path, found[1].disk.path),
        "write the whole path");
  }
  if (found.empty()) {
    return no_group_disk(context, name);
  }
  return std::move(found.front());
}

struct DiskVerb {
  std::string_view name;
  RaidOrder::Verb verb;
};

// What must be done first, or instead; none: it can be tried.
std::optional<Response> not_now(const GroupDisk& of, RaidOrder::Verb verb,
                                const std::string& path) {
  const std::string& disk = of.disk.path;
  const std::string& state = of.disk.state;
  const auto refuse = [](const std::string& message, const std::string& remedy) {
    return refusal(409, "refused", message, remedy);
  };
  const bool used = state == "in_sync" || state == "rebuilding";
  if (verb == RaidOrder::Verb::kRemoveDisk) {
    return used ? std::optional(refuse(fmt::format("group {} uses disk {}", of.group, disk),
                                       fmt::format("`duet disk fail {}` takes it out first", disk)))
                : std::nullopt;
  }
  if (verb == RaidOrder::Verb::kReplace && used) {
    return refuse(fmt::format("disk {} of group {} has not failed", disk, of.group),
                  fmt::format("`duet disk fail {}` takes it out first", disk));
  }
  if (state == "spare") {
    return refuse(fmt::format("disk {} is a spare of group {}, and holds nothing", disk, of.group),
                  fmt::format("`duet disk remove {}` takes it away", disk));
  }
  if (state == "unused" && verb == RaidOrder::Verb::kReplace) {
    return refuse(
        fmt::format("group {} does not use disk {}: nothing is to be replaced", of.group, disk),
        fmt::format("`duet raid spare {} {}` makes the new disk a spare", of.group, path));
  }
  if (state == "unused") {
    return refuse(fmt::format("group {} does not use disk {}", of.group, disk),
                  fmt::format("`duet disk remove {}` lets go of it", disk));
  }
  return std::nullopt;
}

// What is asked of a disk; a Response: why it is wrong.
std::variant<RaidOrder, Response> order_from(const Context& context, const Request& request,
                                             const std::string& name) {
  static constexpr std::array<DiskVerb, 3> kVerbs = {{{"fail", RaidOrder::Verb::kFail},
                                                      {"replace", RaidOrder::Verb::kReplace},
                                                      {"remove", RaidOrder::Verb::kRemoveDisk}}};
  const auto* const verb = std::ranges::find(kVerbs, name, &DiskVerb::name);
  if (verb == kVerbs.end()) {
    return not_found();
  }
  if (request.method != "POST") {
    return wrong_method();
  }
  const bool replaces = verb->verb == RaidOrder::Verb::kReplace;
  std::variant<Json, Response> body =
      replaces ? read_body(request, {"disk", "path", "force"}) : read_body(request, {"disk"});
  if (Response* bad = std::get_if<Response>(&body)) {
    return std::move(*bad);
  }
  const Json& json = std::get<Json>(body);
  const std::optional<std::string> disk = text_member(json, "disk");
  const std::optional<std::string> path = text_member(json, "path");
  if (!disk || (replaces && !path)) {
    return refusal(400, "invalid", fmt::format("\"{}\" must be a text", disk ? "path" : "disk"));
  }
  if (json.contains("force") && !json.at("force").is_boolean()) {
    return refusal(400, "invalid", "\"force\" must be true or false");
  }
  std::variant<GroupDisk, Response> found = find_disk(context, *disk);
  if (Response* bad = std::get_if<Response>(&found)) {
    return std::move(*bad);
  }
  const GroupDisk& of = std::get<GroupDisk>(found);
  if (std::optional<Response> refused = not_now(of, verb->verb, path.value_or(""))) {
    return std::move(*refused);
  }
  return RaidOrder{.verb = verb->verb,
                   .group = of.group,
                   .disk = of.disk.path,
                   .path = path.value_or(""),
                   .force = json.value("force", false)};
}

}  // namespace

Json Api::State::group_disks_json() const {
  Json list = Json::array();
  if (!context.groups) {
    return list;
  }
  for (const RaidGroupInfo& group : context.groups()) {
    for (const RaidDiskInfo& disk : group.disks) {
      Json json = {
          {"path", disk.path}, {"bytes", disk.bytes}, {"group", group.name}, {"state", disk.state}};
      if (disk.number) {
        json["number"] = *disk.number;
      }
      if (disk.state == "rebuilding" && group.rebuild) {
        json["done_percent"] = group.rebuild->percent();
      }
      if (!disk.problem.empty()) {
        json["problem"] = disk.problem;
      }
      list.push_back(std::move(json));
    }
  }
  return list;
}

Task<Response> Api::State::order_disk(const Request& request, const std::string& verb) {
  std::variant<RaidOrder, Response> order = order_from(context, request, verb);
  if (Response* bad = std::get_if<Response>(&order)) {
    co_return std::move(*bad);
  }
  const std::string group = std::get<RaidOrder>(order).group;
  const RaidOutcome done = co_await context.order_raid(std::move(std::get<RaidOrder>(order)));
  if (!done.wrong.empty()) {
    co_return refusal(409, "refused", done.wrong, kSeeList);
  }
  Json json = {{"group", group}};
  if (!done.note.empty()) {
    json["note"] = done.note;
  }
  co_return reply(json);
}

}  // namespace duet::admin
