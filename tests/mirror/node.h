// One node with a mirrored log over a real link: what the kill test and the benchmark share.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "interconnect/linux/shared_memory_link.h"
#include "interconnect/linux/tcp_source.h"
#include "nvlog/mirrored_log.h"
#include "platform/linux/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"

namespace duet::mirror_test {

enum class Transport : std::uint8_t { kSharedMemory, kTls, kTcp };

inline constexpr nvlog::LogIdentity kLog{.pair = {0x11, 0x22}, .filer = 0, .log_id = 0x3333};

inline std::uint64_t memory_bytes() { return nvlog::region_bytes(nvlog::half_bytes_min()); }

// The disks, as far as a log knows them; a CP is whatever the test says.
class Duties final : public nvlog::MirrorDuties {
 public:
  Task<Status> set_solo_mark(std::uint64_t /*epoch*/, nvlog::Sequence /*first*/) override {
    marked = true;
    co_return Ok();
  }
  Task<Status> clear_solo_mark(std::uint64_t /*epoch*/) override {
    marked = false;
    co_return Ok();
  }
  void want_consistency_point() override { cp_wanted = true; }
  void log_failed() override {}
  bool marked = false;
  bool cp_wanted = false;
};

// Where the two nodes find each other.
struct Meeting {
  Transport transport = Transport::kSharedMemory;
  std::string directory;
  std::uint16_t port = 0;  // of node b, for TCP

  [[nodiscard]] std::string file(const std::string& name) const { return directory + "/" + name; }
};

class NodeProcess {
 public:
  // `listener`: of node b, for TCP.
  NodeProcess(os::EpollScheduler& scheduler, const Meeting& meeting, interconnect::Node node,
              std::unique_ptr<os::TcpListener> listener = nullptr)
      : scheduler_(scheduler) {
    const bool is_a = node == interconnect::Node::kA;
    const std::string me = is_a ? "a" : "b";
    const std::string partner = is_a ? "b" : "a";
    own = map(meeting.file("own-" + me));
    mirror = map(meeting.file("mirror-" + me));
    const interconnect::LinkIdentity identity{kLog.pair, node,
                                              interconnect::Incarnation{entropy_.next() | 1U}};
    if (meeting.transport == Transport::kSharedMemory) {
      interconnect::SharedMemoryLinkOptions options;
      options.connects = is_a;
      options.socket_path = meeting.file("socket");
      options.inbox_path = meeting.file("inbox-" + me);
      options.partner_inbox_path = meeting.file("inbox-" + partner);
      options.partner_memory_path = meeting.file("mirror-" + partner);
      options.accept_volatile = true;
      link = std::make_unique<interconnect::SharedMemoryLink>(scheduler, *mirror, entropy_,
                                                              identity, options);
    } else {
      if (meeting.transport == Transport::kTls) {
        auto made = tls::TlsContext::with_key(std::vector<std::byte>(32, std::byte{0x5A}));
        DUET_CHECK(made.ok());
        tls_ = std::move(made.value());
      }
      constexpr auto kWithin = std::chrono::seconds(2);
      source_ = is_a ? interconnect::make_connecting_source(
                           scheduler, os::TcpAddress::loopback(meeting.port), tls_.get(), kWithin)
                     : interconnect::make_listening_source(scheduler, std::move(listener),
                                                           tls_.get(), kWithin);
      interconnect::StreamLinkOptions options;
      options.connects = is_a;
      link = std::make_unique<interconnect::StreamLink>(scheduler, *mirror, entropy_, *source_,
                                                        identity, options);
    }
    port = std::make_unique<nvlog::MirrorPort>(*link, *mirror, kLog.pair);
  }

  // The log of the filer that this node serves; after `root`.
  Status open(
      nvlog::Covered& root, const PersistentMemory* copy = nullptr,
      const std::function<Status(const nvlog::ReplayRecord&)>& replay =
          [](const nvlog::ReplayRecord&) -> Status { return Ok{}; }) {
    auto recovered =
        nvlog::MirroredLog::recover(scheduler_, *own, kLog, root, copy, *port, duties, {}, replay);
    if (!recovered.ok()) {
      return recovered.error();
    }
    log = std::move(recovered.value());
    root = {.epoch = root.epoch + 1,
            .last = log->last(),
            .log_empty = false,
            .mirror_generation = log->mirror_generation()};
    return log->start(root.epoch);
  }
  // A CP that covers everything, at once.  `durable_root` is told before the half is released.
  template <typename DurableRoot>
  void consistency_point(nvlog::Covered& root, DurableRoot durable_root) {
    if (!log->can_switch()) {
      return;
    }
    root.last = log->switch_half();
    root.mirror_generation = log->mirror_generation();
    durable_root(root);
    DUET_CHECK(log->release(root.last).ok());
    duties.cp_wanted = false;
  }
  [[nodiscard]] bool synced() const {
    return log->mirror_status().state == nvlog::MirrorState::kSynced;
  }

 private:
  static std::unique_ptr<os::MappedMemory> map(const std::string& path) {
    auto memory =
        os::map_persistent_memory(path, memory_bytes(), {.create = true, .accept_volatile = true});
    DUET_CHECK(memory.ok());
    return std::move(memory.value());
  }

  os::EpollScheduler& scheduler_;
  os::SystemEntropy entropy_;
  std::unique_ptr<tls::TlsContext> tls_;
  std::unique_ptr<interconnect::StreamSource> source_;

 public:
  std::unique_ptr<os::MappedMemory> own;
  std::unique_ptr<os::MappedMemory> mirror;
  std::unique_ptr<interconnect::PartnerLink> link;
  Duties duties;
  std::unique_ptr<nvlog::MirrorPort> port;
  std::unique_ptr<nvlog::MirroredLog> log;
};

}  // namespace duet::mirror_test
