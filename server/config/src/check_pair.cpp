// What must hold of a pair as a whole.

#include <fmt/format.h>

#include <algorithm>

#include "schema.h"

namespace duet::config {

namespace {

// A window of the partner link for each, behind those of the two logs
// (server/groups/pair_groups.h).
constexpr std::size_t kGroupsMax = 6;

// What either node writes to a group waits for the other, until that is shut out.
void check_groups_of_pair(Reader& reader, const Config& config) {
  if (config.groups.empty()) {
    return;
  }
  if (config.groups.size() > kGroupsMax) {
    reader.fail(config.groups[kGroupsMax].line,
                fmt::format("raid: a pair has at most {} redundancy groups", kGroupsMax),
                "make fewer and larger ones");
  }
  if (!config.failover.automatic_takeover) {
    reader.fail(config.groups.front().line,
                "raid: with automatic_takeover: false a dead node would stop both filers, as a "
                "redundancy group waits for it until it is shut out",
                "remove `automatic_takeover: false`, or use disks that are redundant themselves");
  }
}

void check_both(Reader& reader, const Config& config) {
  for (const std::string_view name : {"a", "b"}) {
    const auto is_named = [&](const Filer& filer) { return filer.name == name; };
    const auto filer = std::ranges::find_if(config.filers, is_named);
    if (config.node(name) == nullptr || filer == config.filers.end()) {
      return reader.fail(config.interconnect->line,
                         fmt::format("pair.interconnect: a pair has the nodes a and b and the "
                                     "filers a and b, and there is no {} {}",
                                     config.node(name) == nullptr ? "node" : "filer", name),
                         "start from deploy/samples/pair.yaml");
    }
    if (filer->home != name) {
      return reader.fail(filer->line,
                         fmt::format("filers.{}.home: in a pair the home of filer {} is node {}",
                                     name, name, name),
                         fmt::format("write `home: {}`", name));
    }
  }
}

// A filer's log and its copy at the partner have the same halves, and those follow from the size;
// and either node may host either filer.
void check_sizes(Reader& reader, const Config& config) {
  const Memory& first = config.nodes.front().memory;
  for (const Node& node : config.nodes) {
    for (const Memory* memory : {&node.memory, &*node.mirror}) {
      if (memory->size_bytes != first.size_bytes) {
        return reader.fail(
            memory->path.line,
            fmt::format("{} has {}, and {} (line {}) has {}", memory->path.text,
                        size_text(memory->size_bytes), first.path.text, first.path.line,
                        size_text(first.size_bytes)),
            "give all memories and mirrors of a pair one size: a log and its copy at the partner "
            "have equal halves");
      }
    }
  }
}

}  // namespace

void check_pair(Reader& reader, const Config& config) {
  check_both(reader, config);
  for (const Node& node : config.nodes) {
    if (node.register_rpcbind) {
      reader.fail(node.line,
                  fmt::format("nodes.{}.register_rpcbind: a pair does not do that", node.name),
                  "remove it; clients name the port (port= and mountport=)");
    }
  }
  if (!reader.error()) {
    check_groups_of_pair(reader, config);
  }
  if (!reader.error()) {
    check_sizes(reader, config);
  }
}

}  // namespace duet::config
