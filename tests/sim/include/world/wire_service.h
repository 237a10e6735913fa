// WireService: to the filer as clients come: NFSv3 in ONC RPC over a connection for each client,
// which cuts and delays.  Encodes and decodes by hand, from RFC 1813 alone.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "platform/task_scope.h"
#include "server/nfs3.h"
#include "server/service.h"
#include "sim/sim_scheduler.h"
#include "sim/sim_stream.h"
#include "world/service.h"

namespace duet::world {

class WireService final : public Service {
 public:
  WireService(sim::SimScheduler& scheduler, filer::Filer& filer);
  // kClosed: the server ended the connection without an answer.
  Task<Answer> call(const filer::Caller& caller, const Operation& operation) override;

 private:
  struct Connection {
    explicit Connection(Scheduler& scheduler) : arrived(scheduler) {}
    std::unique_ptr<sim::SimStream> stream;
    std::string received;
    std::map<std::uint32_t, std::string> replies;  // by xid: what follows the RPC header
    bool ended = false;
    WaitList arrived;
  };
  Connection& connect(const filer::Caller& caller);
  Task<void> receive(Connection& connection);
  static void take_replies(Connection& connection);

  sim::SimScheduler& scheduler_;
  server::Nfs3Program program_;
  server::Service server_;
  std::map<filer::Address, std::unique_ptr<Connection>> connections_;
  TaskScope scope_;
};

}  // namespace duet::world
