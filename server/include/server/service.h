// Service: the connections of one reactor and the programs they reach.
//
//   accept() -> [records -> calls -> replies] -> the peer ends, a bound or a deadline closes,
//   drain()
//
// Bounds, all per reactor: connections in all and of one client address; per connection the
// requests under way and the memory they and the unfinished record hold (reading stops, so TCP
// holds the client back); receive memory in all (records over 4 KiB wait).  When connections run
// out, the one that has been idle longest makes room; when receive memory does, the one whose
// unfinished record is oldest.
//
// Deadlines apply always, not only when memory is short: a client that comes back after such
// a pause asks again on a new connection and loses nothing, while an operator who reads that
// stalled connections end after half a minute need not guess when.  They are longer than a
// network's usual outage.
//
// Ownership: owns its connections; borrows scheduler and programs.
// Thread-safety: the reactor's thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "filer/request.h"
#include "platform/scheduler.h"
#include "platform/stream.h"
#include "platform/task.h"
#include "server/acceptor.h"
#include "server/call.h"
#include "server/statistics.h"

namespace duet::server {

struct ServiceOptions {
  std::size_t connections_max = 30'000;  // about 2 KiB each when idle
  std::size_t connections_per_client_max = 30'000;
  std::uint32_t requests_per_connection = 64;  // more than Linux's default of 65,536 slots uses
  std::size_t requests_max = 16'384;           // beyond it, one per connection
  std::size_t bytes_per_connection = (2U << 20U) - (128U << 10U);  // buffered: below 2 MiB
  std::size_t receive_bytes_max = 64U << 20U;
  Duration record_timeout = std::chrono::seconds(30);     // from a record's first byte to its last
  Duration reply_timeout = std::chrono::seconds(60);      // to take the replies sent together
  Duration evict_record_after = std::chrono::seconds(2);  // when memory or connections run out
};

struct Hub;  // rpc/hub.h

class Service final : public Acceptor {
 public:
  Service(Scheduler& scheduler, std::vector<Program*> programs, ServiceOptions options = {});
  // Requests under way are destroyed where they wait.
  // REQUIRES: with a Crossing: drained.
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Serves a new connection.  False: there is no room, and the stream is closed.
  bool accept(std::unique_ptr<ByteStream> stream, const filer::Address& address,
              std::uint16_t port) override;

  // Takes no new connection or request, finishes what runs, sends the replies, closes.
  Task<void> drain();

  // Takes nothing more; every connection ends at once.  Requests under way go on, and their replies
  // go nowhere; drain() waits for them.
  void cut();

  [[nodiscard]] ServiceStatistics statistics() const;

 private:
  std::unique_ptr<Hub> hub_;
};

}  // namespace duet::server
