// ServedFiler: what clients and operators reach of one filer on this node.
//
//   closed --listen()--> listening --start()--> serving --drain() or cut()--> silent --close()-->
//   closed
//
// While it only listens, connections are taken by the kernel and wait.
//
// Ownership: borrows machine, configuration and filer.  Thread-safety: the strand.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/api.h"
#include "machine.h"
#include "platform/wait.h"
#include "reactor.h"

namespace duet::daemon {

// What the operator may ask of the filer's disks.
struct DiskAccess {
  std::function<std::vector<admin::DiskInfo>()> list;
  // As admin::Context.
  std::function<std::pair<BlockDevice*, std::string>(const std::string& path)> open;
  std::function<void(BlockDevice*)> close;
  // The redundancy groups that they lie on; may be none.
  std::function<std::vector<admin::RaidGroupInfo>()> groups = {};
  std::function<Task<admin::RaidOutcome>(admin::RaidOrder order)> order = {};
};

// Of a pair: listening sockets, one for each of the filer's listeners, from and to the supervisor,
// which keeps them over a crash.
struct SocketKeeper {
  std::function<Result<int>(std::size_t listener)> open;
  std::function<void(std::size_t listener)> close;
};

// What to say when a listener of the configuration `file` does not open.
[[nodiscard]] std::string cannot_listen(const std::string& file, const config::Listener& listener,
                                        const Error& error);

class ServedFiler {
 public:
  // Without a keeper it binds for itself, a socket for each reactor.  `observer` is called on the
  // reactors' threads.
  ServedFiler(Machine& machine, const config::Filer& configured, DiskAccess disks,
              SocketKeeper keeper = {}, server::AcceptObserver observer = {});
  ~ServedFiler();
  ServedFiler(const ServedFiler&) = delete;
  ServedFiler& operator=(const ServedFiler&) = delete;

  // What `status` is to warn of beside the filer's own; may be none.
  std::function<std::vector<std::string>()> more_warnings;

  // Binds every address for every reactor, unless it listens already.  An empty text, or why not;
  // then nothing is bound.
  Task<std::string> listen();
  // REQUIRES: listening; `filer` lives until close() has completed.
  Task<void> start(filer::Filer& filer);

  // Ends administration; then finishes what clients asked for and sends the replies.
  Task<void> drain();
  // No reply leaves from the moment that this completes, and nothing more arrives.
  Task<void> cut();
  // REQUIRES: silent, and nothing of a request is under way in the filer, or will soon be so.
  Task<void> close();

  Task<admin::Response> answer(admin::Request request);
  // Nothing while it does not serve.
  Task<admin::Metrics> metrics(admin::Metrics::Labels always);
  // The configuration file's exports become the filer's.  Empty: done; else why not.
  Task<std::string> reload_exports();

  [[nodiscard]] std::string first_address() const;
  [[nodiscard]] bool serves() const { return api_ != nullptr; }

 private:
  // What a keeper keeps is all the strand's.
  [[nodiscard]] std::uint32_t reactors() const { return keeper_.open ? 1 : machine_.reactors(); }
  std::string bind(os::EpollScheduler& scheduler, Sockets& sockets) const;
  std::string get_kept(Sockets& sockets) const;
  void give_up_kept();
  Task<void> end_administration();
  Task<admin::ServerCounters> count();
  void make_api(filer::Filer& filer);

  Machine& machine_;
  const config::Filer& configured_;
  const DiskAccess disks_;
  const SocketKeeper keeper_;
  const server::AcceptObserver observer_;
  bool listening_ = false;
  server::MountList mounts_;
  std::vector<Sockets> sockets_;                    // by reactor, until start()
  std::vector<std::unique_ptr<Reactor>> reactors_;  // each of its own thread
  std::unique_ptr<admin::Api> api_;
  std::size_t asked_ = 0;  // administrative requests under way
  WaitList answered_;
};

}  // namespace duet::daemon
