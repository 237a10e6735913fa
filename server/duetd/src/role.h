// Role: what a node does: serve one filer alone, or stand in a pair.
//
//   open() -> begin() -> [reload(), answer()]* -> stop()
//
// Thread-safety: the strand.

#pragma once

#include <string>

#include "admin/api.h"
#include "platform/task.h"

namespace duet::daemon {

class Role {
 public:
  virtual ~Role() = default;

  // Opens what can be had without waiting.  An empty text, or why not; nothing was changed.
  virtual std::string open() = 0;
  // kExitOk: the node works.  Else the program's exit code; why was said.
  virtual Task<int> begin() = 0;
  // SIGHUP: the exports of the configuration file.
  virtual Task<void> reload() = 0;
  // Comes to an orderly end.  The program's exit code; kExitFailed: what was acknowledged is in the
  // log only.
  virtual Task<int> stop() = 0;

  virtual Task<admin::Response> answer(admin::Request request) = 0;
};

}  // namespace duet::daemon
