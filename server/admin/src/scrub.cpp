#include "state.h"

namespace duet::admin {

namespace {

std::int64_t wall_ns(const WallClock& clock) { return clock.since_epoch().count(); }

}  // namespace

Task<void> Api::State::run_scrub() {
  const Status status = co_await context.filer.aggregate().scrub(last_scrub.progress);
  last_scrub.running = false;
  last_scrub.ended_ns = wall_ns(context.clock);
  if (!status.ok()) {
    last_scrub.result = "failed: " + std::string(status.error().context);
  } else if (last_scrub.progress.errors > 0) {
    last_scrub.result = "errors found";
  } else {
    last_scrub.result = last_scrub.progress.stop ? "stopped" : "clean";
  }
}

Task<Response> Api::State::scrub(const Request& request) {
  if (request.method == "POST") {
    if (last_scrub.running) {
      co_return refusal(409, "refused", "a scrub is running", "wait for it, or stop it");
    }
    last_scrub = {};
    last_scrub.running = last_scrub.ran = true;
    last_scrub.started_ns = wall_ns(context.clock);
    scope.spawn(run_scrub());
  } else if (request.method == "DELETE") {
    last_scrub.progress.stop = true;
  } else if (request.method != "GET") {
    co_return wrong_method();
  }
  Json json = {{"running", last_scrub.running},
               {"blocks_done", last_scrub.progress.blocks_done},
               {"blocks_total", last_scrub.progress.blocks_total},
               {"errors", last_scrub.progress.errors}};
  if (last_scrub.ran) {
    json["started"] = timestamp_text(last_scrub.started_ns);
  }
  if (last_scrub.ran && !last_scrub.running) {
    json["ended"] = timestamp_text(last_scrub.ended_ns);
    json["result"] = last_scrub.result;
  }
  co_return reply(json);
}

}  // namespace duet::admin
