#include "state.h"

namespace duet::admin {

namespace {

std::int64_t wall_ns(const WallClock& clock) { return clock.since_epoch().count(); }

}  // namespace

std::optional<Response> refuse_reserved(std::string_view snapshot) {
  if (snapshot != kScrubSnapshot) {
    return std::nullopt;
  }
  return refusal(400, "invalid", "that name is kept for the snapshots of scrubs, which delete it",
                 "choose another name");
}

// Blocks of a snapshot stay where they are, so those of the live tree are read through one.
Task<Status> Api::State::scrub_volume(std::string name) {
  // Of a scrub that was cut off; usually there is none.
  [[maybe_unused]] const auto left = co_await context.filer.delete_snapshot(name, kScrubSnapshot);
  const Status created = co_await context.filer.create_snapshot(name, kScrubSnapshot);
  if (!created.ok()) {
    co_return created;
  }
  Status result = Ok{};
  std::vector<wafl::SnapshotInfo> snapshots;
  const wafl::Volume* volume = context.filer.aggregate().find_volume(name);
  if (volume != nullptr) {
    snapshots = volume->snapshots();
  }
  for (const wafl::SnapshotInfo& snapshot : snapshots) {
    volume = context.filer.aggregate().find_volume(name);
    if (volume == nullptr || last_scrub.progress.stop) {
      break;
    }
    const std::uint64_t errors_before = last_scrub.progress.errors;
    std::string first_before = last_scrub.progress.first_error;
    const Status read =
        co_await context.filer.aggregate().scrub(volume->id(), snapshot.id, last_scrub.progress);
    if (!read.ok() && read.error().code == Errc::kNotFound) {
      // Deleted meanwhile: its blocks may have been given to others while they were read.
      last_scrub.progress.errors = errors_before;
      last_scrub.progress.first_error = std::move(first_before);
    } else if (!read.ok()) {
      result = read;
    }
  }
  const Status deleted = co_await context.filer.delete_snapshot(name, kScrubSnapshot);
  co_return result.ok() ? deleted : result;
}

Task<void> Api::State::run_scrub() {
  Status status = Ok{};
  std::vector<std::string> names;
  for (const wafl::Volume* volume : context.filer.aggregate().volumes()) {
    if (!volume->receiving()) {  // its blocks were just written
      names.push_back(volume->name());
    }
  }
  for (const std::string& name : names) {
    const wafl::Volume* volume = context.filer.aggregate().find_volume(name);
    if (status.ok() && !last_scrub.progress.stop && volume != nullptr && !volume->receiving()) {
      status = co_await scrub_volume(name);
    }
  }
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
    if (stopping) {
      co_return refusal(503, "closed", "the filer is stopping");
    }
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
               {"first_error", last_scrub.progress.first_error},
               {"errors", last_scrub.progress.errors},
               {"healed", last_scrub.progress.healed}};
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
