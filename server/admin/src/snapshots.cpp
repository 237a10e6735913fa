#include "state.h"

namespace duet::admin {

namespace {

Json snapshot_json(const wafl::Volume& volume, const wafl::SnapshotInfo& snapshot) {
  Json clones = Json::array();
  for (const wafl::Volume* clone : volume.clones_of(snapshot.id)) {
    clones.push_back(clone->name());
  }
  return {{"name", snapshot.name},
          {"id", static_cast<std::uint32_t>(snapshot.id)},
          {"cp", static_cast<std::uint32_t>(snapshot.cp)},
          {"created", timestamp_text(static_cast<std::int64_t>(snapshot.created))},
          {"held_bytes", snapshot.held_blocks * kBlockBytes},
          {"clones", clones}};
}

// The names in {"delete_newer": [...]}; nullopt: something else stands there.
std::optional<std::vector<std::string>> newer_names(const Json& json) {
  std::vector<std::string> names;
  const auto found = json.find("delete_newer");
  if (found == json.end()) {
    return names;
  }
  if (!found->is_array()) {
    return std::nullopt;
  }
  for (const Json& name : *found) {
    if (!name.is_string()) {
      return std::nullopt;
    }
    names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace

// volumes/VOLUME/snapshots[/NAME[/restore|/clone|/send]]
Task<Response> Api::State::snapshots(const Request& request, const std::string& volume_name,
                                     const Parts& parts) {
  const wafl::Volume* volume = context.filer.aggregate().find_volume(volume_name);
  if (volume == nullptr || volume->id() == wafl::kSystemVolume) {
    co_return outcome(Error{Errc::kNotFound, ""}, "volume " + volume_name);
  }
  if (parts.size() > 3) {
    co_return co_await one_snapshot(request, volume_name, parts);
  }
  if (request.method == "GET") {
    Json list = Json::array();
    for (const wafl::SnapshotInfo& snapshot : volume->snapshots()) {
      list.push_back(snapshot_json(*volume, snapshot));
    }
    co_return reply({{"snapshots", list}});
  }
  if (request.method != "POST") {
    co_return wrong_method();
  }
  std::variant<Json, Response> body = read_body(request, {"name"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const std::optional<std::string> name = text_member(std::get<Json>(body), "name");
  if (!name) {
    co_return refusal(400, "invalid", "\"name\" must be a text");
  }
  if (std::optional<Response> reserved = refuse_reserved(*name)) {
    co_return std::move(*reserved);
  }
  const Status status = co_await context.filer.create_snapshot(volume_name, *name);
  co_return outcome(status, "snapshot " + *name);
}

Task<Response> Api::State::one_snapshot(const Request& request, const std::string& volume,
                                        const Parts& parts) {
  const std::string& name = parts[3];
  const std::string object = "snapshot " + name;
  if (parts.size() == 4 && request.method == "DELETE") {
    const Status deleted = co_await context.filer.delete_snapshot(volume, name);
    co_return outcome_with_clones(deleted, object, volume, ClonesOf::kThis, name);
  }
  if (parts.size() == 4 && request.method == "PATCH") {
    std::variant<Json, Response> body = read_body(request, {"name"});
    if (Response* bad = std::get_if<Response>(&body)) {
      co_return std::move(*bad);
    }
    const std::optional<std::string> new_name = text_member(std::get<Json>(body), "name");
    if (!new_name) {
      co_return refusal(400, "invalid", "\"name\" must be a text");
    }
    if (std::optional<Response> reserved = refuse_reserved(*new_name)) {
      co_return std::move(*reserved);
    }
    const Status renamed = co_await context.filer.rename_snapshot(volume, name, *new_name);
    co_return outcome(renamed, object);
  }
  if (parts.size() == 5 && parts[4] == "send" && request.method == "POST") {
    co_return co_await begin_send(request, volume, name);
  }
  if (parts.size() == 5 && parts[4] == "clone" && request.method == "POST") {
    co_return co_await clone(request, volume, name);
  }
  if (parts.size() == 5 && parts[4] == "restore" && request.method == "POST") {
    std::variant<Json, Response> body = read_body(request, {"delete_newer"});
    if (Response* bad = std::get_if<Response>(&body)) {
      co_return std::move(*bad);
    }
    std::optional<std::vector<std::string>> newer = newer_names(std::get<Json>(body));
    if (!newer) {
      co_return refusal(400, "invalid", "\"delete_newer\" must be a list of names");
    }
    const Status restored =
        co_await context.filer.restore_snapshot(volume, name, std::move(*newer));
    co_return outcome_with_clones(restored, object, volume, ClonesOf::kNewer, name);
  }
  co_return parts.size() == 4 ? wrong_method() : not_found();
}

}  // namespace duet::admin
