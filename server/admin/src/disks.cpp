#include "state.h"

namespace duet::admin {

Task<Response> Api::State::disks(const Request& request, const Parts& parts) {
  if (parts.size() > 2) {
    co_return not_found();
  }
  if (parts.size() == 2) {
    co_return co_await order_disk(request, parts[1]);
  }
  if (request.method == "POST") {
    co_return co_await add_disk(request);
  }
  if (request.method != "GET") {
    co_return wrong_method();
  }
  Json list = Json::array();
  for (const DiskInfo& disk : context.disks()) {
    list.push_back({{"path", disk.path}, {"bytes", disk.bytes}});
  }
  co_return reply({{"disks", list}, {"group_disks", group_disks_json()}});
}

Task<Response> Api::State::add_disk(const Request& request) {
  std::variant<Json, Response> body = read_body(request, {"path"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const std::optional<std::string> path = text_member(std::get<Json>(body), "path");
  if (!path) {
    co_return refusal(400, "invalid", "\"path\" must be a text");
  }
  const std::pair<BlockDevice*, std::string> opened = context.open_disk(*path);
  if (opened.first == nullptr) {
    co_return refusal(409, "refused", opened.second);
  }
  const Result<wafl::DiskProbe> probe = co_await wafl::probe(*opened.first);
  if (!probe.ok() || !probe.value().blank) {
    context.close_disk(opened.first);
    co_return refusal(409, "foreign", "disk " + *path + " holds data, or cannot be read",
                      "name a blank disk; erase its first MiB if its contents are not needed");
  }
  const Status status = co_await context.filer.add_disk(*opened.first);
  if (!status.ok()) {
    context.close_disk(opened.first);
  }
  co_return outcome(status, "disk " + *path);
}

}  // namespace duet::admin
