#include "host_disks.h"

#include <fmt/format.h>

#include <algorithm>

#include "reactor.h"
#include "served_filer.h"
#include "trace.h"

namespace duet::daemon {

namespace {

using namespace std::chrono_literals;

constexpr Duration kLookEvery = 50ms;
constexpr Duration kListenAgain = 1s;

}  // namespace

HostDisks::HostDisks(Machine& machine, FindGroup find, filer::AnswerGate* gate)
    : machine_(machine),
      find_(std::move(find)),
      disks_([&machine] {
        std::vector<Disk> disks;
        for (const config::RaidGroup* const group : machine.config.groups_of(machine.node)) {
          for (const config::VirtualDisk& disk : group->virtual_disks) {
            if (disk.exported()) {
              disks.push_back({group, &disk});
            }
          }
        }
        return disks;
      }()),
      server_(
          machine.strand,
          [this] {
            std::vector<nbd::Export> exports;
            for (const Disk& disk : disks_) {
              exports.push_back({disk.group->name + "/" + disk.disk->name, disk.disk->nbd_clients,
                                 [this, disk] { return device(disk); },
                                 /*volatile_answers=*/!disk.disk->answers_last()});
            }
            return exports;
          }(),
          gate),
      scope_(machine.strand) {}

BlockDevice* HostDisks::device(const Disk& disk) const {
  const groups::ManagedGroup* const group = ended_ ? nullptr : find_(disk.group->name);
  return group != nullptr && group->managed() ? group->virtual_disk(disk.disk->name) : nullptr;
}

bool HostDisks::some_group_ended() const {
  return std::ranges::any_of(disks_, [this](const Disk& disk) {
    const groups::ManagedGroup* const group = find_(disk.group->name);
    return group != nullptr && group->managed() && group->group().status().ended.has_value();
  });
}

std::string HostDisks::check(Machine& machine) {
  for (const config::Listener& listener : machine.node.nbd) {
    const os::TcpAddress at = os::TcpAddress::parse(listener.address, listener.port).value();
    const auto tried = os::TcpListener::listen(machine.strand, at, tcp_options(/*reactors=*/1));
    if (!tried.ok()) {
      return cannot_listen(machine.config.file, listener, tried.error());
    }
  }
  return {};
}

std::string HostDisks::listen() {
  for (const config::Listener& listener : machine_.node.nbd) {
    const os::TcpAddress at = os::TcpAddress::parse(listener.address, listener.port).value();
    auto socket = os::TcpListener::listen(machine_.strand, at, tcp_options(/*reactors=*/1));
    if (!socket.ok()) {
      listeners_.clear();
      return cannot_listen(machine_.config.file, listener, socket.error());
    }
    listeners_.push_back(
        std::make_unique<server::Listener>(machine_.strand, std::move(socket.value()), server_));
  }
  return {};
}

void HostDisks::start() {
  if (!disks_.empty()) {
    scope_.spawn(watch());
  }
}

Task<void> HostDisks::watch() {
  std::string told;
  for (;;) {
    if (some_group_ended()) {
      ended_ = true;
      listeners_.clear();
      server_.cut();
      trace(Level::kWarning, "host_disks_cut",
            {{"message", "a redundancy group has ended here: hosts go to the other node"}});
      co_return;
    }
    Duration pause = kLookEvery;
    const bool some =
        std::ranges::any_of(disks_, [this](const Disk& disk) { return device(disk) != nullptr; });
    if (listeners_.empty() && some) {
      const std::string wrong = listen();
      if (wrong.empty()) {
        trace(Level::kInfo, "host_disks_served", {{"address", info().addresses.front()}});
      } else {
        if (wrong != told) {
          trace(Level::kError, "host_disks_not_served", {{"message", wrong}});
        }
        pause = kListenAgain;
      }
      told = wrong;
    }
    co_await sleep(machine_.strand, pause);
  }
}

Task<void> HostDisks::drain(bool& done) {
  co_await server_.drain();
  done = true;
}

Task<void> HostDisks::stop(Duration patience) {
  scope_.cancel();
  listeners_.clear();
  bool done = false;
  {
    TaskScope draining(machine_.strand);
    draining.spawn(drain(done));
    const Instant deadline = machine_.strand.now() + patience;
    while (!done && machine_.strand.now() < deadline) {
      co_await sleep(machine_.strand, 5ms);
    }
  }
  if (!done) {
    trace(Level::kWarning, "host_disks_cut",
          {{"message", "requests of hosts wait for a disk or for the partner"},
           {"remedy", "none: they were not answered, and hosts ask again"}});
    server_.cut();
  }
}

admin::NbdInfo HostDisks::info() const {
  admin::NbdInfo info;
  info.node = machine_.node.name;
  info.listening = !listeners_.empty();
  for (const config::Listener& listener : machine_.node.nbd) {
    info.addresses.push_back(os::TcpAddress::parse(listener.address, listener.port).value().text());
  }
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const BlockDevice* const disk = device(disks_[i]);
    const nbd::ExportCounters& counted = server_.counters_of(i);
    info.exports.push_back({.name = server_.exports()[i].name,
                            .available = disk != nullptr,
                            .bytes = disk != nullptr ? disk->block_count() * kBlockBytes : 0,
                            .reads = counted.reads,
                            .writes = counted.writes,
                            .zeroes = counted.zeroes,
                            .flushes = counted.flushes,
                            .errors = counted.errors,
                            .read_bytes = counted.read_bytes,
                            .written_bytes = counted.written_bytes});
  }
  for (const nbd::ConnectionInfo& each : server_.connections()) {
    for (admin::NbdInfo::Export& of : info.exports) {
      if (of.name == each.name) {
        of.clients.push_back({each.client, each.port, each.read_only, each.requests});
      }
    }
  }
  const nbd::ServerCounters counted = server_.counters();
  info.connections = counted.connections;
  info.refused = counted.refused;
  info.strangers = counted.strangers;
  info.timed_out = counted.timed_out;
  info.violations = counted.violations;
  return info;
}

}  // namespace duet::daemon
