#include "state.h"

namespace duet::admin {

Response Api::State::outcome_with_clones(const Status& status, const std::string& object,
                                         const std::string& volume_name, ClonesOf which,
                                         std::string_view snapshot_name) const {
  const wafl::Volume* volume = context.filer.aggregate().find_volume(volume_name);
  if (status.ok() || status.error().code != Errc::kRefused || volume == nullptr) {
    return outcome(status, object);
  }
  std::string clones;
  bool newer = false;
  for (const wafl::SnapshotInfo& snapshot : volume->snapshots()) {
    const bool named = snapshot.name == snapshot_name;
    if (which == ClonesOf::kAny || (which == ClonesOf::kThis && named) ||
        (which == ClonesOf::kNewer && newer)) {
      for (const wafl::Volume* clone : volume->clones_of(snapshot.id)) {
        clones += (clones.empty() ? "" : ", ") + clone->name() + " (of " + snapshot.name + ")";
      }
    }
    newer = newer || named;
  }
  if (clones.empty()) {
    return outcome(status, object);
  }
  return refusal(409, "refused", object + ": there are clones: " + clones, "destroy them first");
}

Json Api::State::volume_json(const wafl::Volume& volume) const {
  Json json = {{"name", volume.name()},
               {"id", static_cast<std::uint32_t>(volume.id())},
               {"created", timestamp_text(static_cast<std::int64_t>(volume.created()))},
               {"limit_bytes", volume.limit_bytes()},
               {"used_bytes", volume.used_bytes()},
               {"inodes_used", volume.inodes_used()},
               {"snapshots", volume.snapshots().size()},
               {"receiving", volume.receiving()}};
  if (const std::optional<wafl::VolumeOrigin> origin = volume.origin()) {
    const wafl::Volume* from = context.filer.aggregate().find_volume(origin->volume);
    const std::optional<wafl::SnapshotInfo> snapshot = from->find_snapshot(origin->snapshot);
    json["origin"] = {{"volume", from->name()}, {"snapshot", snapshot->name}};
  }
  return json;
}

// POST volumes/VOLUME/snapshots/SNAPSHOT/clone
Task<Response> Api::State::clone(const Request& request, const std::string& volume,
                                 const std::string& snapshot) {
  std::variant<Json, Response> body = read_body(request, {"name", "limit_bytes"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const Json& json = std::get<Json>(body);
  const std::optional<std::string> name = text_member(json, "name");
  const std::uint64_t limit_bytes = number_member(json, "limit_bytes").value_or(0);
  if (!name || (json.contains("limit_bytes") && !number_member(json, "limit_bytes"))) {
    co_return refusal(400, "invalid", "\"name\" must be a text, \"limit_bytes\" a number");
  }
  if (snapshot == kScrubSnapshot) {
    co_return refusal(409, "refused", "snapshot " + snapshot + ": the scrub will delete it",
                      "make a snapshot of your own");
  }
  const Status cloned = co_await context.filer.clone_volume(volume, snapshot, *name, limit_bytes);
  co_return outcome(cloned, "clone " + *name + " of " + volume + "@" + snapshot);
}

Task<Response> Api::State::volumes(const Request& request, const Parts& parts) {
  if (parts.size() > 1) {
    if (parts.size() == 2) {
      co_return co_await one_volume(request, parts[1]);
    }
    if (parts.size() == 3 && parts[2] == "receive" && request.method == "DELETE") {
      const Status given_up = co_await context.filer.cancel_receive(parts[1]);
      co_return outcome(given_up, "receiving into volume " + parts[1]);
    }
    if (parts[2] == "snapshots") {
      co_return co_await snapshots(request, parts[1], parts);
    }
    co_return not_found();
  }
  if (request.method == "GET") {
    Json list = Json::array();
    for (const wafl::Volume* volume : context.filer.aggregate().volumes()) {
      list.push_back(volume_json(*volume));
    }
    co_return reply({{"volumes", list}});
  }
  if (request.method != "POST") {
    co_return wrong_method();
  }
  std::variant<Json, Response> body = read_body(request, {"name", "limit_bytes"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const Json& json = std::get<Json>(body);
  const std::optional<std::string> name = text_member(json, "name");
  const std::uint64_t limit_bytes = number_member(json, "limit_bytes").value_or(0);
  if (!name || (json.contains("limit_bytes") && !number_member(json, "limit_bytes"))) {
    co_return refusal(400, "invalid", "\"name\" must be a text, \"limit_bytes\" a number");
  }
  const Status status = co_await context.filer.create_volume(*name, limit_bytes);
  co_return outcome(status, "volume " + *name);
}

Task<Response> Api::State::one_volume(const Request& request, const std::string& name) {
  const wafl::Volume* volume = context.filer.aggregate().find_volume(name);
  if (volume == nullptr || volume->id() == wafl::kSystemVolume) {
    co_return outcome(Error{Errc::kNotFound, ""}, "volume " + name);
  }
  if (request.method == "GET") {
    co_return reply(volume_json(*volume));
  }
  if (request.method == "DELETE") {
    const Status destroyed = co_await context.filer.destroy_volume(name);
    co_return outcome_with_clones(destroyed, "volume " + name, name, ClonesOf::kAny, "");
  }
  if (request.method != "PATCH") {
    co_return wrong_method();
  }
  std::variant<Json, Response> body = read_body(request, {"name", "limit_bytes"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const Json& json = std::get<Json>(body);
  const std::optional<std::string> new_name = text_member(json, "name");
  const std::optional<std::uint64_t> limit_bytes = number_member(json, "limit_bytes");
  if (json.size() != 1 || (!new_name && !limit_bytes)) {
    co_return refusal(400, "invalid", "give either \"name\" or \"limit_bytes\"");
  }
  if (limit_bytes) {
    const Status limited = co_await context.filer.set_volume_limit(name, *limit_bytes);
    co_return outcome(limited, "volume " + name);
  }
  const Status renamed = co_await context.filer.rename_volume(name, *new_name);
  co_return outcome(renamed, "volume " + name);
}

}  // namespace duet::admin
