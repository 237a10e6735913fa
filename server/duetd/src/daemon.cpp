#include "daemon.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "admin/version.h"
#include "notify.h"
#include "trace.h"

namespace duet::daemon {

namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitRefused = 2;  // the configuration or the machine; nothing was changed
constexpr std::uint64_t kOtherDescriptors = 256;
constexpr std::size_t kTokenBytesMin = 16;
constexpr std::chrono::seconds kLockWait{5};  // I/O of a killed duetd ends within it

std::string text_of(const Error& error) {
  return error.context.empty() ? fmt::format("error {}", static_cast<int>(error.code))
                               : std::string(error.context);
}

std::string place(const config::Config& config, int line) {
  return fmt::format("{}:{}", config.file, line);
}

// As the refusals of main(): for the person at the terminal.
int refuse(const std::string& message) {
  fmt::print(stderr, "duetd: {}\n", message);
  return kExitRefused;
}

// Connections are descriptors: takes as many as the system gives.
void raise_descriptor_limit(std::uint64_t connections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < connections + kOtherDescriptors) {
    trace(Level::kWarning, "descriptor_limit",
          {{"limit", std::to_string(limit.rlim_cur)},
           {"connections", std::to_string(connections)},
           {"remedy", "raise LimitNOFILE (ulimit -Hn), or lower limits.connections"}});
  }
}

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

Daemon::Daemon(config::Config config, const std::string& node_name)
    : config_(std::move(config)),
      node_(*config_.node(node_name)),
      filer_config_(*config_.filer_at_home(node_name)),
      strand_(node_.poll),
      signals_(strand_),
      http_(strand_, [this](admin::Request request) { return answer(std::move(request)); }),
      scope_(strand_) {
  for (std::uint32_t i = 1; i < node_.reactors; ++i) {
    schedulers_.push_back(std::make_unique<os::EpollScheduler>(node_.poll));
  }
  sockets_.resize(node_.reactors);
}

Daemon::~Daemon() = default;

int Daemon::run() {
  raise_descriptor_limit(filer_config_.limits.connections);
  for (const auto step :
       {&Daemon::bind_listeners, &Daemon::open_memory, &Daemon::open_disks, &Daemon::open_admin}) {
    if (const std::string wrong = (this->*step)(); !wrong.empty()) {
      // The admin socket is the last step, so no thread runs yet.
      return refuse(wrong);
    }
  }
  int exit_code = kExitFailed;
  scope_.spawn(main(exit_code));
  strand_.run();
  return exit_code;
}

std::string Daemon::bind_listeners() {
  for (const config::Listener& listener : filer_config_.listeners) {
    if (std::string wrong = bind(listener); !wrong.empty()) {
      return wrong;
    }
  }
  return {};
}

std::string Daemon::bind(const config::Listener& listener) {
  const Result<os::TcpAddress> address = os::TcpAddress::parse(listener.address, listener.port);
  DUET_CHECK(address.ok());  // the configuration's reader saw to it
  const auto refusal = [&](const Error& error) {
    const std::string_view remedy =
        error.code == Errc::kExists   ? "stop what uses it, or choose another port"
        : error.code == Errc::kAccess ? "use a port from 1024 up, or run as root"
                                      : "give this machine the address, or correct it";
    return fmt::format("{}: {} port {}: {}; {}", place(config_, listener.line), listener.address,
                       listener.port, text_of(error), remedy);
  };
  if (node_.reactors > 1) {
    // Sockets that share a port would share it with another duetd too: ask for it alone first.
    const auto alone = os::TcpListener::listen(strand_, address.value());
    if (!alone.ok()) {
      return refusal(alone.error());
    }
  }
  for (std::uint32_t i = 0; i < node_.reactors; ++i) {
    os::EpollScheduler& scheduler = i == 0 ? strand_ : *schedulers_[i - 1];
    auto socket = os::TcpListener::listen(scheduler, address.value(), tcp_options(node_.reactors));
    if (!socket.ok()) {
      return refusal(socket.error());
    }
    sockets_[i].push_back(std::move(socket.value()));
  }
  return {};
}

std::string Daemon::open_memory() {
  os::PersistentMemoryOptions options;
  options.accept_volatile = node_.memory.accept_volatile;
  options.lock_wait = kLockWait;
  auto opened = os::map_persistent_memory(node_.memory.path.text, node_.memory.size_bytes, options);
  if (opened.ok()) {
    memory_ = std::move(opened.value());
    return {};
  }
  const std::string_view remedy =
      opened.error().code == Errc::kRefused
          ? "stop what uses it; or name persistent memory; or set accept_volatile: true, and know "
            "that a loss of power then loses acknowledged requests"
      : opened.error().code == Errc::kNotFound ? "run `duet init` first"
                                               : "correct its path, size and rights";
  return fmt::format("{}: memory {}: {}; {}", place(config_, node_.memory.path.line),
                     node_.memory.path.text, text_of(opened.error()), remedy);
}

std::string Daemon::open_disks() {
  for (const config::Disk& disk : filer_config_.disks) {
    os::BlockDeviceOptions options;
    options.lock_wait = kLockWait;
    auto opened = os::open_block_device(strand_, disk.path.text, options);
    if (!opened.ok()) {
      const std::string_view remedy = opened.error().code == Errc::kRefused
                                          ? "stop what uses it (another duetd, `duet check`)"
                                          : "correct its path and rights, or run `duet init` first";
      return fmt::format("{}: disk {}: {}; {}", place(config_, disk.path.line), disk.path.text,
                         text_of(opened.error()), remedy);
    }
    disks_.push_back({disk.path.text, std::move(opened.value())});
  }
  return {};
}

std::string Daemon::open_admin() {
  const config::Admin& admin = node_.admin;
  std::string token;
  if (admin.https) {
    std::ifstream stream(admin.https->token_file.text);
    std::getline(stream, token);
    if (token.size() < kTokenBytesMin) {
      return fmt::format("{}: token file {}: fewer than {} characters; write a long random text",
                         place(config_, admin.https->token_file.line), admin.https->token_file.text,
                         kTokenBytesMin);
    }
  }
  std::string wrong = http_.open_unix(admin.socket.text);
  int line = admin.socket.line;
  if (wrong.empty() && admin.https) {
    const config::Listener& at = admin.https->listener;
    line = at.line;
    wrong = http_.open_https(at.address, at.port,
                             {admin.https->certificate.text, admin.https->key.text}, token);
  }
  if (wrong.empty() && admin.metrics) {
    line = admin.metrics->line;
    wrong = http_.open_metrics(admin.metrics->address, admin.metrics->port);
  }
  return wrong.empty() ? ""
                       : fmt::format("{}: administration: {}; correct or free it",
                                     place(config_, line), wrong);
}

Task<void> Daemon::main(int& exit_code) {
  exit_code = co_await open_and_serve();
  strand_.stop();
}

Task<int> Daemon::open_and_serve() {
  const int opened = co_await open_filer();
  if (opened != kExitOk) {
    co_await http_.stop();
    co_return opened;
  }
  start_reactors();
  make_api();
  co_return co_await serve();
}

Task<int> Daemon::open_filer() {
  std::vector<BlockDevice*> devices;
  for (const Disk& disk : disks_) {
    devices.push_back(disk.device.get());
  }
  filer::FilerOptions options = filer_config_.options;
  options.on_failure = [this] {
    trace(Level::kError, "filer_failed",
          {{"filer", filer_config_.name},
           {"message", "a disk or the memory could not be written; clients get I/O errors"},
           {"remedy", "see to the disks, then restart duetd: what was acknowledged is replayed"}});
    notify("STATUS=Failed: a disk or the memory could not be written");
  };
  auto opened = co_await filer::Filer::open(strand_, clock_, entropy_, std::move(devices), *memory_,
                                            std::move(options));
  if (opened.ok()) {
    filer_ = std::move(opened.value());
    co_return kExitOk;
  }
  const Errc code = opened.error().code;
  trace(Level::kError, "filer_not_opened",
        {{"filer", filer_config_.name},
         {"message", text_of(opened.error())},
         {"remedy", open_remedy(code, config_)}});
  const bool machine =
      code == Errc::kForeign || code == Errc::kNotFound || code == Errc::kNotSupported;
  co_return machine ? kExitRefused : kExitFailed;
}

void Daemon::start_reactors() {
  for (std::uint32_t i = 0; i < node_.reactors; ++i) {
    os::EpollScheduler& own = i == 0 ? strand_ : *schedulers_[i - 1];
    reactors_.push_back(
        std::make_unique<Reactor>(own, strand_, *filer_, mounts_, filer_config_, node_.reactors));
    for (std::unique_ptr<os::TcpListener>& socket : sockets_[i]) {
      reactors_.back()->listen(std::move(socket));
    }
    sockets_[i].clear();
    if (i > 0) {
      reactors_.back()->start();
    }
  }
}

Task<int> Daemon::serve() {
  if (node_.register_rpcbind) {
    co_await tell_rpcbind(true);
  }
  const filer::FilerStatistics& counted = filer_->statistics();
  trace(
      Level::kInfo, "serving",
      {{"filer", filer_config_.name},
       {"address", fmt::format("{}:{}", filer_config_.listeners.front().address,
                               filer_config_.listeners.front().port)},
       {"memory", memory_->persistent() ? "persistent" : "volatile"},
       {"replayed_records", std::to_string(counted.replayed_records)},
       {"replay_ms",
        fmt::format("{:.1f}", std::chrono::duration<double, std::milli>(counted.replay).count())}});
  notify("READY=1\nSTATUS=Serving");
  for (;;) {
    const int number = co_await signals_.next();
    if (number != SIGHUP) {
      trace(Level::kInfo, "stopping", {{"signal", std::to_string(number)}});
      break;
    }
    co_await reload();
  }
  notify("STOPPING=1");
  const bool clean = co_await stop();
  co_return clean ? kExitOk : kExitFailed;
}

Task<void> Daemon::reload() {
  const std::string wrong = co_await api_->reload_exports();
  if (wrong.empty()) {
    trace(Level::kInfo, "exports_reloaded");
  } else {
    trace(Level::kError, "exports_not_reloaded", {{"message", wrong}});
  }
}

Task<bool> Daemon::stop() {
  co_await api_->stop();
  co_await http_.stop();
  api_.reset();
  if (node_.register_rpcbind) {
    co_await tell_rpcbind(false);
  }
  for (const std::unique_ptr<Reactor>& reactor : reactors_) {
    co_await reactor->drain();
  }
  const Status stopped = co_await filer_->stop();
  for (const std::unique_ptr<Reactor>& reactor : reactors_) {
    reactor->join();
  }
  if (stopped.ok()) {
    trace(Level::kInfo, "stopped");
  } else {
    trace(Level::kError, "last_cp_failed",
          {{"message", text_of(stopped.error())},
           {"remedy", "the log still holds what it would have held; the next start replays it"}});
  }
  co_return stopped.ok();
}

Task<void> Daemon::tell_rpcbind(bool set) {
  constexpr std::uint16_t kRpcbindPort = 111;
  auto stream = os::TcpStream::connect_loopback(strand_, kRpcbindPort);
  Status told = stream.ok() ? Status(Ok{}) : Status(stream.error());
  if (stream.ok()) {
    const auto mappings = server::mappings_on(filer_config_.listeners.front().port);
    told = co_await server::register_programs(strand_, *stream.value(), mappings, set);
  }
  if (!told.ok()) {
    trace(Level::kWarning, "rpcbind",
          {{"message", text_of(told.error())},
           {"remedy",
            "start rpcbind with -i, or set register_rpcbind: false; clients can name the "
            "port instead"}});
  }
}

void Daemon::make_api() {
  std::vector<std::string> addresses;
  for (const config::Listener& listener : filer_config_.listeners) {
    addresses.push_back(fmt::format("{}:{}", listener.address, listener.port));
  }
  admin::Context context{
      .version = std::string(admin::kVersion),
      .pair = config_.pair,
      .node = node_.name,
      .filer_name = filer_config_.name,
      .config_file = config_.file,
      .addresses = std::move(addresses),
      .memory = {node_.memory.path.text, node_.memory.size_bytes, memory_->persistent(),
                 node_.memory.accept_volatile},
      .started = strand_.now(),
      .scheduler = strand_,
      .clock = clock_,
      .filer = *filer_,
      .counters = [this] { return count(); },
      .disks = [this] { return disk_infos(); },
      .read_exports = [this]() -> std::variant<filer::ExportTable, std::string> {
        const config::Outcome<config::Config> read = config::load(config_.file);
        if (!read.ok()) {
          return read.error().text();
        }
        const config::Filer* mine = read.value().filer_at_home(node_.name);
        return mine == nullptr ? std::variant<filer::ExportTable, std::string>(
                                     config_.file + ": this node is no filer's home any more")
                               : mine->exports;
      },
      .open_disk = [this](const std::string& path) { return add_disk(path); },
      .close_disk = [this](BlockDevice* device) { close_disk(device); }};
  api_ = std::make_unique<admin::Api>(std::move(context));
}

Task<admin::Response> Daemon::answer(admin::Request request) {
  if (api_ == nullptr) {
    admin::Response response;
    response.status = 503;
    response.body =
        R"({"error": {"code": "closed", "message": "the filer is starting or stopping"}})";
    co_return response;
  }
  co_return co_await api_->handle(std::move(request));
}

Task<admin::ServerCounters> Daemon::count() {
  admin::ServerCounters counters;
  for (const std::unique_ptr<Reactor>& reactor : reactors_) {
    co_await reactor->count(counters);
  }
  co_return counters;
}

std::vector<admin::DiskInfo> Daemon::disk_infos() const {
  std::vector<admin::DiskInfo> infos;
  for (const Disk& disk : disks_) {
    infos.push_back({disk.path, disk.device->block_count() * kBlockBytes});
  }
  return infos;
}

std::pair<BlockDevice*, std::string> Daemon::add_disk(const std::string& path) {
  auto opened = os::open_block_device(strand_, path);
  if (!opened.ok()) {
    return {nullptr, fmt::format("disk {}: {}", path, text_of(opened.error()))};
  }
  disks_.push_back({path, std::move(opened.value())});
  return {disks_.back().device.get(), ""};
}

void Daemon::close_disk(const BlockDevice* device) {
  std::erase_if(disks_, [device](const Disk& disk) { return disk.device.get() == device; });
}

}  // namespace duet::daemon
