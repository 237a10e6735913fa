// GroupWatch: tells the operator how the node's redundancy groups are: when he asks, and in the
// trace when a disk's state changes.
//
// Ownership: borrows the groups.  Thread-safety: the strand.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "admin/raid_info.h"
#include "groups/node_groups.h"
#include "platform/task_scope.h"

namespace duet::daemon {

class GroupWatch {
 public:
  GroupWatch(Scheduler& scheduler, const groups::NodeGroups& groups)
      : scheduler_(scheduler), groups_(groups), scope_(scheduler) {}

  // From now on the trace is written; what is wrong already stands there at once.
  // REQUIRES: the groups are open until stop(), also for the rest.
  void start();
  void stop() { scope_.cancel(); }

  [[nodiscard]] std::vector<admin::RaidGroupInfo> infos() const;
  // Of groups that are not as they should be, each with its remedy.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  Task<void> watch();
  void look();

  Scheduler& scheduler_;
  const groups::NodeGroups& groups_;
  std::map<std::string, std::string> told_;  // the state of each disk, by group and number
  TaskScope scope_;
};

}  // namespace duet::daemon
