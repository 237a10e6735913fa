#include "reactor.h"

namespace duet::daemon {

namespace {

static_assert(server::ProcedureStatistics::kBuckets == admin::ProcedureCounters::kBuckets);

void add(admin::ServerCounters& counters, std::size_t at, const char* program,
         const char* procedure, const server::ProcedureStatistics& counted) {
  if (counters.procedures.size() <= at) {
    counters.procedures.resize(at + 1);
  }
  admin::ProcedureCounters& sum = counters.procedures[at];
  sum.program = program;
  sum.procedure = procedure;
  sum.calls += counted.calls;
  sum.failures += counted.errors;
  sum.total_ns += counted.latency_total_ns;
  for (std::size_t i = 0; i < sum.buckets.size(); ++i) {
    sum.buckets.at(i) += counted.latency.at(i);
  }
}

}  // namespace

void Reactor::count(admin::ServerCounters& counters) {
  const server::ServiceStatistics counted = service_.statistics();
  counters.connections += counted.connections;
  counters.connections_accepted += counted.connections_accepted;
  counters.connections_refused += counted.connections_refused;
  counters.connections_evicted += counted.connections_evicted;
  counters.connections_timed_out += counted.connections_timed_out;
  counters.bad_records += counted.records_refused;
  counters.denied_calls += counted.calls_denied;
  counters.receive_bytes += counted.receive_bytes;
  for (std::uint32_t i = 0; i < server::Nfs3Program::kProcedures; ++i) {
    add(counters, i, "nfs3", server::Nfs3Program::procedure_name(i), *nfs_.statistics(i));
  }
}

}  // namespace duet::daemon
