// Hub: what the connections of one reactor share.
//
// Invariant: a connection is in `idle` (no record begun, no request), in `receiving` (a record
// begun) or in neither; in `sending` while a write waits for its peer.  All three are ordered by
// `since`, so the first is the oldest and deadlines look only there.
//
// Thread-safety: the reactor's thread.

#pragma once

#include <memory>
#include <vector>

#include "platform/task_scope.h"
#include "rpc/hook_list.h"
#include "rpc/receive_buffer.h"
#include "server/client_counts.h"
#include "server/service.h"

namespace duet::server {

struct Hub {
  Hub(Scheduler& on, std::vector<Program*> served, const ServiceOptions& limits);
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  Call* take_call();
  void recycle(Call* call);
  [[nodiscard]] Program* find(std::uint32_t number) const;

  // Makes room for one more connection of this client.  False: there is none.
  bool admit(const filer::Address& address);
  void leave(const filer::Address& address);
  // Receive memory is short: closes the connections whose open records are oldest, if they are
  // old, until there will be enough.
  void make_memory();
  // Sees to it that deadlines are looked at.
  void watch_deadlines();

  Scheduler& scheduler;
  const std::vector<Program*> programs;
  const ServiceOptions options;
  ChunkPool pool;
  ServiceStatistics statistics;
  std::size_t requests = 0;  // under way
  bool draining = false;
  HookList idle;
  HookList receiving;
  HookList sending;
  HookList all;

 private:
  struct Sweep final : Continuation {
    explicit Sweep(Hub& owner) : hub(owner) {}
    void run() override { hub.sweep(); }
    Hub& hub;
  };
  void sweep();
  void close_overdue(HookList& list, Duration timeout);
  bool evict_oldest_record();

  std::vector<std::unique_ptr<Call>> free_calls_;
  ClientCounts clients_;
  Sweep sweep_{*this};

 public:
  TaskScope connections;  // last: its tasks use all of the above
};

}  // namespace duet::server
