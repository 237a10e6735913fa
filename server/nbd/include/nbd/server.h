// Server: gives hosts the virtual disks of redundancy groups as block devices, over NBD.
//
//   accept() -> handshake: which disk -> requests, many at once -> the peer ends, says goodbye,
//               lies or stalls; drain(); cut(); the group ends
//
// Invariants:
//   (1) Nothing is answered that the group has not done, and nothing after cut().
//   (2) Who is in no export's list of clients is closed before a byte is sent.
//   (3) A request that was started is finished, whether its client waits or not.
//
// Bounds: connections in all and of one client address; per connection the requests under way and
// the bytes that they hold; bytes of all connections together.  Then requests are not read, so TCP
// holds the client back.  A request above one piece goes piece by piece through one buffer.
//
// Ownership: owns its connections; borrows scheduler and gate.  Requests under way hold operations
// of the disks: drain() first, or destroy the disks first.
// Thread-safety: the scheduler's thread.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "filer/exports.h"
#include "filer/filer.h"
#include "platform/block_device.h"
#include "platform/scheduler.h"
#include "platform/stream.h"
#include "platform/task.h"
#include "server/acceptor.h"

namespace duet::nbd {

struct Export {
  std::string name;                        // as clients say it: "tank/host"
  std::vector<filer::ExportRule> clients;  // the first that matches counts; of it only read_write
  // The disk; null: not to be had through this node now.  The size never changes, and what was
  // given lives as long as the server.
  std::function<BlockDevice*()> disk;
  // What was answered can be lost with this node until a flush through it has ended: then hosts
  // are not told that connections to several nodes are as one, and FUA flushes.
  bool volatile_answers = false;
};

struct ServerOptions {
  std::size_t connections_max = 1024;
  std::size_t connections_per_client_max = 256;
  std::uint32_t requests_per_connection = 128;  // the queue of a Linux NBD device
  std::size_t bytes_per_connection = 8U << 20U;
  std::size_t bytes_max = 128U << 20U;
  std::size_t piece_bytes = 1U << 20U;  // whole blocks
  Duration handshake_timeout = std::chrono::seconds(10);
  Duration request_timeout = std::chrono::seconds(30);  // from its first byte to its last
  Duration reply_timeout = std::chrono::seconds(60);    // to take a reply
};

struct ExportCounters {
  std::uint64_t reads = 0, writes = 0, zeroes = 0, flushes = 0;  // done well
  std::uint64_t read_bytes = 0, written_bytes = 0;
  std::uint64_t errors = 0;  // requests that were answered with an error
};

struct ServerCounters {
  std::uint64_t connections = 0;  // open now, those that have chosen nothing yet included
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;     // no room
  std::uint64_t strangers = 0;   // in no list of clients
  std::uint64_t timed_out = 0;   // a handshake, a request or a reply that stalled
  std::uint64_t violations = 0;  // closed for what is no NBD
  std::size_t buffer_bytes = 0;  // in use now
};

struct ConnectionInfo {
  std::string client;  // "192.0.2.1"
  std::uint16_t port = 0;
  std::string name;  // of its export; empty: none yet
  bool read_only = false;
  std::uint32_t requests = 0;  // under way
};

struct Hub;  // src/hub.h

class Server final : public server::Acceptor {
 public:
  // `gate`: asked before each reply; null: always.
  Server(Scheduler& scheduler, std::vector<Export> exports, filer::AnswerGate* gate,
         ServerOptions options = {});
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  bool accept(std::unique_ptr<ByteStream> stream, const filer::Address& address,
              std::uint16_t port) override;

  // Takes no new connection or request, finishes what runs, sends the replies, closes.
  Task<void> drain();
  // Every connection ends at once, and no reply leaves.  More may come later.
  void cut();

  [[nodiscard]] const std::vector<Export>& exports() const;
  [[nodiscard]] const ExportCounters& counters_of(std::size_t export_index) const;
  [[nodiscard]] ServerCounters counters() const;
  [[nodiscard]] std::vector<ConnectionInfo> connections() const;

 private:
  std::unique_ptr<Hub> hub_;
};

}  // namespace duet::nbd
