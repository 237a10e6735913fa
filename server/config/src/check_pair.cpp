// What must hold of a pair as a whole, and which disks carry its mailbox.

#include <fmt/format.h>

#include <algorithm>

#include "schema.h"

namespace duet::config {

namespace {

constexpr std::size_t kMembersMax = 3;      // mailbox_format.h: kMembersMax
constexpr std::size_t kMembersDefault = 2;  // primary and backup

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

void choose_members(Reader& reader, Filer& filer) {
  const auto count = std::ranges::count_if(filer.disks, &Disk::mailbox);
  if (static_cast<std::size_t>(count) > kMembersMax) {
    reader.fail(filer.line,
                fmt::format("filers.{}.disks: {} disks are mailbox members", filer.name, count),
                "name one, two or three");
  }
  if (count > 0) {
    return;
  }
  std::size_t chosen = 0;
  for (Disk& disk : filer.disks) {
    if (!disk.arbitration && chosen < kMembersDefault) {
      disk.mailbox = true;
      ++chosen;
    }
  }
  if (chosen == 0) {
    reader.fail(filer.line,
                fmt::format("filers.{}.disks: the arbitration disk is its only one, so there is no "
                            "mailbox member",
                            filer.name),
                "add a disk");
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
    check_sizes(reader, config);
  }
}

void choose_mailbox_disks(Reader& reader, Config& config) {
  if (reader.error()) {
    return;
  }
  const Disk* named = nullptr;
  for (Filer& filer : config.filers) {
    for (const Disk& disk : filer.disks) {
      if (disk.arbitration && named != nullptr) {
        return reader.fail(
            disk.path.line,
            fmt::format("two disks are named for arbitration; the first is in line {}",
                        named->path.line),
            "name one of the pair's disks");
      }
      named = disk.arbitration ? &disk : named;
    }
    choose_members(reader, filer);
  }
  if (named != nullptr) {
    return;
  }
  Filer& first =
      *std::ranges::find_if(config.filers, [](const Filer& f) { return f.index() == 0; });
  const auto free = std::ranges::find_if(first.disks, [](const Disk& d) { return !d.mailbox; });
  if (free == first.disks.end()) {
    return reader.fail(first.line,
                       "filers.a.disks: every disk is a mailbox member, and none is left for the "
                       "arbitration record",
                       "add a third disk, or name one of filer b with `arbitration: true`");
  }
  free->arbitration = true;
}

}  // namespace duet::config
