#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "schema.h"
#include "shelf/linux/disk_url.h"

namespace duet::config {

bool everywhere(std::string_view address) { return address == "0.0.0.0" || address == "::"; }

namespace {

using Lines = std::map<std::string, int>;

void use_path(Reader& reader, Lines& used, const Path& path) {
  if (path.text.find('\0') != std::string::npos) {
    return reader.fail(path.line, "a path holds a zero byte", "write another path");
  }
  const std::string plain =
      std::filesystem::path(shelf::without_key_file(path.text)).lexically_normal().string();
  const auto [place, fresh] = used.emplace(plain, path.line);
  if (!fresh) {
    reader.fail(path.line,
                fmt::format("{} is used twice; the first is in line {}",
                            shelf::without_password(path.text), place->second),
                "give each disk, memory and socket a path of its own");
  }
}

void use_listener(Reader& reader, std::vector<Listener>& used, const Listener& listener) {
  for (const Listener& earlier : used) {
    const bool same = earlier.address == listener.address || everywhere(earlier.address) ||
                      everywhere(listener.address);
    if (same && earlier.port == listener.port) {
      return reader.fail(listener.line,
                         fmt::format("{} port {} is used twice; the first is in line {}",
                                     listener.address, listener.port, earlier.line),
                         "give one of them another address or port");
    }
  }
  used.push_back(listener);
}

// What a node uses on its machine beside what the filers use on every one.
void use_node(Reader& reader, Lines& paths, std::vector<Listener>& listeners, const Node& node) {
  use_path(reader, paths, node.memory.path);
  if (node.mirror) {
    use_path(reader, paths, node.mirror->path);
  }
  use_path(reader, paths, node.admin.socket);
  if (node.admin.https) {
    use_listener(reader, listeners, node.admin.https->listener);
  }
  if (node.admin.metrics) {
    use_listener(reader, listeners, *node.admin.metrics);
  }
  if (node.interconnect) {
    use_listener(reader, listeners, *node.interconnect);
  }
  for (const Listener& listener : node.nbd) {
    use_listener(reader, listeners, listener);
  }
}

void check_homes(Reader& reader, const Config& config) {
  if (config.nodes.empty() || config.filers.empty()) {
    reader.fail(1, "there must be at least one node and one filer",
                "start from deploy/samples/single.yaml");
  }
  for (const Filer& filer : config.filers) {
    if (config.node(filer.home) == nullptr) {
      reader.fail(filer.line,
                  fmt::format("filers.{}.home: there is no node \"{}\"", filer.name, filer.home),
                  "name one of the nodes above");
    }
    if (config.filer_at_home(filer.home) != &filer) {
      reader.fail(filer.line,
                  fmt::format("filers.{}.home: node {} is the home of another filer too",
                              filer.name, filer.home),
                  "give each filer a home of its own");
    }
  }
}

}  // namespace

void check_together(Reader& reader, const Config& config) {
  check_homes(reader, config);
  Lines paths;
  std::vector<Listener> listeners;
  for (const RaidGroup& group : config.groups) {
    for (const std::vector<Disk>* const disks : {&group.disks, &group.spares}) {
      for (const Disk& disk : *disks) {
        use_path(reader, paths, disk.path);
      }
    }
  }
  for (const Filer& filer : config.filers) {
    for (const Disk& disk : filer.disks) {
      if (!disk.is_virtual()) {  // check_groups()
        use_path(reader, paths, disk.path);
      }
    }
    for (const Listener& listener : filer.listeners) {
      if (!listener.interface.empty() && !config.is_pair()) {
        reader.fail(listener.line, "an address on an interface moves, and this is no pair",
                    "write the address alone, and give it to the machine");
      }
      use_listener(reader, listeners, listener);
    }
  }
  if (config.on_one_host()) {
    use_path(reader, paths, config.interconnect->directory);
  }
  for (const Node& node : config.nodes) {
    if (config.on_one_host()) {
      use_node(reader, paths, listeners, node);
    } else {
      // On a machine of its own the other node may use the same names and addresses.
      Lines own_paths = paths;
      std::vector<Listener> own_listeners = listeners;
      use_node(reader, own_paths, own_listeners, node);
    }
  }
}

}  // namespace duet::config
