// Hub: what the connections of a server share.
// Thread-safety: the scheduler's thread.

#pragma once

#include <list>
#include <vector>

#include "buffers.h"
#include "nbd/server.h"
#include "platform/task_scope.h"
#include "server/client_counts.h"

namespace duet::nbd {

class Connection;

struct Hub {
  Hub(Scheduler& on, std::vector<Export> served, filer::AnswerGate* answers,
      const ServerOptions& limits);
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  // What this client may do with the export of that name; null: nothing.
  [[nodiscard]] const filer::ExportRule* rule(const std::string& name,
                                              const filer::Address& client) const {
    return table.find(name, client);
  }
  // Whether this client may do anything.
  [[nodiscard]] bool knows(const filer::Address& client) const;

  // Sees to it that deadlines are looked at while there are connections.
  void watch_deadlines();

  Scheduler& scheduler;
  const std::vector<Export> exports;
  filer::ExportTable table;  // who may have which
  filer::AnswerGate* const gate;
  const ServerOptions options;
  Buffers buffers;
  std::vector<ExportCounters> counters;  // by export
  ServerCounters totals;
  server::ClientCounts clients;
  std::list<Connection*> all;
  bool draining = false;

 private:
  struct Sweep final : Continuation {
    explicit Sweep(Hub& owner) : hub(owner) {}
    void run() override { hub.sweep(); }
    Hub& hub;
  };
  void sweep();
  Sweep sweep_{*this};

 public:
  TaskScope connections;  // last: its tasks use all of the above
};

}  // namespace duet::nbd
