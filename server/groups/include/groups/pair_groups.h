// PairGroups: the redundancy groups of a pair, on one of its nodes.
//
//   disks (the pair's) -> ManagedGroup --PeersPort--> the partner's ManagedGroup
//                           |  intents in the memory that the partner writes into
//                           '-> VirtualPort -> filer
//
// Invariants:
//   (1) Nothing of a group is written before begin(): this process has joined the disks by then.
//   (2) The partner's manager counts as gone only after partner_fenced(), or when it said so
//   itself.
//
// Ownership: owns groups and ports; borrows disks, memory and link.  Destroying it is what a crash
// is to the partner.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "failover/shared_groups.h"
#include "groups/managed_group.h"
#include "groups/virtual_port.h"
#include "interconnect/partner_link.h"
#include "platform/memory_slice.h"
#include "platform/task_scope.h"
#include "raid/peers_port.h"

namespace duet::groups {

class PairGroups final : public failover::SharedGroups {
 public:
  // Of the configuration's disks, the pair's.
  using DiskOf = std::function<shelf::SharedDisk*(const config::Disk&)>;

  // `mirror`: the memory whose windows `link` grants; map_memory() says what of it is the groups'.
  // `incarnation`: of this process; those of a node grow.
  // REQUIRES: what is borrowed outlives it.
  PairGroups(Scheduler& scheduler, const config::Config& config, const config::Node& node,
             PersistentMemory& mirror, interconnect::PartnerLink& link, std::uint64_t incarnation,
             const DiskOf& disk_of);
  ~PairGroups() override;
  PairGroups(const PairGroups&) = delete;
  PairGroups& operator=(const PairGroups&) = delete;

  // failover::SharedGroups
  void begin() override;
  [[nodiscard]] failover::GroupsState state() const override;
  [[nodiscard]] bool ended() const override;
  [[nodiscard]] bool ready(std::uint32_t filer) const override;
  [[nodiscard]] bool lacks(std::uint64_t incarnation) const override;
  [[nodiscard]] bool was_last_alone() const override;
  void partner_fenced(std::uint64_t incarnation, std::span<shelf::SharedDisk* const> left) override;
  void shut_out_of(shelf::SharedDisk& disk) override;

  // Of this one of the configuration's, which is virtual.
  [[nodiscard]] shelf::SharedDisk& port(const config::Disk& disk) const;
  [[nodiscard]] const std::vector<std::unique_ptr<ManagedGroup>>& all() const { return groups_; }
  // Null: there is none of that name.
  [[nodiscard]] ManagedGroup* find(std::string_view name) const;

  // Leaves the groups to the partner, or leaves nothing to finish.  The first error.
  // REQUIRES: nothing is under way on the virtual disks, and nothing will come.
  Task<Status> close();

  // What an operator is to know; a text with its remedy.
  std::function<void(const std::string&)> on_trouble;

 private:
  struct Port {
    const config::Disk* disk = nullptr;
    std::uint32_t filer = 0;
    std::unique_ptr<VirtualPort> port;
  };
  Task<void> wait_for_disks(const ManagedGroup& group);
  Task<void> keep_opening(std::size_t group);
  Task<void> watch_paths(std::size_t group);
  class Borrowed;
  // Of a group: what its devices share.
  struct Access {
    std::size_t under_way = 0;                // on its disks
    std::set<const shelf::SharedDisk*> shut;  // not used while the partner may write there
    std::map<const shelf::SharedDisk*, std::uint64_t> errors;  // I/O that failed
  };
  // Empty: it can be used, as far as is known.
  static std::string absence_of(const shelf::SharedDisk& disk, const Access& access);
  [[nodiscard]] raid::ColumnSet members_among(const ManagedGroup& group,
                                              std::span<shelf::SharedDisk* const> disks) const;
  [[nodiscard]] bool can_leave(const ManagedGroup& group,
                               std::span<shelf::SharedDisk* const> left) const;
  [[nodiscard]] bool is_held_up(const ManagedGroup& group) const;
  void tell_fenced(raid::Group& manager) const;
  [[nodiscard]] raid::NodeId partner() const;

  Scheduler& scheduler_;
  const raid::NodeId self_;
  const std::uint64_t incarnation_;
  const DiskOf disk_of_;
  raid::PeersPort peers_;
  std::vector<std::unique_ptr<MemorySlice>> intents_;  // by group
  std::vector<std::unique_ptr<Access>> access_;        // by group
  std::vector<std::unique_ptr<ManagedGroup>> groups_;
  std::vector<Port> ports_;
  std::uint64_t fenced_ = 0;  // the newest process of the partner that was
  bool was_fenced_ = false;   // one was, perhaps unknown
  bool closing_ = false;
  bool spent_ = false;  // this process has no number left for another manager
  TaskScope scope_;
};

}  // namespace duet::groups
