#include <fmt/format.h>

#include "state.h"

namespace duet::admin {

namespace {

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

Json cp_json(const wafl::CpStatistics& cp, const filer::FilerStatistics& filer) {
  return {{"count", cp.count},
          {"last_blocks", cp.blocks_written},
          {"last_whole_stripes_percent", cp.whole_stripes_percent},
          {"last_freeze_ms", milliseconds(cp.freeze)},
          {"last_duration_ms", milliseconds(cp.duration)},
          {"lost_subtrees", cp.lost_subtrees},
          {"leaked_subtrees", cp.leaked_subtrees},
          {"back_to_back", filer.back_to_back_cps},
          {"by_timer", filer.cps_by_timer},
          {"by_log", filer.cps_by_log},
          {"by_memory", filer.cps_by_memory},
          {"by_operator", filer.cps_by_operator}};
}

Json heal_json(const wafl::HealStatistics& heals) {
  return {
      {"healed_blocks", heals.healed}, {"left_blocks", heals.left}, {"failed_tries", heals.failed}};
}

Json space_json(const wafl::AggregateUsage& usage) {
  return {{"total_bytes", usage.total_bytes},
          {"free_bytes", usage.free_bytes},
          {"dirty_bytes", usage.dirty_bytes},
          {"cached_bytes", usage.cached_bytes}};
}

Json log_json(const nvlog::RequestLog& log, const filer::FilerStatistics& filer) {
  return {{"last_sequence", static_cast<std::uint64_t>(log.last())},
          {"durable_sequence", static_cast<std::uint64_t>(log.durable())},
          {"half_bytes", log.half_bytes()},
          {"filling_bytes", log.filling_bytes()},
          {"filling_records", log.filling_records()},
          {"other_half_free", log.can_switch()},
          {"logged_records", filer.logged_records},
          {"logged_bytes", filer.logged_bytes},
          {"replayed_records", filer.replayed_records},
          {"replay_ms", milliseconds(filer.replay)}};
}

}  // namespace

std::vector<std::string> Api::State::warnings() const {
  std::vector<std::string> list;
  if (context.filer.failed()) {
    list.emplace_back(
        "the filer has failed: a disk or the memory could not be written, and clients get I/O "
        "errors; see to the disks and restart duetd: what was acknowledged is replayed");
  }
  if (!context.memory.persistent) {
    list.push_back(
        fmt::format("the memory {} is not persistent: acknowledged requests survive a crash of "
                    "duetd, not a loss "
                    "of power; give it persistent memory to be safe",
                    context.memory.path));
  }
  if (context.filer.aggregate().volumes().empty()) {
    list.emplace_back(
        "there is no volume: make one with `duet volume create`; if `duet init` was cut off, run "
        "it again with --force");
  }
  const wafl::AggregateUsage usage = context.filer.aggregate().usage();
  if (usage.total_bytes > 0 && usage.free_bytes < usage.total_bytes / 20) {
    list.emplace_back(
        "less than 5 % of the aggregate is free: delete snapshots or files, or add a disk");
  }
  const wafl::CpStatistics& cp = context.filer.aggregate().cp_statistics();
  if (cp.lost_subtrees > 0) {
    list.emplace_back(
        "the tree of a changed file is damaged: a part of that file cannot be read any more; "
        "clients "
        "get I/O errors there: a scrub names it; restore it from a snapshot or a copy");
  }
  if (cp.leaked_subtrees > 0) {
    list.emplace_back(
        "the tree of a removed file is damaged: its space is lost; when the filer is stopped, "
        "`duet check` says how much");
  }
  if (last_scrub.progress.errors > 0) {
    list.emplace_back("the last scrub found errors: stop duetd and run `duet check`");
  }
  return list;
}

Task<Response> Api::State::status() {
  const ServerCounters counted = co_await context.counters();
  filer::Filer& filer = context.filer;
  Json volumes = Json::array();
  for (const wafl::Volume* volume : filer.aggregate().volumes()) {
    volumes.push_back(volume_json(*volume));
  }
  const Duration up = context.scheduler.now() - context.started;
  std::vector<std::string> warned = warnings();
  if (context.more_warnings) {
    const std::vector<std::string> more = context.more_warnings();
    warned.insert(warned.end(), more.begin(), more.end());
  }
  Json json = {{"pair", context.pair},
               {"node", context.node},
               {"filer", context.filer_name},
               {"state", filer.failed() ? "failed" : "serving"},
               {"health", filer.failed()   ? "failed"
                          : warned.empty() ? "ok"
                                           : "warning"},
               {"warnings", warned},
               {"version", context.version},
               {"uptime_seconds", std::chrono::duration<double>(up).count()},
               {"addresses", context.addresses},
               {"memory",
                {{"path", context.memory.path},
                 {"bytes", context.memory.bytes},
                 {"persistent", context.memory.persistent},
                 {"accept_volatile", context.memory.accept_volatile}}},
               {"connections", counted.connections},
               {"requests", filer.statistics().requests},
               {"epoch", filer.aggregate().log_position().epoch},
               {"volumes", volumes},
               {"space", space_json(filer.aggregate().usage())},
               {"cp", cp_json(filer.aggregate().cp_statistics(), filer.statistics())},
               {"heals", heal_json(filer.aggregate().heal_statistics())},
               {"log", log_json(filer.log(), filer.statistics())},
               {"raid", groups_json()}};
  co_return reply(json);
}

Response Api::State::space() {
  wafl::Aggregate& aggregate = context.filer.aggregate();
  Json volumes = Json::array();
  for (const wafl::Volume* volume : aggregate.volumes()) {
    volumes.push_back(volume_json(*volume));
  }
  return reply({{"aggregate", space_json(aggregate.usage())}, {"volumes", volumes}});
}

Response Api::State::log() {
  return reply(log_json(context.filer.log(), context.filer.statistics()));
}

Response Api::State::version() { return reply({{"version", context.version}, {"api", "v1"}}); }

Task<Response> Api::State::counters() {
  const ServerCounters counted = co_await context.counters();
  Json procedures = Json::array();
  for (const ProcedureCounters& procedure : counted.procedures) {
    procedures.push_back({{"program", procedure.program},
                          {"procedure", procedure.procedure},
                          {"calls", procedure.calls},
                          {"failures", procedure.failures},
                          {"total_ns", procedure.total_ns},
                          {"buckets", procedure.buckets}});
  }
  const filer::FilerStatistics& filer = context.filer.statistics();
  co_return reply({{"now_ns", context.scheduler.now().since_start.count()},
                   {"connections", counted.connections},
                   {"reply_cache_hits", filer.reply_cache_hits},
                   {"loads", filer.loads},
                   {"procedures", procedures},
                   {"space", space_json(context.filer.aggregate().usage())},
                   {"cp", cp_json(context.filer.aggregate().cp_statistics(), filer)},
                   {"heals", heal_json(context.filer.aggregate().heal_statistics())},
                   {"log", log_json(context.filer.log(), filer)}});
}

}  // namespace duet::admin
