// Which nodes of a pair live, seen on its disks.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "platform/scheduler.h"
#include "platform/task.h"
#include "shelf/shared_disk.h"

namespace duet::cli {

struct LivingNode {
  std::uint32_t node = 0;     // 0: a
  std::uint32_t serving = 0;  // bit f: it says that it hosts filer f
};

// The nodes, of any pair, whose mailbox changes on one of `disks`; takes a few beats when a node
// ever beat there.  A node that is stopped in the middle (SIGSTOP) is not seen.  Error: as the
// disks.
Task<Result<std::vector<LivingNode>>> find_living(Scheduler& scheduler,
                                                  std::vector<shelf::SharedDisk*> disks);

// "node a is alive and serves filer a; stop its duetd".
[[nodiscard]] std::string text_of(const LivingNode& node);

}  // namespace duet::cli
