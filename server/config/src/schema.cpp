#include "schema.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace duet::config {

void check_address(Reader& reader, int line, std::string_view path, const std::string& address) {
  in6_addr ignored;
  if (inet_pton(AF_INET, address.c_str(), &ignored) != 1 &&
      inet_pton(AF_INET6, address.c_str(), &ignored) != 1) {
    reader.fail(line, fmt::format("{}: \"{}\" is not an address", path, address),
                "write an IPv4 or IPv6 address; host names are not looked up");
  }
}

Listener read_listener(Reader& reader, MapReader& map) {
  Listener listener;
  listener.line = map.line();
  listener.address = map.text("address", "127.0.0.1");
  check_address(reader, map.line(), map.path_of("address"), listener.address);
  map.need("port");
  listener.port = static_cast<std::uint16_t>(map.number("port", 0, 1, 65'535));
  return listener;
}

namespace {

constexpr std::uint64_t kCacheBytesMin = 16ULL << 20U;
constexpr std::uint64_t kDirtyBytesMin = 8ULL << 20U;
constexpr std::uint64_t kDirtyBytesMax = 256ULL << 20U;  // of its default
constexpr std::uint32_t kReactorsMax = 64;
constexpr std::size_t kNameMax = 63;

bool plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

void check_name(Reader& reader, int line, std::string_view path, std::string_view name) {
  if (!plain_name(name)) {
    reader.fail(line, fmt::format("{}: \"{}\" cannot be a name", path, name),
                "use 1 to 63 letters, digits, '-', '_' and '.', not beginning with '-' or '.'");
  }
}

namespace {

Admin read_admin(Reader& reader, const Value& value, const std::string& path) {
  Admin admin;
  MapReader map(reader, value, path);
  admin.socket = map.path("socket");
  if (const Value* https = map.find("https"); https != nullptr) {
    MapReader inner(reader, *https, map.path_of("https"));
    const Listener listener = read_listener(reader, inner);
    admin.https =
        Https{listener, inner.path("certificate"), inner.path("key"), inner.path("token_file")};
    inner.finish();
  }
  if (const Value* metrics = map.find("metrics"); metrics != nullptr) {
    MapReader inner(reader, *metrics, map.path_of("metrics"));
    admin.metrics = read_listener(reader, inner);
    inner.finish();
  }
  map.finish();
  return admin;
}

Memory read_memory(Reader& reader, const Value& value, const std::string& path) {
  Memory memory;
  MapReader map(reader, value, path);
  memory.path = map.path("path");
  memory.size_bytes = map.size("size", std::nullopt, kMemoryBytesMin);
  memory.accept_volatile = map.flag("accept_volatile", false);
  map.finish();
  return memory;
}

// {address: 192.0.2.21/24, interface: eth0}: comes and goes with the filer.
void read_moving_address(Reader& reader, const Value& item, const std::string& path,
                         Listener& listener) {
  MapReader map(reader, item, path);
  const std::string text = map.text("address");
  listener.interface = map.text("interface");
  map.finish();
  const std::size_t slash = text.find('/');
  listener.address = text.substr(0, slash);
  const std::string digits = slash == std::string::npos ? "" : text.substr(slash + 1);
  const unsigned most = listener.address.find(':') == std::string::npos ? 32 : 128;
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  const bool whole = error == std::errc{} && end == digits.data() + digits.size();
  if (!reader.error() && (!whole || bits == 0 || bits > most)) {
    reader.fail(item.line, fmt::format("{}: \"{}\" names no network", map.path_of("address"), text),
                "write the address and the bits of its network, such as 192.0.2.21/24");
  }
  listener.prefix_bits = static_cast<std::uint8_t>(bits);
}

std::vector<Listener> read_addresses(Reader& reader, MapReader& map) {
  std::vector<Listener> listeners;
  const Value& addresses = map.need("addresses");
  const auto port = static_cast<std::uint16_t>(map.number("port", 2049, 1, 65'535));
  for (const Value& item : list_items(reader, addresses, map.path_of("addresses"))) {
    Listener listener;
    listener.port = port;
    listener.line = item.line;
    if (item.kind == Value::Kind::kMap) {
      read_moving_address(reader, item, map.path_of("addresses"), listener);
    } else {
      listener.address = scalar_text(reader, item, map.path_of("addresses"));
    }
    check_address(reader, item.line, map.path_of("addresses"), listener.address);
    listeners.push_back(listener);
  }
  return listeners;
}

Disk read_own_disk(Reader& reader, MapReader& map, const Config& config) {
  for (const std::string_view key : {"url", "mailbox", "arbitration"}) {
    if (const Value* value = map.find(key); value != nullptr) {
      reader.fail(value->key_line, fmt::format("{}: only a pair shares disks", map.path_of(key)),
                  "remove it, or add `interconnect` to `pair`");
    }
  }
  if (map.find("raid") != nullptr) {
    return read_virtual_disk(reader, map, config);
  }
  return read_image(reader, map);
}

std::vector<Disk> read_disks(Reader& reader, MapReader& map, const Config& config) {
  std::vector<Disk> disks;
  const Value& list = map.need("disks");
  for (const Value& item : list_items(reader, list, map.path_of("disks"))) {
    MapReader inner(reader, item, map.path_of("disks"));
    disks.push_back(!config.is_pair()               ? read_own_disk(reader, inner, config)
                    : inner.find("raid") != nullptr ? read_virtual_disk(reader, inner, config)
                                                    : read_shared_disk(reader, inner, config));
    inner.finish();
  }
  return disks;
}

std::vector<Volume> read_volumes(Reader& reader, MapReader& map) {
  std::vector<Volume> volumes;
  const Value* list = map.find("volumes");
  if (list == nullptr) {
    return volumes;
  }
  for (const Value& item : list_items(reader, *list, map.path_of("volumes"))) {
    MapReader inner(reader, item, map.path_of("volumes"));
    Volume volume;
    volume.line = item.line;
    volume.name = inner.text("name");
    volume.limit_bytes = inner.size("limit", 0, 1ULL << 20U);
    check_name(reader, item.line, inner.path_of("name"), volume.name);
    inner.finish();
    for (const Volume& earlier : volumes) {
      if (earlier.name == volume.name) {
        reader.fail(item.line,
                    fmt::format("volume \"{}\" stands here twice; the first is in line {}",
                                volume.name, earlier.line),
                    "remove one of them");
      }
    }
    volumes.push_back(volume);
  }
  return volumes;
}

void read_tuning(Reader& reader, MapReader& map, Filer& filer) {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  const filer::FilerOptions defaults;
  filer::FilerOptions& options = filer.options;
  options.cache_bytes = map.size("cache", defaults.cache_bytes, kCacheBytesMin);
  options.cp_interval =
      map.duration("cp_interval", defaults.cp_interval, milliseconds(100), seconds(600));
  options.log_entries_max =
      map.number("log_entries_max", defaults.log_entries_max, 100, 100'000'000);
  // Twice as much can be dirty while a CP writes: then the cache holds little else.
  const std::uint64_t most = std::max(options.cache_bytes / 2, kDirtyBytesMin);
  options.dirty_bytes_max = map.size("dirty_max", std::min(most, kDirtyBytesMax), kDirtyBytesMin);
  if (options.dirty_bytes_max > most) {
    reader.fail(map.find("dirty_max")->line,
                fmt::format("{} is more than half of the cache, {}", map.path_of("dirty_max"),
                            size_text(options.cache_bytes)),
                fmt::format("give it at most {}, or a larger cache", size_text(most)));
  }
  options.reply_cache_entries = static_cast<std::uint32_t>(
      map.number("reply_cache_entries", defaults.reply_cache_entries, 64, 1'000'000));
}

Limits read_limits(Reader& reader, MapReader& map) {
  Limits limits;
  const Value* value = map.find("limits");
  if (value == nullptr) {
    return limits;
  }
  MapReader inner(reader, *value, map.path_of("limits"));
  limits.connections =
      static_cast<std::uint32_t>(inner.number("connections", limits.connections, 1, 1'000'000));
  limits.connections_per_client = static_cast<std::uint32_t>(
      inner.number("connections_per_client", limits.connections, 1, 1'000'000));
  inner.finish();
  return limits;
}

void read_filer(Reader& reader, const Value& value, Config& config) {
  Filer filer;
  filer.name = value.key;
  filer.line = value.key_line;
  const std::string path = "filers." + filer.name;
  if (filer.name != "a" && filer.name != "b") {
    reader.fail(filer.line, fmt::format("{}: the filers of a pair are a and b", path), "rename it");
  }
  MapReader map(reader, value, path);
  filer.home = map.text("home");
  filer.listeners = read_addresses(reader, map);
  filer.disks = read_disks(reader, map, config);
  filer.volumes = read_volumes(reader, map);
  read_tuning(reader, map, filer);
  filer.limits = read_limits(reader, map);
  if (const Value* exports = map.find("exports"); exports != nullptr) {
    filer.exports = read_exports(reader, *exports, map.path_of("exports"), filer.volumes);
  }
  map.finish();
  config.filers.push_back(std::move(filer));
}

// What only a node of a pair has.
void read_pair_node(Reader& reader, MapReader& map, const Config& config, Node& node) {
  if (const Value* mirror = map.find("mirror"); mirror != nullptr) {
    if (!config.is_pair()) {
      reader.fail(
          mirror->key_line,
          fmt::format("{}: there is no partner that would write there", map.path_of("mirror")),
          "remove it, or add `interconnect` to `pair`");
    }
    node.mirror = read_memory(reader, *mirror, map.path_of("mirror"));
  } else if (config.is_pair()) {
    map.need("mirror");
  }
  const bool tcp = config.is_pair() && config.interconnect->transport == Transport::kTcp;
  if (const Value* end = map.find("interconnect"); end != nullptr) {
    if (!tcp) {
      reader.fail(end->key_line,
                  fmt::format("{}: only nodes that are linked by TCP have an address",
                              map.path_of("interconnect")),
                  "remove it, or write `transport: tcp` in `pair.interconnect`");
    }
    node.interconnect = read_interconnect_end(reader, *end, map.path_of("interconnect"));
  } else if (tcp) {
    map.need("interconnect");
  }
}

}  // namespace

Disk read_image(Reader& reader, MapReader& map) {
  Disk disk;
  disk.path = map.path("path");
  disk.size_bytes = map.size("size", 0, kDiskBytesMin);
  if (disk.size_bytes % kBlockBytes != 0) {
    reader.fail(map.line(), "a disk's size is not a multiple of 4 KiB", "round it");
  }
  return disk;
}

void read_nodes(Reader& reader, const Value& nodes, Config& config) {
  MapReader all(reader, nodes, "nodes");
  for (const Value& value : nodes.items) {
    Node node;
    node.name = value.key;
    node.line = value.key_line;
    const std::string path = "nodes." + node.name;
    if (node.name != "a" && node.name != "b") {
      reader.fail(node.line, fmt::format("{}: the nodes of a pair are a and b", path), "rename it");
    }
    MapReader map(reader, value, path);
    node.memory = read_memory(reader, map.need("memory"), map.path_of("memory"));
    read_pair_node(reader, map, config, node);
    node.admin = read_admin(reader, map.need("admin"), map.path_of("admin"));
    node.reactors = static_cast<std::uint32_t>(map.number("reactors", 1, 1, kReactorsMax));
    node.poll = map.duration("poll", node.poll, Duration(0), std::chrono::milliseconds(1));
    node.register_rpcbind = map.flag("register_rpcbind", false);
    if (const Value* nbd = map.find("nbd"); nbd != nullptr) {
      node.nbd = read_nbd_listeners(reader, *nbd, map.path_of("nbd"));
    }
    map.finish();
    config.nodes.push_back(std::move(node));
  }
}

void read_filers(Reader& reader, const Value& filers, Config& config) {
  MapReader all(reader, filers, "filers");
  for (const Value& value : filers.items) {
    read_filer(reader, value, config);
  }
}

Config read_config(Reader& reader, const Value& root, std::string_view file) {
  Config config;
  config.file = file;
  MapReader map(reader, root, "");
  const Value& pair = map.need("pair");
  if (!reader.error()) {
    MapReader inner(reader, pair, "pair");
    config.pair = inner.text("name");
    check_name(reader, pair.line, "pair.name", config.pair);
    read_pair(reader, inner, config);
    inner.finish();
  }
  const Value& nodes = map.need("nodes");
  const Value& filers = map.need("filers");
  const Value* groups = map.find("raid");
  map.finish();
  if (!reader.error() && groups != nullptr) {
    read_groups(reader, *groups, config);
  }
  if (!reader.error()) {
    read_nodes(reader, nodes, config);
    read_filers(reader, filers, config);
  }
  if (!reader.error() && config.is_pair()) {
    check_pair(reader, config);
  }
  if (!reader.error()) {
    check_groups(reader, config);
  }
  if (!reader.error()) {
    check_nbd(reader, config);
  }
  if (!reader.error() && config.is_pair()) {
    choose_mailbox_disks(reader, config);
  }
  if (!reader.error()) {
    check_together(reader, config);
  }
  return config;
}

}  // namespace duet::config
