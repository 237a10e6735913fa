#include "server/service.h"

#include "rpc/connection.h"
#include "rpc/hub.h"

namespace duet::server {

namespace {

Task<void> serve(std::unique_ptr<Connection> connection) { co_await connection->run(); }

}  // namespace

Service::Service(Scheduler& scheduler, std::vector<Program*> programs, ServiceOptions options)
    : hub_(std::make_unique<Hub>(scheduler, std::move(programs), options)) {}

Service::~Service() = default;

bool Service::accept(std::unique_ptr<ByteStream> stream, const filer::Address& address,
                     std::uint16_t port) {
  if (!hub_->admit(address)) {
    ++hub_->statistics.connections_refused;
    stream->close();
    return false;
  }
  hub_->connections.spawn(
      serve(std::make_unique<Connection>(*hub_, std::move(stream), address, port)));
  return true;
}

Task<void> Service::drain() {
  hub_->draining = true;
  // Closing takes a connection's turn, so the list does not change under this loop.
  for (Hook* hook = hub_->all.first(); hook != nullptr; hook = hub_->all.after(*hook)) {
    hook->connection().drain();
  }
  co_await hub_->connections.join();
}

void Service::cut() {
  hub_->draining = true;
  for (Hook* hook = hub_->all.first(); hook != nullptr; hook = hub_->all.after(*hook)) {
    hook->connection().close();
  }
}

ServiceStatistics Service::statistics() const {
  ServiceStatistics copy = hub_->statistics;
  copy.receive_bytes = hub_->pool.used_bytes();
  return copy;
}

}  // namespace duet::server
