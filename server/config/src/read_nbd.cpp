// The keys of virtual disks that hosts attach over NBD.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "schema.h"

namespace duet::config {

namespace {

constexpr std::uint16_t kNbdPort = 10809;  // IANA's

filer::ExportRule read_host(Reader& reader, const Value& item, const std::string& path) {
  MapReader map(reader, item, path);
  filer::ExportRule rule = read_match(reader, map);
  rule.read_write = read_read_write(reader, map);
  map.finish();
  return rule;
}

// Of the groups that the node manages.
const VirtualDisk* first_exported(const Config& config, const Node& node) {
  for (const RaidGroup* const group : config.groups_of(node)) {
    const auto found = std::ranges::find_if(group->virtual_disks, &VirtualDisk::exported);
    if (found != group->virtual_disks.end()) {
      return &*found;
    }
  }
  return nullptr;
}

raid::Answer read_answer(Reader& reader, MapReader& map) {
  constexpr std::array<std::pair<std::string_view, raid::Answer>, 4> kAnswers = {{
      {"written", raid::Answer::kWritten},
      {"synchronous", raid::Answer::kSynchronous},
      {"pseudo-synchronous", raid::Answer::kPseudoSynchronous},
      {"asynchronous", raid::Answer::kAsynchronous},
  }};
  const Value* const value = map.find("answer");
  if (value == nullptr) {
    return raid::Answer::kSynchronous;
  }
  const std::string text = map.text("answer");
  for (const auto& [name, answer] : kAnswers) {
    if (text == name) {
      return answer;
    }
  }
  reader.fail(value->line, fmt::format("{}: \"{}\" is not known", map.path_of("answer"), text),
              "write written, synchronous, pseudo-synchronous or asynchronous");
  return raid::Answer::kWritten;
}

}  // namespace

void read_exported(Reader& reader, const Value& value, const std::string& path, VirtualDisk& disk) {
  MapReader map(reader, value, path);
  disk.nbd_line = value.key_line;
  const Value& clients = map.need("clients");
  for (const Value& client : list_items(reader, clients, map.path_of("clients"))) {
    disk.nbd_clients.push_back(read_host(reader, client, map.path_of("clients")));
  }
  disk.answer = read_answer(reader, map);
  map.finish();
  if (!reader.error() && disk.nbd_clients.empty()) {
    reader.fail(disk.nbd_line, fmt::format("{}: nobody may attach it", map.path_of("clients")),
                "name clients, such as `- match: 10.1.0.0/16`, or remove `nbd`");
  }
}

std::vector<Listener> read_nbd_listeners(Reader& reader, const Value& value,
                                         const std::string& path) {
  MapReader map(reader, value, path);
  std::vector<Listener> listeners;
  const Value& addresses = map.need("addresses");
  const auto port = static_cast<std::uint16_t>(map.number("port", kNbdPort, 1, 65'535));
  for (const Value& item : list_items(reader, addresses, map.path_of("addresses"))) {
    Listener listener;
    listener.port = port;
    listener.line = item.line;
    listener.address = scalar_text(reader, item, map.path_of("addresses"));
    check_address(reader, item.line, map.path_of("addresses"), listener.address);
    listeners.push_back(listener);
  }
  map.finish();
  return listeners;
}

void check_nbd(Reader& reader, const Config& config) {
  for (const Node& node : config.nodes) {
    const VirtualDisk* const exported = first_exported(config, node);
    if (exported != nullptr && node.nbd.empty()) {
      return reader.fail(
          exported->nbd_line,
          fmt::format("virtual disk \"{}\" is for hosts, over NBD, and node {} has "
                      "no address for that",
                      exported->name, node.name),
          fmt::format("write `nbd: {{addresses: [ADDRESS]}}` under nodes.{}", node.name));
    }
    if (exported == nullptr && !node.nbd.empty()) {
      return reader.fail(
          node.nbd.front().line,
          fmt::format("nodes.{}.nbd: no virtual disk of its groups is for hosts", node.name),
          "write `nbd` at one under `raid`, or remove this");
    }
    for (const Listener& listener : node.nbd) {
      for (const Filer& filer : config.filers) {
        const auto moves = std::ranges::find_if(filer.listeners, [&](const Listener& each) {
          return !each.interface.empty() && each.address == listener.address;
        });
        if (moves != filer.listeners.end()) {
          return reader.fail(
              listener.line,
              fmt::format("nodes.{}.nbd: {} moves with filer {} (line {})", node.name,
                          listener.address, filer.name, moves->line),
              "write an address that this node has for good: hosts reach each node by its own");
        }
      }
    }
  }
}

}  // namespace duet::config
