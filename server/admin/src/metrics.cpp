#include "admin/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "state.h"

namespace duet::admin {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

void Metrics::gauge(const char* name, const char* help, double value, Labels labels) {
  add(name, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
}

void Metrics::counter(const char* name, const char* help, double value, Labels labels) {
  add(name, help, MetricType::Counter, std::move(labels)).counter.value = value;
}

void Metrics::histogram(const char* name, const char* help, const ProcedureCounters& counted,
                        Labels labels) {
  ClientMetric& metric = add(name, help, MetricType::Histogram, std::move(labels));
  std::uint64_t below = 0;
  double bound_seconds = 1024e-9;
  for (std::size_t i = 0; i + 1 < counted.buckets.size(); ++i, bound_seconds *= 2) {
    below += counted.buckets.at(i);
    metric.histogram.bucket.push_back({below, bound_seconds});
  }
  below += counted.buckets.back();
  metric.histogram.bucket.push_back({below, std::numeric_limits<double>::infinity()});
  metric.histogram.sample_count = below;
  metric.histogram.sample_sum = static_cast<double>(counted.total_ns) / 1e9;
}

void Metrics::merge(Metrics other) {
  for (MetricFamily& family : other.families_) {
    const auto same = std::ranges::find(families_, family.name, &MetricFamily::name);
    if (same == families_.end()) {
      families_.push_back(std::move(family));
    } else {
      std::ranges::move(family.metric, std::back_inserter(same->metric));
    }
  }
}

std::string Metrics::text() const {
  std::ostringstream stream;
  prometheus::TextSerializer().Serialize(stream, families_);
  return stream.str();
}

ClientMetric& Metrics::add(const char* name, const char* help, MetricType type, Labels labels) {
  if (families_.empty() || families_.back().name != name) {
    families_.push_back({name, help, type, {}});
  }
  ClientMetric& metric = families_.back().metric.emplace_back();
  metric.label = always_;
  std::ranges::move(labels, std::back_inserter(metric.label));
  return metric;
}

Response metrics_response(const Metrics& metrics) {
  return {200, "text/plain; version=0.0.4; charset=utf-8", metrics.text()};
}

namespace {

double number(std::uint64_t value) { return static_cast<double>(value); }

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

Metrics::Labels labels_of(const ProcedureCounters& procedure) {
  return {{"program", procedure.program}, {"procedure", procedure.procedure}};
}

void add_server(Metrics& metrics, const ServerCounters& counted) {
  metrics.gauge("duet_connections", "Client connections that are open.",
                number(counted.connections));
  metrics.counter("duet_connections_accepted_total", "Connections accepted.",
                  number(counted.connections_accepted));
  metrics.counter("duet_connections_refused_total", "Connections beyond the limits.",
                  number(counted.connections_refused));
  metrics.counter("duet_connections_evicted_total", "Connections closed to make room.",
                  number(counted.connections_evicted));
  metrics.counter("duet_connections_timed_out_total", "Connections that stalled.",
                  number(counted.connections_timed_out));
  metrics.counter("duet_bad_records_total", "Connections closed for what is no RPC.",
                  number(counted.bad_records));
  metrics.counter("duet_denied_calls_total", "Calls answered without reaching a procedure.",
                  number(counted.denied_calls));
  metrics.gauge("duet_receive_buffer_bytes", "Receive buffers in use.",
                number(counted.receive_bytes));
  for (const ProcedureCounters& procedure : counted.procedures) {
    metrics.counter("duet_requests_total", "Requests answered, by procedure.",
                    number(procedure.calls), labels_of(procedure));
  }
  for (const ProcedureCounters& procedure : counted.procedures) {
    metrics.counter("duet_request_failures_total", "Requests answered with an error.",
                    number(procedure.failures), labels_of(procedure));
  }
  for (const ProcedureCounters& procedure : counted.procedures) {
    metrics.histogram("duet_request_duration_seconds", "From the call to its reply.", procedure,
                      labels_of(procedure));
  }
}

void add_filer(Metrics& metrics, const filer::FilerStatistics& filer) {
  metrics.counter("duet_filer_requests_total", "Requests the filer executed.",
                  number(filer.requests));
  metrics.counter("duet_filer_loads_total", "Requests that waited for disk.", number(filer.loads));
  metrics.counter("duet_reply_cache_hits_total", "Retries answered with their first reply.",
                  number(filer.reply_cache_hits));
  metrics.counter("duet_log_records_total", "Records logged.", number(filer.logged_records));
  metrics.counter("duet_log_bytes_total", "Bytes logged.", number(filer.logged_bytes));
  metrics.gauge("duet_replayed_records", "Records replayed at the last opening.",
                number(filer.replayed_records));
  metrics.gauge("duet_replay_seconds", "How long that took.", seconds(filer.replay));
  metrics.counter("duet_cp_triggers_total", "Consistency points, by what started them.",
                  number(filer.cps_by_timer), {{"trigger", "timer"}});
  metrics.counter("duet_cp_triggers_total", "", number(filer.cps_by_log), {{"trigger", "log"}});
  metrics.counter("duet_cp_triggers_total", "", number(filer.cps_by_memory),
                  {{"trigger", "memory"}});
  metrics.counter("duet_cp_triggers_total", "", number(filer.cps_by_operator),
                  {{"trigger", "operator"}});
  metrics.counter("duet_cp_back_to_back_total", "Times that replies waited for a CP to end.",
                  number(filer.back_to_back_cps));
}

void add_aggregate(Metrics& metrics, const wafl::Aggregate& aggregate) {
  const wafl::CpStatistics& cp = aggregate.cp_statistics();
  metrics.counter("duet_cp_total", "Consistency points since the start.", number(cp.count));
  metrics.gauge("duet_cp_last_blocks", "Blocks that the last one wrote.",
                number(cp.blocks_written));
  metrics.gauge("duet_cp_last_freeze_seconds", "How long clients waited for it.",
                seconds(cp.freeze));
  metrics.gauge("duet_cp_last_duration_seconds", "How long it took.", seconds(cp.duration));
  metrics.gauge("duet_cp_last_whole_stripes_ratio", "Of its data blocks, in whole stripes.",
                number(cp.whole_stripes_percent) / 100);
  metrics.counter("duet_cp_lost_subtrees_total",
                  "Damaged blocks in trees of changed files: what they led to is unreadable.",
                  number(cp.lost_subtrees));
  metrics.counter("duet_cp_leaked_subtrees_total",
                  "Damaged blocks in trees of removed files: what they led to is not freed.",
                  number(cp.leaked_subtrees));
  const wafl::HealStatistics& heals = aggregate.heal_statistics();
  metrics.counter("duet_healed_blocks_total",
                  "Blocks with a wrong checksum of which the redundancy group had the right bytes.",
                  number(heals.healed));
  metrics.counter("duet_heal_failures_total", "Tries to heal a block that found no right bytes.",
                  number(heals.failed));
  const wafl::AggregateUsage usage = aggregate.usage();
  metrics.gauge("duet_aggregate_bytes", "Size of the aggregate.", number(usage.total_bytes));
  metrics.gauge("duet_aggregate_free_bytes", "Free space.", number(usage.free_bytes));
  metrics.gauge("duet_dirty_bytes", "Changed and not yet in a CP.", number(usage.dirty_bytes));
  metrics.gauge("duet_cache_bytes", "Blocks in memory.", number(usage.cached_bytes));
  const std::vector<wafl::Volume*> volumes = aggregate.volumes();
  for (const wafl::Volume* volume : volumes) {
    metrics.gauge("duet_volume_used_bytes", "What the volume holds, snapshots included.",
                  number(volume->used_bytes()), {{"volume", volume->name()}});
  }
  for (const wafl::Volume* volume : volumes) {
    metrics.gauge("duet_volume_limit_bytes", "Its size limit; 0: none.",
                  number(volume->limit_bytes()), {{"volume", volume->name()}});
  }
  for (const wafl::Volume* volume : volumes) {
    metrics.gauge("duet_volume_inodes", "Files, directories and the rest.",
                  number(volume->inodes_used()), {{"volume", volume->name()}});
  }
  for (const wafl::Volume* volume : volumes) {
    metrics.gauge("duet_volume_snapshots", "Its snapshots.", number(volume->snapshots().size()),
                  {{"volume", volume->name()}});
  }
}

}  // namespace

Task<Metrics> Api::metrics(Metrics::Labels always) {
  const Context& context = state_->context;
  const ServerCounters counted = co_await context.counters();
  Metrics metrics(std::move(always));
  metrics.gauge("duet_info", "Always 1; the labels tell who this is.", 1,
                {{"version", context.version},
                 {"pair", context.pair},
                 {"node", context.node},
                 {"filer", context.filer_name}});
  metrics.gauge("duet_memory_persistent", "1: the log survives a loss of power.",
                context.memory.persistent ? 1 : 0);
  metrics.gauge("duet_uptime_seconds", "Since the filer was opened.",
                seconds(context.scheduler.now() - context.started));
  add_server(metrics, counted);
  add_filer(metrics, context.filer.statistics());
  metrics.gauge("duet_filer_failed", "1: it answers I/O errors until duetd is restarted.",
                context.filer.failed() ? 1 : 0);
  const nvlog::RequestLog& log = context.filer.log();
  metrics.gauge("duet_log_half_bytes", "Size of a log half.", number(log.half_bytes()));
  metrics.gauge("duet_log_filling_bytes", "Used of the filling half.", number(log.filling_bytes()));
  metrics.gauge("duet_log_filling_records", "Records in it.", number(log.filling_records()));
  add_aggregate(metrics, context.filer.aggregate());
  if (context.groups) {
    add_raid(metrics, context.groups());
  }
  co_return metrics;
}

}  // namespace duet::admin
