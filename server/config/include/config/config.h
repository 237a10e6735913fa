// Config: what the operator wants, as docs/CONFIGURATION.md describes the YAML file.
//
// One file describes the pair; both nodes read the same one, and each picks its part by
// name.  Reading it touches nothing but the file itself; check_files() looks at the paths it names.
//
// Units are last in the names.  Thread-safety: values; functions from any thread.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "filer/exports.h"
#include "filer/filer.h"
#include "platform/scheduler.h"
#include "raid/answer.h"
#include "raid/geometry.h"
#include "raid/intent_format.h"

namespace duet::config {

// Why a file cannot be used, and what to do about it.
struct ConfigError {
  std::string file;
  int line = 0;  // from 1; 0: the file as a whole
  std::string message;
  std::string remedy;

  // "file:line: message; remedy".
  [[nodiscard]] std::string text() const;
  friend bool operator==(const ConfigError&, const ConfigError&) = default;
};

// A T, or why not.
template <typename T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Outcome(ConfigError error) : state_(std::in_place_index<1>, std::move(error)) {}
  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  // REQUIRES: ok().
  [[nodiscard]] T& value() { return std::get<0>(state_); }
  [[nodiscard]] const T& value() const { return std::get<0>(state_); }
  // REQUIRES: !ok().
  [[nodiscard]] const ConfigError& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, ConfigError> state_;
};

// A path as written: absolute, or relative to the current directory.
struct Path {
  std::string text;
  int line = 0;
};

// A node's persistent memory.  In a pair a node has two: its own logs' and, written by the partner,
// that of the copies of its partner's logs (nvlog/README.md says why).
struct Memory {
  Path path;
  std::uint64_t size_bytes = 0;
  bool accept_volatile = false;  // serve although it does not survive power loss
};

struct Listener {
  std::string address;
  std::uint16_t port = 0;
  int line = 0;
  // Of a pair's filer: where the address is added when the filer comes, and removed when it goes.
  // Empty: the machine has it.
  std::string interface;
  std::uint8_t prefix_bits = 0;
};

struct Https {
  Listener listener;
  Path certificate, key, token_file;
};

struct Admin {
  Path socket;
  std::optional<Https> https;
  std::optional<Listener> metrics;  // plain HTTP, /metrics only
};

struct Node {
  std::string name;
  int line = 0;
  Memory memory;
  std::optional<Memory> mirror;          // of a pair
  std::optional<Listener> interconnect;  // of a pair over TCP: this node's end
  Admin admin;
  std::uint32_t reactors = 1;                     // threads that serve connections
  Duration poll = std::chrono::microseconds(50);  // longest polling before a reactor sleeps
  bool register_rpcbind = false;
  std::vector<Listener> nbd;  // where hosts attach virtual disks
};

struct Disk {
  Path path;                     // of a pair: the disk's URL as written; url() opens it
  std::uint64_t size_bytes = 0;  // of the image `duet init` makes; 0: it must exist
  bool mailbox = false;          // of a pair: a mailbox member of the home node of filer `home`
  bool arbitration = false;      // of a pair: holds the owner record
  // Of a pair's disk: the filer at whose home node it counts.  Of a group's disk that is the filer
  // that uses the group; where both do, of a mailbox member its node, else 0.
  std::uint32_t home = 0;
  // A virtual disk of a redundancy group, by its names; then `path` is "GROUP/DISK", for messages.
  std::string group, virtual_disk;
  // Of a pair's disk at a shelf over TLS whose URL names none.
  std::string key_file;
  [[nodiscard]] bool is_virtual() const { return !group.empty(); }
  // For people: its path, without a password or the path of a key.
  [[nodiscard]] std::string shown() const;
  // Of a pair's disk, with its key's path: for shelf::DiskUrl (shelf/linux/disk_url.h).
  [[nodiscard]] std::string url() const;
};

struct VirtualDisk {
  std::string name;
  std::uint64_t size_bytes = 0;  // 0, of the last one: the rest of the group
  int line = 0;
  // Hosts that may attach it over NBD; the first that matches counts, of it only read_write.  None:
  // it is for filers.
  std::vector<filer::ExportRule> nbd_clients;
  // When what hosts write is answered; of a filer's it is written by then.
  raid::Answer answer = raid::Answer::kWritten;
  int nbd_line = 0;
  [[nodiscard]] bool exported() const { return nbd_line != 0; }
  // What was answered is not lost with the node alone that answered it.
  [[nodiscard]] bool answers_last() const {
    return answer == raid::Answer::kWritten || answer == raid::Answer::kSynchronous;
  }
};

// A redundancy group.
struct RaidGroup {
  std::string name;
  int line = 0;
  raid::Level level = raid::Level::kSingleParity;
  std::vector<Disk> disks;   // its members, as `duet init` numbers them
  std::vector<Disk> spares;  // at least as large as the smallest of them
  std::uint32_t chunk_blocks = 16;
  // What each node reads and writes of the disks for rebuilds, expansions and scrubs, together; 0:
  // as they can.
  std::uint64_t background_bytes_per_s = 0;
  std::vector<VirtualDisk> virtual_disks;

  // On disks of which the smallest has so many bytes.  Without stripes: too small for any.
  [[nodiscard]] raid::Geometry geometry(std::uint64_t smallest_disk_bytes) const;
  // How the group's intents lie in a node's memory: as its chunk asks for, however many disks it
  // has.
  [[nodiscard]] raid::MemoryLayout intents() const;
  [[nodiscard]] std::uint64_t intent_bytes() const;
};
[[nodiscard]] std::string_view level_name(raid::Level level);  // "raid6"

// A disk that both nodes of a pair reach.
struct PairDisk {
  const Disk* disk = nullptr;
  std::uint32_t filer = 0;           // whose home node may keep its mailbox there
  const RaidGroup* group = nullptr;  // null: a disk of the filer's aggregate itself
  // Mailbox or record may be there: every disk of a filer, and those of a group that were chosen.
  bool carries = true;
};

struct Volume {
  std::string name;
  std::uint64_t limit_bytes = 0;  // 0: only the aggregate's size
  int line = 0;
};

struct Limits {
  std::uint32_t connections = 30'000;
  std::uint32_t connections_per_client = 30'000;
};

struct Filer {
  std::string name;
  int line = 0;
  std::string home;
  std::vector<Listener> listeners;  // NFS, MOUNT and portmap on each
  std::vector<Disk> disks;
  std::vector<Volume> volumes;
  filer::ExportTable exports;
  filer::FilerOptions options;
  Limits limits;

  // The filer's number in logs, handles and labels: 0 for "a", 1 for "b".
  [[nodiscard]] std::uint32_t index() const { return name == "b" ? 1 : 0; }
};

enum class Transport : std::uint8_t { kSharedMemory, kTcp };

// How the two nodes talk, and write into each other's memory.
struct Interconnect {
  Transport transport = Transport::kSharedMemory;
  int line = 0;
  Path directory;                // shared memory: of the socket and the inboxes; made when missing
  std::optional<Path> key_file;  // TCP: TLS 1.3 with this pre-shared key
  bool plaintext = false;        // TCP without TLS: a cable between the two
};

// What is done when a process of a node ends without being asked to.
enum class OnCrash : std::uint8_t { kRestartFirst, kTakeoverFirst };

struct Failover {
  bool automatic_takeover = true;
  bool automatic_giveback = false;
  Duration lease = std::chrono::milliseconds(500);
  Duration beat = std::chrono::milliseconds(100);
  OnCrash on_crash = OnCrash::kTakeoverFirst;
  Duration restart_deadline = std::chrono::seconds(5);  // restart-first: the partner waits so long
  // I/O of a lost disk stalls, then fails.
  Duration disk_patience = std::chrono::seconds(30);
  Duration group_disk_patience = std::chrono::seconds(5);  // of redundancy groups, which do without
};

struct Config {
  std::string file;
  std::string pair;
  std::optional<Interconnect> interconnect;  // none: the nodes do not stand in for each other
  std::optional<Path> shelf_key_file;        // of shelf+tls disks that name none themselves
  Failover failover;
  std::vector<Node> nodes;
  std::vector<Filer> filers;
  std::vector<RaidGroup> groups;

  [[nodiscard]] bool is_pair() const { return interconnect.has_value(); }
  // A pair whose nodes share a machine.
  [[nodiscard]] bool on_one_host() const {
    return is_pair() && interconnect->transport == Transport::kSharedMemory;
  }
  // Null: not in the file.
  [[nodiscard]] const Node* node(std::string_view name) const;
  [[nodiscard]] const Filer* filer(std::string_view name) const;
  [[nodiscard]] const Filer* filer_at_home(std::string_view node_name) const;
  [[nodiscard]] const RaidGroup* group(std::string_view name) const;
  // Those of which the filer at home at the node has a virtual disk; in a pair all, as each node
  // manages all of them.
  [[nodiscard]] std::vector<const RaidGroup*> groups_of(const Node& node) const;
  // Whether filer `index` has a virtual disk of the group.
  [[nodiscard]] bool uses(std::uint32_t index, const RaidGroup& group) const;
  // Whether both filers of a pair have.
  [[nodiscard]] bool is_shared(const RaidGroup& group) const {
    return uses(0, group) && uses(1, group);
  }
  // REQUIRES: a pair.  The filers' own disks in the order of the file, then the groups' disks and
  // spares, group by group.
  [[nodiscard]] std::vector<PairDisk> pair_disks() const;
};

// What lies where in a node's memory: the request log in front, and at the end what the groups mean
// to write, the first group's last of all.  So a group that is added takes from the log's end only,
// and each part can be one window of a partner link.  In a pair the map is that of all memories:
// the intents lie in each node's `mirror`, as the partner writes there too, and what they would
// have of its `memory` stays unused, as a log and its copy have equal halves.
struct MemoryMap {
  struct Part {
    std::uint64_t offset = 0, bytes = 0;  // multiples of 4096
  };
  std::uint64_t log_bytes = 0;  // from 0 on
  std::vector<Part> intents;    // by group
};
// REQUIRES: the memory has room for them, as the reader has seen to of a node's `memory`.
[[nodiscard]] MemoryMap map_memory(const std::vector<const RaidGroup*>& groups,
                                   std::uint64_t memory_bytes);

// Reads the text of a configuration file; `file` is for messages.  Bounded: takes at most
// 1 MiB, 20,000 values and 32 levels.
Outcome<Config> parse(std::string_view text, std::string_view file);

// Reads and parses `file`.
Outcome<Config> load(const std::string& file);

enum class Purpose {
  kFormat,  // disks may be missing if their size is given; TLS files are not needed
  kServe,   // all must be there
};
// Looks at the files that `node` and its filer need: there, of the right kind, none twice (also
// by another name).  The disks of a pair are at their shelves and not looked at.  Nullopt: all
// well.
std::optional<ConfigError> check_files(const Config& config, const Node& node, Purpose purpose);

// The pair's id in labels and log headers: made from its name.
[[nodiscard]] std::array<std::uint64_t, 2> pair_id(std::string_view pair_name);

// "4GiB", "512 KiB" / "10s", "50us".  Nullopt: not of that form, or too large.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);
// "4 GiB", "1.5 MiB": for people.
[[nodiscard]] std::string size_text(std::uint64_t bytes);

}  // namespace duet::config
