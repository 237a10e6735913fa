// Api::State and the helpers that its parts share.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/api.h"
#include "admin/reply.h"
#include "platform/task_scope.h"

namespace duet::admin {

using Parts = std::vector<std::string>;  // of a path: {"v1", "volumes", "vol0"}

// Of each volume while a scrub runs; an operator's cannot have this name.
inline constexpr const char* kScrubSnapshot = "duet-scrub";
// The refusal of such a name; nullopt: it is another.
[[nodiscard]] std::optional<Response> refuse_reserved(std::string_view snapshot);

// --- Replies (reply.cpp); more in admin/reply.h.

// What an operation of the filer gave: {} or its error, about `object`.
[[nodiscard]] Response outcome(const Status& status, std::string_view object);
[[nodiscard]] std::string timestamp_text(std::int64_t ns_since_epoch);

// --- Requests.

// The body as an object whose keys are all in `allowed`; a Response: why not.
std::variant<Json, Response> read_body(const Request& request,
                                       std::initializer_list<std::string_view> allowed);

// --- Exports as JSON (exports_json.cpp); the form of docs/CONFIGURATION.md.
[[nodiscard]] Json exports_json(const filer::ExportTable& table);
// A text: what is wrong.
std::variant<filer::Export, std::string> export_from(const Json& json);
std::variant<filer::ExportTable, std::string> exports_from(const Json& json);

void add_raid(Metrics& metrics, const std::vector<RaidGroupInfo>& groups);

class Api::State {
 public:
  explicit State(Context from) : context(std::move(from)), scope(context.scheduler) {}

  // --- One function per resource; `parts` begins behind "v1".
  Task<Response> volumes(const Request& request, const Parts& parts);
  Task<Response> one_volume(const Request& request, const std::string& name);
  // As outcome(); a refusal names the clones that are in the way: those of these snapshots.
  enum class ClonesOf : std::uint8_t { kAny, kThis, kNewer };
  [[nodiscard]] Response outcome_with_clones(const Status& status, const std::string& object,
                                             const std::string& volume, ClonesOf which,
                                             std::string_view snapshot) const;
  Task<Response> clone(const Request& request, const std::string& volume,
                       const std::string& snapshot);
  Task<Response> snapshots(const Request& request, const std::string& volume, const Parts& parts);
  Task<Response> one_snapshot(const Request& request, const std::string& volume,
                              const Parts& parts);
  Task<Response> streams(const Request& request, const Parts& parts);
  Task<Response> begin_send(const Request& request, const std::string& volume,
                            const std::string& snapshot);
  Task<Response> begin_receive(const Request& request);
  Task<Response> next_piece(std::uint64_t id);
  Task<Response> take_piece(const Request& request, std::uint64_t id);
  Task<Response> exports(const Request& request, const Parts& parts);
  // `edit` works on the table of the turn in which it takes effect; `object`: for its error.
  Task<Response> change_exports(std::function<Status(filer::ExportTable&)> edit,
                                std::string object);
  Task<Response> disks(const Request& request, const Parts& parts);
  Task<Response> add_disk(const Request& request);
  Task<Response> order_disk(const Request& request, const std::string& verb);
  [[nodiscard]] Json group_disks_json() const;
  Task<Response> raid(const Request& request, const Parts& parts);
  [[nodiscard]] Json groups_json() const;
  Task<Response> scrub(const Request& request);
  Task<void> run_scrub();
  Task<Status> scrub_volume(std::string name);
  Task<Response> consistency_point();
  Task<Response> status();
  [[nodiscard]] Response space();
  [[nodiscard]] Response log();
  Task<Response> counters();
  [[nodiscard]] Response version();

  [[nodiscard]] Json volume_json(const wafl::Volume& volume) const;
  [[nodiscard]] std::vector<std::string> warnings() const;

  Context context;
  // Snapshots on their way out or in, each asked for or brought in pieces.
  struct Stream {
    std::unique_ptr<wafl::SnapshotSender> sender;  // null: it is received
    std::uint64_t receive = 0;                     // the filer's number
    std::uint64_t pieces = 0;                      // so far
    bool busy = false;
  };
  std::map<std::uint64_t, std::shared_ptr<Stream>> open_streams;
  std::uint64_t next_stream = 1;
  Response add_stream(std::shared_ptr<Stream> stream);
  struct Scrub {
    bool running = false;
    bool ran = false;
    std::int64_t started_ns = 0, ended_ns = 0;
    std::string result;  // "clean", "errors found", "stopped", or why it failed
    wafl::Aggregate::ScrubProgress progress;
  } last_scrub;
  bool stopping = false;  // no task may begin
  TaskScope scope;        // ends before what its tasks use
};

}  // namespace duet::admin
