// The keys that only a pair has.

#include <fmt/format.h>

#include "schema.h"
#include "shelf/linux/disk_url.h"

namespace duet::config {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kLeaseMin = milliseconds(100);
constexpr Duration kLeaseMax = seconds(60);
constexpr Duration kBeatMin = milliseconds(20);
constexpr Duration kBeatMax = seconds(20);
// One beat may be lost and another be late, and the lease still holds.
constexpr int kBeatsInLease = 3;

void refuse_key(Reader& reader, MapReader& map, std::string_view key, std::string_view why,
                std::string_view remedy) {
  if (const Value* value = map.find(key); value != nullptr) {
    reader.fail(value->key_line, fmt::format("{}: {}", map.path_of(key), why), std::string(remedy));
  }
}

Transport read_transport(Reader& reader, MapReader& map) {
  const std::string text = map.text("transport");
  if (text == "tcp") {
    return Transport::kTcp;
  }
  if (text != "shared-memory" && !text.empty()) {
    reader.fail(map.find("transport")->line,
                fmt::format("{}: \"{}\" is not known", map.path_of("transport"), text),
                "write shared-memory (both nodes on one host) or tcp");
  }
  return Transport::kSharedMemory;
}

Interconnect read_interconnect(Reader& reader, const Value& value, const std::string& path) {
  Interconnect interconnect;
  MapReader map(reader, value, path);
  interconnect.line = value.key_line;
  interconnect.transport = read_transport(reader, map);
  if (interconnect.transport == Transport::kSharedMemory) {
    interconnect.directory = map.path("directory");
    for (const std::string_view key : {"key_file", "plaintext"}) {
      refuse_key(reader, map, key, "shared memory is not encrypted: it never leaves the host",
                 "remove it");
    }
  } else {
    refuse_key(reader, map, "directory", "only shared memory needs one", "remove it");
    interconnect.plaintext = map.flag("plaintext", false);
    if (map.find("key_file") != nullptr) {
      interconnect.key_file = map.path("key_file");
    }
    if (interconnect.plaintext == interconnect.key_file.has_value()) {
      reader.fail(interconnect.line,
                  fmt::format("{}: over TCP either a key_file is given, or plaintext: true", path),
                  "write `key_file` (`openssl rand -hex 32` makes one, the same for both nodes); "
                  "plaintext only if nobody else reaches the cable");
    }
  }
  map.finish();
  return interconnect;
}

// The mailbox holds both in milliseconds.
Duration read_whole_milliseconds(Reader& reader, MapReader& map, std::string_view key,
                                 Duration fallback, Duration least, Duration most) {
  const Duration duration = map.duration(key, fallback, least, most);
  if (duration % milliseconds(1) != Duration(0)) {
    reader.fail(map.find(key)->line,
                fmt::format("{}: it is no whole millisecond", map.path_of(key)),
                "write a number of ms");
  }
  return duration;
}

Failover read_failover(Reader& reader, const Value& value, const std::string& path) {
  Failover failover;
  MapReader map(reader, value, path);
  failover.automatic_takeover = map.flag("automatic_takeover", failover.automatic_takeover);
  failover.automatic_giveback = map.flag("automatic_giveback", failover.automatic_giveback);
  failover.lease =
      read_whole_milliseconds(reader, map, "lease", failover.lease, kLeaseMin, kLeaseMax);
  failover.beat = read_whole_milliseconds(reader, map, "beat", failover.beat, kBeatMin, kBeatMax);
  if (failover.lease < kBeatsInLease * failover.beat) {
    reader.fail(value.key_line,
                fmt::format("{}: a lease of {} ms is shorter than {} beats of {} ms", path,
                            failover.lease / milliseconds(1), kBeatsInLease,
                            failover.beat / milliseconds(1)),
                "lengthen `lease`, or shorten `beat`: one lost beat must not cost the lease");
  }
  const std::string on_crash = map.text("on_crash", "takeover-first");
  failover.on_crash =
      on_crash == "restart-first" ? OnCrash::kRestartFirst : OnCrash::kTakeoverFirst;
  if (on_crash != "restart-first" && on_crash != "takeover-first") {
    reader.fail(map.find("on_crash")->line,
                fmt::format("{}: \"{}\" is not known", map.path_of("on_crash"), on_crash),
                "write restart-first or takeover-first");
  }
  failover.restart_deadline =
      map.duration("restart_deadline", failover.restart_deadline, milliseconds(100), seconds(600));
  failover.disk_patience =
      map.duration("disk_patience", failover.disk_patience, seconds(1), seconds(3600));
  failover.group_disk_patience = map.find("disk_patience") != nullptr
                                     ? failover.disk_patience
                                     : std::max<Duration>(seconds(5), 2 * failover.lease);
  if (failover.disk_patience < failover.lease) {
    reader.fail(
        value.key_line, fmt::format("{}: disk_patience is shorter than the lease", path),
        "lengthen it: a stall as long as a lease only pauses a node, a failed disk stops it");
  }
  map.finish();
  return failover;
}

// A URL of a shelf over TLS names its key, itself or for all.  False: neither does.
bool add_key_file(const shelf::DiskUrl& url, const Config& config, Disk& disk) {
  if (url.kind != shelf::DiskUrl::Kind::kShelfTls || !url.key_file.empty()) {
    return true;
  }
  if (config.shelf_key_file) {
    disk.key_file = config.shelf_key_file->text;
  }
  return config.shelf_key_file.has_value();
}

}  // namespace

void read_pair(Reader& reader, MapReader& pair, Config& config) {
  if (const Value* value = pair.find("interconnect"); value != nullptr) {
    config.interconnect = read_interconnect(reader, *value, pair.path_of("interconnect"));
  }
  if (const Value* value = pair.find("shelf_key_file"); value != nullptr) {
    if (!config.is_pair()) {
      reader.fail(value->key_line, "pair.shelf_key_file: only a pair has disks at shelves",
                  "add `interconnect`, or remove `shelf_key_file`");
    }
    config.shelf_key_file = pair.path("shelf_key_file");
  }
  if (const Value* value = pair.find("failover"); value != nullptr) {
    if (!config.is_pair()) {
      reader.fail(value->key_line,
                  "pair.failover: without an interconnect no node stands in for the other",
                  "add `interconnect`, or remove `failover`");
    }
    config.failover = read_failover(reader, *value, pair.path_of("failover"));
  }
}

Listener read_interconnect_end(Reader& reader, const Value& value, const std::string& path) {
  MapReader map(reader, value, path);
  map.need("address");
  const Listener listener = read_listener(reader, map);
  if (everywhere(listener.address)) {
    reader.fail(listener.line,
                fmt::format("{}: the partner cannot connect to {}", map.path_of("address"),
                            listener.address),
                "write the address of this node that its partner reaches");
  }
  map.finish();
  return listener;
}

namespace {

// `url`, and what every shared disk's must be.
Disk read_shared_url(Reader& reader, MapReader& map, const Config& config) {
  Disk disk;
  refuse_key(reader, map, "path", "in a pair both nodes reach every disk",
             "serve it with duet-shelf, and write `url: shelf+unix://SOCKET#NAME`");
  refuse_key(reader, map, "size", "a shared disk is as large as its shelf made it",
             "remove it (`duet-shelf create --size` makes images)");
  disk.path = map.path("url");
  if (reader.error()) {
    return disk;
  }
  const Result<shelf::DiskUrl> url = shelf::DiskUrl::parse(disk.path.text);
  const auto wrong = [&](std::string_view why, std::string_view remedy) {
    reader.fail(
        disk.path.line,
        fmt::format("{}: {}: {}", map.path_of("url"), shelf::without_password(disk.path.text), why),
        std::string(remedy));
  };
  if (!url.ok()) {
    wrong(url.error().context,
          "write shelf+unix://SOCKET#NAME, shelf+tls://ADDRESS:PORT/NAME, "
          "shelf+tcp://ADDRESS:PORT/NAME, iscsi://HOST[:PORT]/TARGET/UNIT or block:///dev/...");
  } else if (url.value().kind == shelf::DiskUrl::Kind::kFile) {
    wrong("a file has no reservations, so no node could be shut out", "serve it with duet-shelf");
  } else if (url.value().kind == shelf::DiskUrl::Kind::kBlock && config.on_one_host()) {
    wrong("on one host both nodes would be one to the disk, and could not shut each other out",
          "serve the device with duet-shelf");
  } else if (!add_key_file(url.value(), config, disk)) {
    wrong("nothing says which key the shelf has",
          "write `shelf_key_file` in `pair` (`openssl rand -hex 32` makes one for the shelves and "
          "both nodes), or ?key_file=PATH behind the URL");
  }
  return disk;
}

void read_arbitration(Reader& reader, MapReader& map, Disk& disk) {
  disk.arbitration = map.flag("arbitration", false);
  if (disk.mailbox && disk.arbitration) {
    reader.fail(map.line(),
                fmt::format("{}: the arbitration disk is no mailbox member: the loss of one disk "
                            "must not cost both",
                            map.path_of("arbitration")),
                "give the two to different disks");
  }
}

}  // namespace

Disk read_shared_disk(Reader& reader, MapReader& map, const Config& config) {
  Disk disk = read_shared_url(reader, map, config);
  disk.mailbox = map.flag("mailbox", false);
  read_arbitration(reader, map, disk);
  return disk;
}

Disk read_shared_member(Reader& reader, MapReader& map, const Config& config) {
  Disk disk = read_shared_url(reader, map, config);
  if (map.find("mailbox") != nullptr) {
    const std::string node = map.text("mailbox");
    disk.mailbox = true;
    disk.home = node == "b" ? 1 : 0;
    if (node != "a" && node != "b") {
      reader.fail(map.find("mailbox")->line,
                  fmt::format("{}: \"{}\" names no node", map.path_of("mailbox"), node),
                  "write a or b: the node that keeps its mailbox on this disk");
    }
  }
  read_arbitration(reader, map, disk);
  return disk;
}

Disk read_shared_spare(Reader& reader, MapReader& map, const Config& config) {
  Disk disk = read_shared_url(reader, map, config);
  for (const std::string_view key : {"mailbox", "arbitration"}) {
    refuse_key(reader, map, key, "a spare carries neither mailbox nor record",
               "remove it, or name one of the group's `disks`");
  }
  return disk;
}

}  // namespace duet::config
