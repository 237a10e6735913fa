// NodeGroups: the redundancy groups of a node, and what of its memory is theirs.
//
// Ownership: owns the groups; borrows the rest.  Thread-safety: the scheduler's thread.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "groups/managed_group.h"
#include "platform/memory_slice.h"

namespace duet::groups {

class NodeGroups {
 public:
  // REQUIRES: what is borrowed outlives it.
  NodeGroups(Scheduler& scheduler, const config::Config& config, const config::Node& node);
  NodeGroups(const NodeGroups&) = delete;
  NodeGroups& operator=(const NodeGroups&) = delete;

  [[nodiscard]] bool empty() const { return groups_.empty(); }
  [[nodiscard]] const std::vector<std::unique_ptr<ManagedGroup>>& all() const { return groups_; }
  // Null: there is none of that name.
  [[nodiscard]] ManagedGroup* find(std::string_view name) const;

  // The node's memory, before it is used.  REQUIRES: as large as the configuration says.
  void lay_out(PersistentMemory& memory);
  // The request log's part.  REQUIRES: laid out.
  [[nodiscard]] PersistentMemory& log_memory() { return *log_memory_; }

  // Each gives an empty text, or why not.
  std::string open_disks(const ManagedGroup::Opener& open);
  // REQUIRES: laid out, for both.
  Task<std::string> format(Entropy& entropy,
                           const std::function<void(const std::string&)>& progress);
  Task<std::string> open(Entropy& entropy);

  // REQUIRES: open; a disk that is virtual.  The configuration's reader saw to it that it is known.
  [[nodiscard]] BlockDevice* virtual_disk(const config::Disk& disk) const;

  // All of them, also when one fails.  The first error.  Of those that were never opened: nothing.
  // REQUIRES: nothing is under way on their virtual disks.
  Task<Status> close();

 private:
  const config::Config& config_;
  std::vector<std::unique_ptr<MemorySlice>> slices_;  // by group
  std::unique_ptr<MemorySlice> log_memory_;
  std::vector<std::unique_ptr<ManagedGroup>> groups_;
  std::size_t opened_ = 0;  // the first so many
};

}  // namespace duet::groups
