// GroupWatch: tells the operator how the node's redundancy groups are: when he asks, and in the
// trace when a disk's state changes.
//
// Ownership: borrows the groups.  Thread-safety: the strand.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "admin/raid_info.h"
#include "groups/managed_group.h"
#include "platform/task_scope.h"

namespace duet::daemon {

class GroupWatch {
 public:
  using Groups = std::vector<std::unique_ptr<groups::ManagedGroup>>;

  GroupWatch(Scheduler& scheduler, const Groups& groups)
      : scheduler_(scheduler), groups_(groups), scope_(scheduler) {}

  // From now on the trace is written; what is wrong already stands there at once.  Of a group that
  // is not managed here whoever opens it says why.
  void start();
  void stop() { scope_.cancel(); }

  // Of all of the configuration that are this node's.
  [[nodiscard]] std::vector<admin::RaidGroupInfo> infos() const;
  // Of groups that are not as they should be, each with its remedy.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  Task<void> watch();
  void look();
  void look_at_repairs(const admin::RaidGroupInfo& group, const admin::RaidDiskInfo& disk);

  Scheduler& scheduler_;
  const Groups& groups_;
  std::map<std::string, std::string> told_;  // the state of each disk, by group and number
  std::map<std::string, std::uint64_t> told_repairs_;  // and blocks of it that were put right
  TaskScope scope_;
};

}  // namespace duet::daemon
