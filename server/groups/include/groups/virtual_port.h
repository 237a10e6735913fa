// VirtualPort: a filer's way to a virtual disk of a group that both nodes of a pair manage.
//
//   looking --the group is managed here--> managing
//
// While this node only looks, reads tell what stands on the group's disks, as far as that can be
// told without locks (raid/onlooker.h), and writes fail.  It says so itself that it is no disk that
// could shut anybody out: the group's disks are, each of them.  There is no other way to a block
// then, and nobody is listened to who says what he needs.
//
// Ownership: borrows the group and the memory.  Thread-safety: the scheduler's thread.

#pragma once

#include <memory>
#include <string>

#include "groups/managed_group.h"
#include "platform/task_scope.h"
#include "shelf/shared_disk.h"

namespace duet::groups {

class VirtualPort final : public shelf::SharedDisk, private Redundancy {
 public:
  // `name`: of the virtual disk.  `memory`: the node's part of the group's intents.
  VirtualPort(Scheduler& scheduler, ManagedGroup& group, const PersistentMemory& memory,
              std::string name)
      : scheduler_(scheduler),
        group_(group),
        memory_(memory),
        name_(std::move(name)),
        scope_(scheduler) {}

  [[nodiscard]] std::uint64_t block_count() const override;
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] std::uint32_t stripe_blocks() const override;
  void start(BlockOperation& operation) override;
  [[nodiscard]] Redundancy* redundancy() override { return this; }

  [[nodiscard]] shelf::DiskKey key() const override { return shelf::kNoKey; }
  [[nodiscard]] shelf::DiskFeatures features() const override { return {}; }
  [[nodiscard]] shelf::DiskHealth health() const override;
  void use_epoch(std::uint64_t /*epoch*/) override {}
  // kNotSupported, whatever it is.
  void start_command(shelf::DiskCommand& command) override;

  [[nodiscard]] const ManagedGroup& group() const { return group_; }

 private:
  // Null: this node does not manage the group.
  [[nodiscard]] BlockDevice* disk() const;
  void start(Redundancy::Operation& operation) override;
  void set_needed(Needed needed) override;
  static Task<void> look(VirtualPort& port, BlockOperation& operation);
  Task<Status> read_unlocked(const BlockOperation& operation);

  Scheduler& scheduler_;
  ManagedGroup& group_;
  const PersistentMemory& memory_;
  const std::string name_;
  TaskScope scope_;
};

}  // namespace duet::groups
