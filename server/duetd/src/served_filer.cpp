#include "served_filer.h"

#include <fmt/format.h>

#include "admin/version.h"

namespace duet::daemon {

ServedFiler::ServedFiler(Machine& machine, const config::Filer& configured, DiskAccess disks,
                         SocketKeeper keeper, server::AcceptObserver observer)
    : machine_(machine),
      configured_(configured),
      disks_(std::move(disks)),
      keeper_(std::move(keeper)),
      observer_(std::move(observer)),
      answered_(machine.strand) {}

ServedFiler::~ServedFiler() = default;

std::string cannot_listen(const std::string& file, const config::Listener& listener,
                          const Error& error) {
  const std::string_view remedy =
      error.code == Errc::kExists   ? "stop what uses it, or choose another port"
      : error.code == Errc::kAccess ? "use a port from 1024 up, or run as root"
                                    : "give this machine the address, or correct it";
  return fmt::format("{}:{}: {} port {}: {}; {}", file, listener.line, listener.address,
                     listener.port, text_of(error), remedy);
}

Task<std::string> ServedFiler::listen() {
  if (std::exchange(listening_, true)) {
    co_return std::string();
  }
  sockets_.resize(reactors());
  std::string wrong;
  if (keeper_.open) {
    wrong = get_kept(sockets_[0]);
  }
  for (std::uint32_t i = 0; i < reactors() && wrong.empty() && !keeper_.open; ++i) {
    os::EpollScheduler& own = machine_.scheduler(i);
    co_await os::hop_to(own);
    wrong = bind(own, sockets_[i]);
    co_await os::hop_to(machine_.strand);
  }
  if (!wrong.empty()) {
    co_await close();
  }
  co_return wrong;
}

std::string ServedFiler::bind(os::EpollScheduler& scheduler, Sockets& sockets) const {
  for (const config::Listener& listener : configured_.listeners) {
    const Result<os::TcpAddress> address = os::TcpAddress::parse(listener.address, listener.port);
    DUET_CHECK(address.ok());  // the configuration's reader saw to it
    const bool first = &scheduler == &machine_.strand;
    Status tried = Ok{};
    if (first && reactors() > 1) {
      // Sockets that share a port would share it with another duetd too: ask for it alone first.
      const auto alone = os::TcpListener::listen(scheduler, address.value());
      tried = alone.ok() ? Status(Ok{}) : Status(alone.error());
    }
    if (tried.ok()) {
      auto socket = os::TcpListener::listen(scheduler, address.value(), tcp_options(reactors()));
      if (socket.ok()) {
        sockets.push_back(std::move(socket.value()));
        continue;
      }
      tried = socket.error();
    }
    return cannot_listen(machine_.config.file, listener, tried.error());
  }
  return {};
}

// All of them for the strand.
std::string ServedFiler::get_kept(Sockets& sockets) const {
  for (std::size_t i = 0; i < configured_.listeners.size(); ++i) {
    const Result<int> socket = keeper_.open(i);
    if (!socket.ok()) {
      return cannot_listen(machine_.config.file, configured_.listeners[i], socket.error());
    }
    sockets.push_back(std::make_unique<os::TcpListener>(machine_.strand,
                                                        os::TcpListener::Socket{socket.value()}));
  }
  return {};
}

// Whoever stands in line behind this node for an address is the first one now.
void ServedFiler::give_up_kept() {
  listening_ = false;
  for (std::size_t i = 0; keeper_.close && i < configured_.listeners.size(); ++i) {
    keeper_.close(i);
  }
}

Task<void> ServedFiler::start(filer::Filer& filer) {
  reactors_.resize(reactors());
  for (std::uint32_t i = 0; i < reactors(); ++i) {
    os::EpollScheduler& own = machine_.scheduler(i);
    co_await os::hop_to(own);
    reactors_[i] = std::make_unique<Reactor>(own, machine_.strand, filer, mounts_, configured_,
                                             reactors(), std::move(sockets_[i]), observer_);
    sockets_[i].clear();
    co_await os::hop_to(machine_.strand);
  }
  make_api(filer);
}

Task<void> ServedFiler::end_administration() {
  if (api_ == nullptr) {
    co_return;
  }
  const std::unique_ptr<admin::Api> ending = std::move(api_);  // new requests find none
  co_await ending->stop();
  while (asked_ > 0) {
    co_await answered_.wait();
  }
}

Task<void> ServedFiler::drain() {
  co_await end_administration();
  for (std::uint32_t i = 0; i < reactors_.size(); ++i) {
    co_await os::hop_to(machine_.scheduler(i));
    co_await reactors_[i]->drain();
    co_await os::hop_to(machine_.strand);
  }
}

Task<void> ServedFiler::cut() {
  give_up_kept();
  for (std::uint32_t i = 0; i < reactors(); ++i) {
    co_await os::hop_to(machine_.scheduler(i));
    if (i < sockets_.size()) {
      sockets_[i].clear();
    }
    if (i < reactors_.size() && reactors_[i] != nullptr) {
      reactors_[i]->cut();
    }
    co_await os::hop_to(machine_.strand);
  }
}

Task<void> ServedFiler::close() {
  give_up_kept();
  co_await end_administration();
  for (std::uint32_t i = 0; i < reactors(); ++i) {
    co_await os::hop_to(machine_.scheduler(i));
    if (i < sockets_.size()) {
      sockets_[i].clear();
    }
    if (i < reactors_.size() && reactors_[i] != nullptr) {
      co_await reactors_[i]->drain();
      reactors_[i].reset();
    }
    co_await os::hop_to(machine_.strand);
  }
  reactors_.clear();
}

Task<admin::Response> ServedFiler::answer(admin::Request request) {
  if (api_ == nullptr) {
    admin::Response response;
    response.status = 503;
    response.body =
        R"({"error": {"code": "closed", "message": "the filer is starting or stopping"}})";
    co_return response;
  }
  ++asked_;
  admin::Response response = co_await api_->handle(std::move(request));
  --asked_;
  answered_.wake_all();
  co_return response;
}

Task<admin::Metrics> ServedFiler::metrics(admin::Metrics::Labels always) {
  if (api_ == nullptr) {
    co_return admin::Metrics();
  }
  ++asked_;
  admin::Metrics collected = co_await api_->metrics(std::move(always));
  --asked_;
  answered_.wake_all();
  co_return collected;
}

Task<std::string> ServedFiler::reload_exports() {
  if (api_ == nullptr) {
    co_return "the filer is not served here";
  }
  ++asked_;
  std::string wrong = co_await api_->reload_exports();
  --asked_;
  answered_.wake_all();
  co_return wrong;
}

std::string ServedFiler::first_address() const {
  return fmt::format("{}:{}", configured_.listeners.front().address,
                     configured_.listeners.front().port);
}

Task<admin::ServerCounters> ServedFiler::count() {
  admin::ServerCounters counters;
  for (std::uint32_t i = 0; i < reactors_.size(); ++i) {
    co_await os::hop_to(machine_.scheduler(i));
    reactors_[i]->count(counters);
    co_await os::hop_to(machine_.strand);
  }
  co_return counters;
}

void ServedFiler::make_api(filer::Filer& filer) {
  std::vector<std::string> addresses;
  for (const config::Listener& listener : configured_.listeners) {
    addresses.push_back(fmt::format("{}:{}", listener.address, listener.port));
  }
  const config::Config& config = machine_.config;
  const config::Memory& memory = machine_.node.memory;
  admin::Context context{
      .version = std::string(admin::version()),
      .pair = config.pair,
      .node = machine_.node.name,
      .filer_name = configured_.name,
      .config_file = config.file,
      .addresses = std::move(addresses),
      .memory = {memory.path.text, memory.size_bytes, machine_.memory->persistent(),
                 memory.accept_volatile},
      .started = machine_.strand.now(),
      .scheduler = machine_.strand,
      .clock = machine_.clock,
      .filer = filer,
      .counters = [this] { return count(); },
      .disks = disks_.list,
      .read_exports = [this]() -> std::variant<filer::ExportTable, std::string> {
        const config::Outcome<config::Config> read = config::load(machine_.config.file);
        if (!read.ok()) {
          return read.error().text();
        }
        const config::Filer* mine = read.value().filer(configured_.name);
        return mine == nullptr ? std::variant<filer::ExportTable, std::string>(
                                     machine_.config.file + ": this filer is not there any more")
                               : mine->exports;
      },
      .open_disk = disks_.open,
      .close_disk = disks_.close,
      .more_warnings = more_warnings,
      .groups = disks_.groups,
      .order_raid = disks_.order};
  api_ = std::make_unique<admin::Api>(std::move(context));
}

}  // namespace duet::daemon
