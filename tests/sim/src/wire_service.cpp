#include "world/wire_service.h"

#include <utility>

#include "base/check.h"
#include "nfs_wire.h"

namespace duet::world {

WireService::WireService(sim::SimScheduler& scheduler, filer::Filer& filer)
    : scheduler_(scheduler),
      program_(filer),
      server_(scheduler, {&program_}),
      scope_(scheduler) {}

WireService::Connection& WireService::connect(const filer::Caller& caller) {
  std::unique_ptr<Connection>& connection = connections_[caller.address];
  if (connection == nullptr) {
    connection = std::make_unique<Connection>(scheduler_);
    auto [client, served] = sim::SimStream::make_pair(scheduler_);
    connection->stream = std::move(client);
    DUET_CHECK(server_.accept(std::move(served), caller.address, caller.port));
    scope_.spawn(receive(*connection));
  }
  return *connection;
}

Task<void> WireService::receive(Connection& connection) {
  std::vector<std::byte> buffer(65'536);
  while (!connection.ended) {
    const Result<std::size_t> got = co_await connection.stream->read_some(buffer);
    if (!got.ok() || got.value() == 0) {
      connection.ended = true;
    } else {
      connection.received.append(reinterpret_cast<const char*>(buffer.data()), got.value());
      take_replies(connection);
    }
    connection.arrived.wake_all();
  }
}

void WireService::take_replies(Connection& connection) {
  std::string_view left = connection.received;
  while (left.size() >= 4) {
    const std::uint32_t mark = load_big(left);
    DUET_CHECK((mark & 0x8000'0000U) != 0);  // replies come whole
    const std::size_t bytes = mark & 0x7FFF'FFFFU;
    if (left.size() - 4 < bytes) {
      break;
    }
    std::string_view record = left.substr(4, bytes);
    left.remove_prefix(4 + bytes);
    std::uint32_t xid = 0;
    DUET_CHECK(take_reply_header(record, xid));
    DUET_CHECK(connection.replies.emplace(xid, record).second);  // one reply each
  }
  connection.received.erase(0, connection.received.size() - left.size());
}

Task<Answer> WireService::call(const filer::Caller& caller, const Operation& operation) {
  Connection& connection = connect(caller);
  const std::string bytes = encode_call(operation, caller.xid);
  const ConstBytes view = std::as_bytes(std::span(bytes));
  std::vector<ConstBytes> parts(1, view);
  const Status written = co_await connection.stream->write_all(parts);
  while (written.ok() && !connection.ended && !connection.replies.contains(caller.xid)) {
    co_await connection.arrived.wait();
  }
  Answer answer;
  const auto reply = connection.replies.find(caller.xid);
  if (reply == connection.replies.end()) {
    answer.error = Errc::kClosed;
    co_return answer;
  }
  const std::string results = std::move(reply->second);
  connection.replies.erase(reply);
  DUET_CHECK(decode_reply(operation, results, answer));
  co_return answer;
}

}  // namespace duet::world
