// Daemon: one node at work, from its files to its last reply.
//
//   bind sockets -> map memory -> open disks -> open the filer (replay) -> serve -> [signal]
//     -> refuse new work -> drain -> last CP -> end
//
// Until the filer is open nothing was changed, so every refusal before that is harmless.
//
// Ownership: owns all of it.  Thread-safety: one thread, which runs the strand.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "admin/api.h"
#include "admin/http/http_server.h"
#include "config/config.h"
#include "filer/filer.h"
#include "platform/linux/block_device.h"
#include "platform/linux/clock.h"
#include "platform/linux/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"
#include "platform/linux/signal_source.h"
#include "platform/task_scope.h"
#include "reactor.h"

namespace duet::daemon {

class Daemon {
 public:
  // `filer` and `node` are parts of `config`.
  Daemon(config::Config config, const std::string& node_name);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Serves until a signal ends it.  The program's exit code: 0 stopped as asked, 1 failed,
  // 2 the configuration or the machine does not allow it.
  int run();

 private:
  struct Disk {
    std::string path;
    std::unique_ptr<BlockDevice> device;
  };

  // Each gives an empty text, or why not.
  std::string bind_listeners();
  std::string open_admin();
  std::string open_memory();
  std::string open_disks();
  // The socket of one address for each reactor.
  std::string bind(const config::Listener& listener);

  Task<void> main(int& exit_code);
  Task<int> open_and_serve();
  Task<int> open_filer();
  void start_reactors();
  Task<int> serve();
  Task<void> reload();
  Task<bool> stop();
  Task<void> tell_rpcbind(bool set);
  void make_api();
  Task<admin::Response> answer(admin::Request request);
  Task<admin::ServerCounters> count();
  [[nodiscard]] std::vector<admin::DiskInfo> disk_infos() const;
  std::pair<BlockDevice*, std::string> add_disk(const std::string& path);
  void close_disk(const BlockDevice* device);

  const config::Config config_;
  const config::Node& node_;
  const config::Filer& filer_config_;

  os::EpollScheduler strand_;
  os::SignalSource signals_;
  os::SystemClock clock_;
  os::SystemEntropy entropy_;
  std::unique_ptr<os::MappedMemory> memory_;
  std::vector<Disk> disks_;
  std::unique_ptr<filer::Filer> filer_;
  server::MountList mounts_;
  std::vector<std::unique_ptr<os::EpollScheduler>> schedulers_;  // of reactors 1 and up
  // sockets_[reactor]: what it will listen on, until it does.
  std::vector<std::vector<std::unique_ptr<os::TcpListener>>> sockets_;
  std::vector<std::unique_ptr<Reactor>> reactors_;
  std::unique_ptr<admin::Api> api_;  // null while starting and stopping
  admin::HttpServer http_;
  TaskScope scope_;
};

}  // namespace duet::daemon
