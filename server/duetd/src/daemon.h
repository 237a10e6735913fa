// Daemon: one node at work, from its files to its last reply.
//
//   map memory -> the role's files -> administration -> threads -> the role begins -> [signal]
//     -> the role stops -> threads end
//
// Ownership: owns all of it.  Thread-safety: one thread, which runs the strand.

#pragma once

#include <memory>
#include <string>

#include "admin/http/http_server.h"
#include "machine.h"
#include "platform/linux/signal_source.h"
#include "platform/task_scope.h"
#include "role.h"
#include "supervisor/parent_link.h"

namespace duet::daemon {

class Daemon {
 public:
  // `parent`: of a node of a pair, its supervisor; borrowed.
  Daemon(config::Config config, const std::string& node_name,
         supervisor::ParentLink* parent = nullptr);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Works until a signal ends it.  The program's exit code: 0 stopped as asked, 1 failed,
  // 2 the configuration or the machine does not allow it.
  int run();

 private:
  // Each gives an empty text, or why not.
  std::string open_memory();
  std::string open_role() { return role_->open(); }
  std::string open_admin();
  void close_admin();

  Task<void> main(int& exit_code);
  Task<int> work();
  Task<admin::Response> answer(admin::Request request);

  Machine machine_;
  os::SignalSource signals_;
  std::unique_ptr<Role> role_;
  bool answering_ = false;
  admin::HttpServer http_;
  TaskScope scope_;
};

}  // namespace duet::daemon
