// HostDisks: the virtual disks that hosts attach over NBD, through this node.
//
//   start() -> [a group is managed here] -> listening -> stop(): finish, or cut
//                                              '-> a group ended: all connections end at once
//
// Invariants:
//   (1) Hosts reach a disk only while this node manages its group; before, nobody listens, so that
//       they go to the other node.
//   (2) What waits in the group (a view that changes, a lock) waits for them too.
//
// Ownership: borrows machine, groups and gate.  Requests under way hold operations of the groups:
// the groups are destroyed before it, or it has stopped.
// Thread-safety: the strand.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "admin/nbd_info.h"
#include "failover/pair_node.h"
#include "groups/managed_group.h"
#include "machine.h"
#include "nbd/server.h"
#include "platform/task_scope.h"
#include "server_linux/listener.h"

namespace duet::daemon {

class HostDisks {
 public:
  using FindGroup = std::function<groups::ManagedGroup*(std::string_view name)>;

  // `find`: of the groups that the node manages; null: it does not.  `gate`: asked before each
  // reply; null: always.
  HostDisks(Machine& machine, FindGroup find, filer::AnswerGate* gate);
  HostDisks(const HostDisks&) = delete;
  HostDisks& operator=(const HostDisks&) = delete;

  // Whether the node's addresses are there and free.  Empty: they are, or none is needed.
  [[nodiscard]] static std::string check(Machine& machine);
  void start();
  // Hosts go elsewhere: what they have asked for is finished and answered, if that takes no longer
  // than `patience`.
  Task<void> stop(Duration patience);

  [[nodiscard]] admin::NbdInfo info() const;

 private:
  struct Disk {
    const config::RaidGroup* group = nullptr;
    const config::VirtualDisk* disk = nullptr;
  };
  [[nodiscard]] BlockDevice* device(const Disk& disk) const;
  [[nodiscard]] bool some_group_ended() const;
  Task<void> watch();
  std::string listen();
  Task<void> drain(bool& done);

  Machine& machine_;
  const FindGroup find_;
  std::vector<Disk> disks_;  // as the server counts its exports
  bool ended_ = false;       // a group: this process goes on to its end
  nbd::Server server_;
  std::vector<std::unique_ptr<server::Listener>> listeners_;
  TaskScope scope_;
};

// In a pair nothing is answered but under the lease (failover/pair_node.h).
class LeaseGate final : public filer::AnswerGate {
 public:
  explicit LeaseGate(failover::PairNode& pair) : pair_(pair) {}
  [[nodiscard]] bool may_answer() const override { return pair_.lease_valid(); }
  WaitList& resumed() override { return pair_.answers_resumed(); }

 private:
  failover::PairNode& pair_;
};

}  // namespace duet::daemon
