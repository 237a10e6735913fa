#include "nbd/server.h"

#include <algorithm>

#include "base/check.h"
#include "connection.h"
#include "hub.h"

namespace duet::nbd {

namespace {

constexpr Duration kSweepInterval = std::chrono::seconds(1);

Task<void> serve(std::unique_ptr<Connection> connection) { co_await connection->run(); }

}  // namespace

Hub::Hub(Scheduler& on, std::vector<Export> served, filer::AnswerGate* answers,
         const ServerOptions& limits)
    : scheduler(on),
      exports(std::move(served)),
      gate(answers),
      options(limits),
      buffers(on, limits.bytes_max),
      counters(exports.size()),
      connections(on) {
  DUET_CHECK(options.piece_bytes > 0 && options.piece_bytes % kBlockBytes == 0);
  for (const Export& each : exports) {
    table.exports.push_back({each.name, each.clients});
  }
}

bool Hub::knows(const filer::Address& client) const {
  return std::ranges::any_of(
      exports, [&](const Export& each) { return rule(each.name, client) != nullptr; });
}

void Hub::watch_deadlines() {
  if (!sweep_.linked()) {
    scheduler.post_at(sweep_, scheduler.now() + kSweepInterval);
  }
}

void Hub::sweep() {
  const Instant now = scheduler.now();
  // Closing takes a connection's turn, so the list does not change under this loop.
  for (Connection* const connection : all) {
    if (connection->overdue(now)) {
      ++totals.timed_out;
      connection->close();
    }
  }
  if (!all.empty()) {
    watch_deadlines();
  }
}

Server::Server(Scheduler& scheduler, std::vector<Export> exports, filer::AnswerGate* gate,
               ServerOptions options)
    : hub_(std::make_unique<Hub>(scheduler, std::move(exports), gate, options)) {}

Server::~Server() = default;

bool Server::accept(std::unique_ptr<ByteStream> stream, const filer::Address& address,
                    std::uint16_t port) {
  const bool known = hub_->knows(address);
  const bool room = hub_->clients.all() < hub_->options.connections_max &&
                    hub_->clients.of(address) < hub_->options.connections_per_client_max;
  if (!known || !room || hub_->draining) {
    ++(known ? hub_->totals.refused : hub_->totals.strangers);
    stream->close();
    return false;
  }
  hub_->clients.enter(address);
  ++hub_->totals.accepted;
  hub_->watch_deadlines();
  hub_->connections.spawn(
      serve(std::make_unique<Connection>(*hub_, std::move(stream), address, port)));
  return true;
}

Task<void> Server::drain() {
  hub_->draining = true;
  for (Connection* const connection : hub_->all) {
    connection->drain();
  }
  co_await hub_->connections.join();
}

void Server::cut() {
  for (Connection* const connection : hub_->all) {
    connection->close();
  }
}

const std::vector<Export>& Server::exports() const { return hub_->exports; }

const ExportCounters& Server::counters_of(std::size_t export_index) const {
  return hub_->counters[export_index];
}

ServerCounters Server::counters() const {
  ServerCounters counters = hub_->totals;
  counters.connections = hub_->clients.all();
  counters.buffer_bytes = hub_->buffers.used_bytes();
  return counters;
}

std::vector<ConnectionInfo> Server::connections() const {
  std::vector<ConnectionInfo> infos;
  for (const Connection* const connection : hub_->all) {
    infos.push_back(connection->info());
  }
  return infos;
}

}  // namespace duet::nbd
