#include "admin/api.h"

#include "state.h"

namespace duet::admin {

namespace {

Parts split(std::string_view path) {
  Parts parts;
  while (!path.empty()) {
    path.remove_prefix(path.front() == '/' ? 1 : 0);
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) {
      parts.emplace_back(path.substr(0, end));
    }
    path.remove_prefix(end);
  }
  return parts;
}

}  // namespace

Api::Api(Context context) : state_(std::make_unique<State>(std::move(context))) {}
Api::~Api() = default;

Task<Response> Api::handle(Request request) {
  Parts parts = split(request.path);
  if (request.method == "GET" && parts == Parts{"metrics"}) {
    const Metrics collected = co_await metrics();
    co_return metrics_response(collected);
  }
  if (parts.size() < 2 || parts[0] != "v1") {
    co_return not_found();
  }
  parts.erase(parts.begin());
  const std::string& resource = parts[0];
  if (resource == "volumes") {
    co_return co_await state_->volumes(request, parts);
  }
  if (resource == "streams") {
    co_return co_await state_->streams(request, parts);
  }
  if (resource == "exports") {
    co_return co_await state_->exports(request, parts);
  }
  if (resource == "raid") {
    co_return co_await state_->raid(request, parts);
  }
  if (resource == "disks") {
    co_return co_await state_->disks(request, parts);
  }
  if (parts.size() > 1) {
    co_return not_found();
  }
  if (resource == "scrub") {
    co_return co_await state_->scrub(request);
  }
  if (resource == "cp" && request.method == "POST") {
    co_return co_await state_->consistency_point();
  }
  if (request.method != "GET") {
    co_return wrong_method();
  }
  if (resource == "status") {
    co_return co_await state_->status();
  }
  if (resource == "df") {
    co_return state_->space();
  }
  if (resource == "log") {
    co_return state_->log();
  }
  if (resource == "counters") {
    co_return co_await state_->counters();
  }
  if (resource == "version") {
    co_return state_->version();
  }
  co_return not_found();
}

Task<Response> Api::State::consistency_point() {
  const Status status = co_await context.filer.consistency_point();
  co_return outcome(status, "consistency point");
}

Task<std::string> Api::reload_exports() {
  Request request;
  request.method = "POST";
  request.path = "/v1/exports/reload";
  const Response response = co_await handle(std::move(request));
  if (response.status == 200) {
    co_return std::string();
  }
  const Json json = Json::parse(response.body, nullptr, false);
  co_return json["error"]["message"].get<std::string>();
}

Task<void> Api::stop() {
  state_->stopping = true;
  state_->last_scrub.progress.stop = true;
  co_await state_->scope.join();
}

}  // namespace duet::admin
