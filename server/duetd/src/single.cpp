#include "single.h"

#include <fmt/format.h>

#include "group_orders.h"
#include "notify.h"
#include "platform/wait.h"
#include "trace.h"
#include "wafl/aggregate.h"

namespace duet::daemon {

namespace {

// What hosts have asked for is finished within it.
constexpr std::chrono::seconds kHostsPatience{5};

// What an error of Filer::open means to the operator, and what to do.
std::string open_remedy(Errc code, const config::Config& config) {
  if (code == Errc::kForeign) {
    return fmt::format(
        "the memory and the disks are not those of this filer's last run; put back the right ones "
        "in "
        "{}; `duet init --force` begins anew and loses what they hold",
        config.file);
  }
  if (code == Errc::kNotFound) {
    return fmt::format("a disk of the aggregate is not listed in {}; add it there", config.file);
  }
  if (code == Errc::kNotSupported) {
    return "a newer build wrote this; use that build";
  }
  if (code == Errc::kCorrupt) {
    return "run `duet check` to see the damage";
  }
  return "see the trace, and the kernel's log for failing disks";
}

}  // namespace

Single::Single(Machine& machine)
    : machine_(machine),
      configured_(*machine.config.filer_at_home(machine.node.name)),
      host_disks_(
          machine, [this](std::string_view name) { return groups_.find(name); }, nullptr),
      groups_(machine.strand, machine.config, machine.node),
      watch_(machine.strand, groups_.all()),
      served_(machine, configured_,
              {.list = [this] { return disk_infos(); },
               .open = [this](const std::string& path) { return add_disk(path); },
               .close = [this](BlockDevice* device) { close_disk(device); },
               .groups = [this] { return watch_.infos(); },
               .order =
                   [this](admin::RaidOrder order) {
                     const auto open = [this](const config::Disk& disk) {
                       return os::open_block_device(machine_.strand, disk.path.text);
                     };
                     groups::ManagedGroup* const group = groups_.find(order.group);
                     return carry_out(machine_, group, std::move(order), open);
                   }}) {
  served_.more_warnings = [this] { return watch_.warnings(); };
}

Single::~Single() = default;

std::string Single::open() {
  os::BlockDeviceOptions options;
  options.lock_wait = kLockWait;
  for (const config::Disk& disk : configured_.disks) {
    if (disk.is_virtual()) {
      continue;
    }
    auto opened = os::open_block_device(machine_.strand, disk.path.text, options);
    if (!opened.ok()) {
      // One that is missing was found before (check_files()).
      const std::string_view remedy = opened.error().code == Errc::kRefused
                                          ? "stop what uses it (another duetd, `duet check`)"
                                          : "correct its path and rights";
      return fmt::format("{}: disk {}: {}; {}", machine_.place(disk.path.line), disk.path.text,
                         text_of(opened.error()), remedy);
    }
    disks_.push_back({disk.path.text, std::move(opened.value())});
  }
  if (std::string wrong = HostDisks::check(machine_); !wrong.empty()) {
    return wrong;
  }
  groups_.lay_out(*machine_.memory);
  return groups_.open_disks([&](const config::Disk& disk) {
    return os::open_block_device(machine_.strand, disk.path.text, options);
  });
}

Task<int> Single::begin() {
  const std::string wrong = co_await served_.listen();
  if (!wrong.empty()) {
    fmt::print(stderr, "duetd: {}\n", wrong);
    co_return kExitRefused;
  }
  const int opened = co_await open_all();
  if (opened != kExitOk) {
    co_await served_.close();
    const Status closed = co_await groups_.close();
    static_cast<void>(closed);  // the next start finishes what this one did not
    co_return opened;
  }
  watch_.start();
  host_disks_.start();
  co_await served_.start(*filer_);
  if (machine_.node.register_rpcbind) {
    co_await tell_rpcbind(true);
  }
  const filer::FilerStatistics& counted = filer_->statistics();
  trace(
      Level::kInfo, "serving",
      {{"filer", configured_.name},
       {"address", served_.first_address()},
       {"memory", machine_.memory->persistent() ? "persistent" : "volatile"},
       {"replayed_records", std::to_string(counted.replayed_records)},
       {"replay_ms",
        fmt::format("{:.1f}", std::chrono::duration<double, std::milli>(counted.replay).count())}});
  co_return kExitOk;
}

Task<int> Single::open_all() {
  const std::string wrong = co_await groups_.open(machine_.entropy);
  if (!wrong.empty()) {
    fmt::print(stderr, "duetd: {}\n", wrong);
    co_return kExitRefused;
  }
  co_return co_await open_filer();
}

Task<int> Single::open_filer() {
  std::vector<BlockDevice*> devices;
  for (const Disk& disk : disks_) {
    devices.push_back(disk.device.get());
  }
  for (const config::Disk& disk : configured_.disks) {
    if (disk.is_virtual()) {
      devices.push_back(groups_.virtual_disk(disk));
    }
  }
  const Result<wafl::DiskRoot> root = co_await wafl::read_root(devices);
  if (root.ok() && root.value().pair != config::pair_id(machine_.config.pair)) {
    fmt::print(
        stderr,
        "duetd: {}: the disks were formatted for a pair of another name than {}; put the name "
        "back, or name the right disks\n",
        machine_.config.file, machine_.config.pair);
    co_return kExitRefused;
  }
  filer::FilerOptions options = configured_.options;
  options.on_failure = [this] {
    trace(Level::kError, "filer_failed",
          {{"filer", configured_.name},
           {"message", "a disk or the memory could not be written; clients get I/O errors"},
           {"remedy", "see to the disks, then restart duetd: what was acknowledged is replayed"}});
    notify("STATUS=Failed: a disk or the memory could not be written");
  };
  auto opened =
      co_await filer::Filer::open(machine_.strand, machine_.clock, machine_.entropy,
                                  std::move(devices), groups_.log_memory(), std::move(options));
  if (opened.ok()) {
    filer_ = std::move(opened.value());
    co_return kExitOk;
  }
  const Errc code = opened.error().code;
  trace(Level::kError, "filer_not_opened",
        {{"filer", configured_.name},
         {"message", text_of(opened.error())},
         {"remedy", open_remedy(code, machine_.config)}});
  const bool machine =
      code == Errc::kForeign || code == Errc::kNotFound || code == Errc::kNotSupported;
  co_return machine ? kExitRefused : kExitFailed;
}

Task<void> Single::reload() {
  const std::string wrong = co_await served_.reload_exports();
  if (wrong.empty()) {
    trace(Level::kInfo, "exports_reloaded");
  } else {
    trace(Level::kError, "exports_not_reloaded", {{"message", wrong}});
  }
}

Task<int> Single::stop() {
  if (machine_.node.register_rpcbind) {
    co_await tell_rpcbind(false);
  }
  co_await served_.drain();
  const Status stopped = co_await filer_->stop();
  co_await served_.close();
  watch_.stop();
  co_await host_disks_.stop(kHostsPatience);
  const Status closed = co_await groups_.close();
  if (!closed.ok()) {
    trace(Level::kError, "redundancy_group_not_closed",
          {{"message", text_of(closed.error())},
           {"remedy", "the next start finishes what it was writing"}});
  }
  if (stopped.ok()) {
    trace(Level::kInfo, "stopped");
  } else {
    trace(Level::kError, "last_cp_failed",
          {{"message", text_of(stopped.error())},
           {"remedy", "the log still holds what it would have held; the next start replays it"}});
  }
  co_return stopped.ok() ? kExitOk : kExitFailed;
}

Task<void> Single::tell_rpcbind(bool set) {
  constexpr std::uint16_t kRpcbindPort = 111;
  auto stream = os::TcpStream::connect_loopback(machine_.strand, kRpcbindPort);
  Status told = stream.ok() ? Status(Ok{}) : Status(stream.error());
  if (stream.ok()) {
    const auto mappings = server::mappings_on(configured_.listeners.front().port);
    told = co_await server::register_programs(machine_.strand, *stream.value(), mappings, set);
  }
  if (!told.ok()) {
    trace(Level::kWarning, "rpcbind",
          {{"message", text_of(told.error())},
           {"remedy",
            "start rpcbind with -i, or set register_rpcbind: false; clients can name the "
            "port instead"}});
  }
}

Task<admin::Response> Single::answer(admin::Request request) {
  if (request.method == "GET" && request.path == "/v1/nbd") {
    co_return admin::nbd_response(host_disks_.info());
  }
  if (request.method == "GET" && request.path == "/metrics") {
    admin::Metrics::Labels none;
    admin::Metrics all = co_await served_.metrics(std::move(none));
    admin::add_nbd(all, host_disks_.info());
    co_return admin::metrics_response(all);
  }
  co_return co_await served_.answer(std::move(request));
}

std::vector<admin::DiskInfo> Single::disk_infos() const {
  std::vector<admin::DiskInfo> infos;
  for (const config::Disk& disk : configured_.disks) {
    if (disk.is_virtual()) {
      infos.push_back({disk.path.text, groups_.virtual_disk(disk)->block_count() * kBlockBytes});
    }
  }
  for (const Disk& disk : disks_) {
    infos.push_back({disk.path, disk.device->block_count() * kBlockBytes});
  }
  return infos;
}

std::pair<BlockDevice*, std::string> Single::add_disk(const std::string& path) {
  auto opened = os::open_block_device(machine_.strand, path);
  if (!opened.ok()) {
    return {nullptr, fmt::format("disk {}: {}", path, text_of(opened.error()))};
  }
  disks_.push_back({path, std::move(opened.value())});
  return {disks_.back().device.get(), ""};
}

void Single::close_disk(const BlockDevice* device) {
  std::erase_if(disks_, [device](const Disk& disk) { return disk.device.get() == device; });
}

}  // namespace duet::daemon
