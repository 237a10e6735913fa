#include "admin/nbd_info.h"

#include "admin/reply.h"

namespace duet::admin {

namespace {

Json export_json(const NbdInfo::Export& each) {
  Json clients = Json::array();
  for (const NbdInfo::Client& client : each.clients) {
    clients.push_back({{"address", client.address},
                       {"port", client.port},
                       {"read_only", client.read_only},
                       {"requests", client.requests}});
  }
  return {{"name", each.name},
          {"available", each.available},
          {"bytes", each.bytes},
          {"clients", clients},
          {"counters",
           {{"reads", each.reads},
            {"writes", each.writes},
            {"zeroes", each.zeroes},
            {"flushes", each.flushes},
            {"errors", each.errors},
            {"read_bytes", each.read_bytes},
            {"written_bytes", each.written_bytes}}}};
}

double number(std::uint64_t value) { return static_cast<double>(value); }

}  // namespace

Response nbd_response(const NbdInfo& info) {
  Json exports = Json::array();
  for (const NbdInfo::Export& each : info.exports) {
    exports.push_back(export_json(each));
  }
  return reply({{"node", info.node},
                {"listening", info.listening},
                {"addresses", info.addresses},
                {"connections", info.connections},
                {"connections_refused", info.refused},
                {"strangers", info.strangers},
                {"connections_timed_out", info.timed_out},
                {"violations", info.violations},
                {"exports", exports}});
}

void add_nbd(Metrics& metrics, const NbdInfo& info) {
  if (info.exports.empty()) {
    return;
  }
  metrics.gauge("duet_nbd_listening", "1: hosts can attach virtual disks through this node.",
                info.listening ? 1 : 0);
  metrics.counter("duet_nbd_refused_total", "Connections beyond the limits.", number(info.refused));
  metrics.counter("duet_nbd_strangers_total", "Connections of addresses that no export names.",
                  number(info.strangers));
  metrics.counter("duet_nbd_timed_out_total", "Connections that stalled.", number(info.timed_out));
  metrics.counter("duet_nbd_violations_total", "Connections closed for what is no NBD.",
                  number(info.violations));
  for (const NbdInfo::Export& each : info.exports) {
    metrics.gauge("duet_nbd_connections", "Connections of hosts to a virtual disk.",
                  number(each.clients.size()), {{"export", each.name}});
  }
  const char* const requests = "duet_nbd_requests_total";
  const char* help = "Requests of hosts that were done, by kind.";
  for (const NbdInfo::Export& each : info.exports) {
    const std::pair<const char*, std::uint64_t> kinds[] = {{"read", each.reads},
                                                           {"write", each.writes},
                                                           {"write_zeroes", each.zeroes},
                                                           {"flush", each.flushes}};
    for (const auto& [kind, count] : kinds) {
      metrics.counter(requests, help, number(count), {{"export", each.name}, {"kind", kind}});
      help = "";
    }
  }
  for (const NbdInfo::Export& each : info.exports) {
    metrics.counter("duet_nbd_request_failures_total", "Requests answered with an error.",
                    number(each.errors), {{"export", each.name}});
  }
  for (const NbdInfo::Export& each : info.exports) {
    metrics.counter("duet_nbd_bytes_total", "Data read and written by hosts.",
                    number(each.read_bytes), {{"export", each.name}, {"direction", "read"}});
    metrics.counter("duet_nbd_bytes_total", "", number(each.written_bytes),
                    {{"export", each.name}, {"direction", "written"}});
  }
}

}  // namespace duet::admin
