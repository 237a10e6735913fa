// Api: the administration interface without its transport: a request in JSON, a reply in JSON.
//
// docs/ADMIN_API.md is the reference.  server/admin/http brings requests here from HTTP; tests call
// it directly.
//
// Ownership: borrows what Context names, which outlives it.  Thread-safety: the strand.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/metrics.h"
#include "admin/raid_info.h"
#include "filer/filer.h"
#include "platform/scheduler.h"
#include "platform/task.h"

namespace duet::admin {

struct Request {
  std::string method;  // "GET", "POST", "PUT", "PATCH" or "DELETE"
  std::string path;    // percent-decoded, without the query
  std::string body;    // JSON, or empty
};

struct Response {
  int status = 200;  // of HTTP
  std::string content_type = "application/json";
  std::string body;
};

// Calls of one procedure, as the server's reactors counted them.
struct ProcedureCounters {
  // Bucket i counts the calls that took less than 2^(i + 10) ns; the last one all others too.
  static constexpr std::size_t kBuckets = 25;
  std::string program;    // "nfs3", "mount3", "portmap"
  std::string procedure;  // "GETATTR"
  std::uint64_t calls = 0;
  std::uint64_t failures = 0;  // answered with an error
  std::uint64_t total_ns = 0;
  std::array<std::uint64_t, kBuckets> buckets{};
};

struct ServerCounters {
  std::uint64_t connections = 0;            // open now
  std::uint64_t connections_accepted = 0;   // ever
  std::uint64_t connections_refused = 0;    // no room
  std::uint64_t connections_evicted = 0;    // closed to make room
  std::uint64_t connections_timed_out = 0;  // half a record, or replies not taken
  std::uint64_t bad_records = 0;            // connections closed for what is no RPC
  std::uint64_t denied_calls = 0;           // answered without reaching a procedure
  std::uint64_t receive_bytes = 0;          // of buffers, in use now
  std::vector<ProcedureCounters> procedures;
};

struct MemoryInfo {
  std::string path;
  std::uint64_t bytes = 0;
  bool persistent = false;       // survives power loss
  bool accept_volatile = false;  // the configuration accepts that it does not
};

struct DiskInfo {
  std::string path;
  std::uint64_t bytes = 0;
};

struct Context {
  std::string version, pair, node, filer_name, config_file;
  std::vector<std::string> addresses;  // "127.0.0.1:20049"
  MemoryInfo memory;
  Instant started{};

  Scheduler& scheduler;
  WallClock& clock;
  filer::Filer& filer;

  // Asks every reactor; completes on the strand.
  std::function<Task<ServerCounters>()> counters;
  std::function<std::vector<DiskInfo>()> disks;
  // The exports of the configuration file as it is now.  A text: why it cannot be read.
  std::function<std::variant<filer::ExportTable, std::string>()> read_exports;
  // Opens a disk; the owner keeps it until close_disk.  Null and a text: why not.
  std::function<std::pair<BlockDevice*, std::string>(const std::string& path)> open_disk;
  std::function<void(BlockDevice*)> close_disk;
  // What else `status` is to warn of, each with its remedy; may be none.
  std::function<std::vector<std::string>()> more_warnings = {};
  // The redundancy groups that the filer's disks lie on; may be none.
  std::function<std::vector<RaidGroupInfo>()> groups = {};
  std::function<Task<RaidOutcome>(RaidOrder order)> order_raid = {};
};

class Api {
 public:
  explicit Api(Context context);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // Answers every request, hostile ones too; a change is answered when it is durable.
  Task<Response> handle(Request request);

  // The configuration file's exports become the filer's (SIGHUP).  Empty: done; else why not.
  Task<std::string> reload_exports();

  // Of the filer; each carries the labels `always`.
  Task<Metrics> metrics(Metrics::Labels always = {});

  // Ends what runs in the background (a scrub).
  Task<void> stop();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace duet::admin
