// ShelfServer: the disks of one shelf, for whoever connects.
//
// It knows no sockets: the program hands it connected streams.  One connection is one node's
// session with one disk.
//
// What a client may take: `requests_max` requests and `bytes_max` of their data at a time, which
// are read and not yet answered.  The server reads no further until there is room, so a client that
// does not read its answers holds back itself alone.
//
// Ownership: borrows scheduler and targets, which outlive it.  Thread-safety: the scheduler's
// thread only.

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "platform/stream.h"
#include "platform/task.h"
#include "shelf/target.h"

namespace duet::shelf {

class BufferPool;

struct ShelfServerOptions {
  // Of the machine's present life: another number after a loss of power.
  std::array<std::uint64_t, 2> power{};
  std::uint32_t requests_max = 128;
  std::uint64_t bytes_max = std::uint64_t{16} << 20U;
  std::size_t connections_max = 256;
  Duration hello_max = std::chrono::seconds(10);  // from connecting to saying who one is
};

struct ShelfServerCounters {
  std::uint64_t connections = 0;  // now
  std::uint64_t accepted = 0;     // ever
  std::uint64_t refused = 0;      // too many, unknown disks or versions, older sessions
  std::uint64_t corrupt = 0;      // connections ended for a wrong checksum or a senseless frame
};

class ShelfServer {
 public:
  ShelfServer(Scheduler& scheduler, const ShelfServerOptions& options);
  ~ShelfServer();
  ShelfServer(const ShelfServer&) = delete;
  ShelfServer& operator=(const ShelfServer&) = delete;

  // kExists; kInvalid: no name, or a longer one than kDiskNameMax.
  Status add_disk(const std::string& name, Target& target);

  // Serves until the connection ends and nothing of it is under way.
  Task<void> serve(std::unique_ptr<ByteStream> stream);

  [[nodiscard]] const ShelfServerCounters& counters() const { return counters_; }
  [[nodiscard]] const std::map<std::string, Target*, std::less<>>& disks() const { return disks_; }

 private:
  friend class ServerConnection;

  Scheduler& scheduler_;
  const ShelfServerOptions options_;
  ShelfServerCounters counters_;
  std::map<std::string, Target*, std::less<>> disks_;
  std::unique_ptr<BufferPool> buffers_;
};

}  // namespace duet::shelf
