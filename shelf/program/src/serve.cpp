#include <fmt/format.h>

#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include "disks.h"
#include "platform/linux/connect.h"
#include "platform/linux/signal_source.h"
#include "platform/task_scope.h"
#include "shelf/linux/connectors.h"
#include "shelf/linux/disk_url.h"
#include "shelf/server.h"

namespace duet::shelf {

namespace {

struct Disk {
  std::string name;
  std::unique_ptr<BlockDevice> device;
  std::unique_ptr<BlockDevice> label;
  std::unique_ptr<Target> target;
};

// Unused is a peer that says nothing for so long and does not answer the kernel either.
constexpr os::TcpOptions kTcp{.keepalive_idle_s = 10, .user_timeout_ms = 30'000};

Task<Status> open_target(Scheduler& scheduler, Disk& disk) {
  auto opened = co_await Target::open(scheduler, *disk.device, *disk.label);
  if (!opened.ok()) {
    co_return opened.error();
  }
  disk.target = std::move(opened.value());
  co_return Ok{};
}

Task<void> accept(os::TcpListener& listener, ShelfServer& server, TaskScope& scope) {
  for (;;) {
    std::unique_ptr<os::TcpStream> stream = listener.try_accept();
    if (stream == nullptr) {
      co_await listener.wait();
      continue;
    }
    scope.spawn(server.serve(std::move(stream)));
  }
}

// Connections that must prove themselves before the shelf hears of them.
class SecureListener {
 public:
  // REQUIRES: all outlive it, and `scope` what it has accepted.
  SecureListener(os::EpollScheduler& scheduler, os::TcpListener& listener, tls::TlsContext& context,
                 ShelfServer& server, TaskScope& scope)
      : scheduler_(scheduler),
        listener_(listener),
        context_(context),
        server_(server),
        scope_(scope),
        ended_(scheduler) {}

  Task<void> accept() {
    for (;;) {
      while (handshakes_ >= kHandshakesMax) {
        co_await ended_.wait();
      }
      std::unique_ptr<os::TcpStream> stream = listener_.try_accept();
      if (stream == nullptr) {
        co_await listener_.wait();
        continue;
      }
      ++handshakes_;
      scope_.spawn(serve(std::move(stream)));
    }
  }

 private:
  // More connections wait in the listener's queue.
  static constexpr int kHandshakesMax = 32;

  Task<void> serve(std::unique_ptr<ByteStream> stream) {
    auto secured = co_await tls::tls_handshake(scheduler_, context_, tls::TlsRole::kServer,
                                               kShelfTlsWithin, std::move(stream));
    --handshakes_;
    ended_.wake_all();
    if (secured.ok()) {
      co_await server_.serve(std::move(secured.value()));
    } else if (secured.error().code == Errc::kRefused) {
      fmt::print(stderr, "duet-shelf: refused a connection: {}\n", secured.error().context);
    }
  }

  os::EpollScheduler& scheduler_;
  os::TcpListener& listener_;
  tls::TlsContext& context_;
  ShelfServer& server_;
  TaskScope& scope_;
  int handshakes_ = 0;
  WaitList ended_;
};

Task<void> stop_when_told(os::SignalSource& signals, os::EpollScheduler& scheduler) {
  for (;;) {
    const int signal = co_await signals.next();
    if (signal != SIGHUP) {
      scheduler.stop();
      co_return;
    }
  }
}

constexpr std::string_view kUnixUrl = "unix://";
constexpr std::string_view kTcpUrl = "tcp://";
constexpr std::string_view kTlsUrl = "tls://";

Result<std::unique_ptr<os::TcpListener>> listen(os::EpollScheduler& scheduler, std::string_view url,
                                                bool plaintext) {
  if (url.starts_with(kUnixUrl)) {
    return os::listen_unix(scheduler, std::string(url.substr(kUnixUrl.size())));
  }
  const bool encrypted = url.starts_with(kTlsUrl);
  if (!encrypted && !url.starts_with(kTcpUrl)) {
    return Error{Errc::kInvalid,
                 "listen on unix:///path, tls://address:port or tcp://address:port"};
  }
  const Result<os::TcpAddress> address = parse_address(url.substr(kTcpUrl.size()));
  if (!address.ok()) {
    return address.error();
  }
  if (!encrypted && !plaintext && !address.value().is_loopback()) {
    return Error{Errc::kRefused,
                 "whoever reaches it could write: listen on tls:// with --key-file, or say "
                 "--plaintext if nobody else is on that network"};
  }
  return os::TcpListener::listen(scheduler, address.value(), kTcp);
}

std::string text_of(DiskKey key) {
  return fmt::format("node {} (incarnation {})", node_of(key), incarnation_of(key));
}

std::string text_of(const TargetEvent& event) {
  using Kind = TargetEvent::Kind;
  const std::string who = text_of(event.who);
  switch (event.kind) {
    case Kind::kEntered:
      return who + " is connected";
    case Kind::kReplaced:
      return who + " is connected, in place of the older session of " + text_of(event.other);
    case Kind::kRegistered:
      return who + " registered its key";
    case Kind::kUnregistered:
      return who + " took its key away";
    case Kind::kReserved:
      return who + " reserved the disk";
    case Kind::kReleased:
      return who + " released the disk";
    case Kind::kRemoved:
      return who + " shut out " + text_of(event.other);
    case Kind::kCleared:
      return who + " removed all keys";
    case Kind::kEpoch:
      return who + fmt::format(" raised the epoch to {}", event.epoch);
    case Kind::kLabelFailed:
      return "WARNING: what " + who +
             " asked for could not be made durable: look at the label's disk";
  }
  return {};
}

void trace(const std::string& disk, const TargetEvent& event) {
  fmt::print(stderr, "duet-shelf: disk {}: {}\n", disk, text_of(event));
}

// Ends as a kill would, but for waiting for I/O under way: nobody needs more than that.
class Service {
 public:
  Service(os::EpollScheduler& scheduler, std::array<std::uint64_t, 2> power)
      : scheduler_(scheduler), server_(scheduler, {.power = power}), scope_(scheduler) {}
  ~Service() {
    for (Disk& disk : disks_) {
      disk.device.reset();  // waits; buffers and requests are still there
      disk.label.reset();
    }
    scope_.cancel();
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Empty: it is served.  Else what is wrong.
  std::string add_disk(const std::string& text, const ServeOptions& options) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      return fmt::format("--disk {}: it must be NAME=PATH", text);
    }
    Disk disk{.name = text.substr(0, equals), .device = {}, .label = {}, .target = {}};
    const std::string path = text.substr(equals + 1);
    // Another process may still have them, killed and with I/O under way.
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(options.wait);
    auto device = os::open_block_device(
        scheduler_, path, {.name = disk.name, .direct = !options.buffered, .lock_wait = wait});
    if (!device.ok()) {
      return fmt::format("{}: {}", path, device.error().context);
    }
    disk.device = std::move(device.value());
    const std::string label_file = label_path(path, options.label_directory);
    auto label =
        os::open_block_device(scheduler_, label_file, {.name = label_file, .lock_wait = wait});
    if (!label.ok()) {
      return fmt::format("{}: {}; duet-shelf create makes it", label_file, label.error().context);
    }
    disk.label = std::move(label.value());
    const Status opened = run_to_end(scheduler_, open_target(scheduler_, disk));
    if (!opened.ok()) {
      return fmt::format("{}: {}", label_file, opened.error().context);
    }
    const Status added = server_.add_disk(disk.name, *disk.target);
    if (!added.ok()) {
      return fmt::format("--disk {}: {}", text, added.error().context);
    }
    disk.target->observe([name = disk.name](const TargetEvent& event) { trace(name, event); });
    disks_.push_back(std::move(disk));
    return {};
  }

  // Empty: connections prove that they have this key.  Else what is wrong.
  std::string use_key(const std::string& file) {
    auto context = shelf_tls(file);
    if (!context.ok()) {
      return fmt::format("--key-file {}: {}", file, context.error().context);
    }
    tls_ = std::move(context.value());
    return {};
  }

  std::string add_listener(const std::string& url, bool plaintext) {
    const bool encrypted = url.starts_with(kTlsUrl);
    if (encrypted && tls_ == nullptr) {
      return fmt::format("--listen {}: it needs --key-file (`openssl rand -hex 32` makes one)",
                         url);
    }
    auto listener = listen(scheduler_, url, plaintext);
    if (!listener.ok()) {
      return fmt::format("--listen {}: {}", url, listener.error().context);
    }
    os::TcpListener& added = *listeners_.emplace_back(std::move(listener.value()));
    if (encrypted) {
      secure_.push_back(
          std::make_unique<SecureListener>(scheduler_, added, *tls_, server_, scope_));
      scope_.spawn(secure_.back()->accept());
    } else {
      scope_.spawn(accept(added, server_, scope_));
    }
    const bool is_tcp = added.port() != 0;
    fmt::print("duet-shelf: listening on {}\n",
               is_tcp ? url.substr(0, kTcpUrl.size()) + added.address().text() : url);
    return {};
  }

  void run(os::SignalSource& signals) {
    scope_.spawn(stop_when_told(signals, scheduler_));
    for (const Disk& disk : disks_) {
      fmt::print("duet-shelf: disk {}: {} blocks, {} keys, epoch {}\n", disk.name,
                 disk.target->identity().blocks, disk.target->state().keys.size(),
                 disk.target->state().epoch);
    }
    fmt::print("duet-shelf: ready\n");
    std::fflush(stdout);
    scheduler_.run();
    for (const Disk& disk : disks_) {
      const TargetCounters& counters = disk.target->counters();
      fmt::print("duet-shelf: disk {}: {} reads, {} writes, {} refused\n", disk.name,
                 counters.reads, counters.writes, counters.fenced);
    }
  }

 private:
  os::EpollScheduler& scheduler_;
  std::vector<Disk> disks_;
  ShelfServer server_;
  std::unique_ptr<tls::TlsContext> tls_;  // null: there is no key
  std::vector<std::unique_ptr<os::TcpListener>> listeners_;
  std::vector<std::unique_ptr<SecureListener>> secure_;
  TaskScope scope_;
};

}  // namespace

int serve(const ServeOptions& options) {
  os::EpollScheduler scheduler;
  os::SignalSource signals(scheduler);
  const auto power = power_id();
  if (!power.ok()) {
    return refuse(std::string(power.error().context));
  }
  Service service(scheduler, power.value());
  for (const std::string& disk : options.disks) {
    if (const std::string wrong = service.add_disk(disk, options); !wrong.empty()) {
      return refuse(wrong);
    }
  }
  if (!options.key_file.empty()) {
    if (const std::string wrong = service.use_key(options.key_file); !wrong.empty()) {
      return refuse(wrong);
    }
  }
  for (const std::string& url : options.listen) {
    if (const std::string wrong = service.add_listener(url, options.plaintext); !wrong.empty()) {
      return refuse(wrong);
    }
  }
  service.run(signals);
  return 0;
}

}  // namespace duet::shelf
