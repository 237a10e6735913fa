// LateDisk: stands in for a disk that cannot be reached yet.
//
//   away --opened--> here --admit()--> admitted: everything passes
//    |  ^                   ^            |
//    '--+                   '-dismiss()--'
//    tries to open it again and again, beside its user
//
// Invariants:
//   (1) Away, everything fails at once with kIo: who asks is held up by nothing.  When the target
//       refused this node because a newer process of it is there, commands fail with kFenced, as
//       they would on the disk.
//   (2) Nothing is written to the disk before admit(): its user joins it first (fence.h), and looks
//       at what stands there.  Reads and the other commands pass as soon as it is here.
//   (3) health() says connected only once it was admitted: who plans with a disk may write to it.
//
// block_count() is 0 while it is away.
//
// Ownership: owns the disk once it is open; borrows the scheduler.  Destroying it ends the tries.
// Thread-safety: the scheduler's thread only.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "platform/task_scope.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

class LateDisk final : public SharedDisk {
 public:
  // One attempt; it ends after some seconds.  The disk has the key that LateDisk was given.
  using Opener = std::function<Task<Result<std::unique_ptr<SharedDisk>>>()>;

  // Begins to try at once; `retry` lies between two attempts.
  LateDisk(Scheduler& scheduler, DiskKey key, std::string name, Opener opener, Duration retry);
  ~LateDisk() override;
  LateDisk(const LateDisk&) = delete;
  LateDisk& operator=(const LateDisk&) = delete;

  // It was opened: it may be read, joined and admitted.
  [[nodiscard]] bool here() const { return disk_ != nullptr; }
  // It is here, and its target answers, as far as is known.
  [[nodiscard]] bool reachable() const { return here() && disk_->health().connected; }
  // Attempts that failed, and why the last one did.
  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  [[nodiscard]] const Error& last_error() const { return last_error_; }
  // A newer process of this node is at the target.
  [[nodiscard]] bool superseded() const {
    return disk_ == nullptr && last_error_.code == Errc::kFenced;
  }
  // REQUIRES: here().
  void admit();
  // It was lost before its user began: to be joined and looked at anew.
  void dismiss() { admitted_ = false; }
  [[nodiscard]] bool admitted() const { return admitted_; }

  [[nodiscard]] std::uint64_t block_count() const override;
  [[nodiscard]] std::string_view name() const override { return name_; }
  void start(BlockOperation& operation) override;
  [[nodiscard]] DiskKey key() const override { return key_; }
  // Away nothing is known of the target, and nothing is begun there for which it mattered.
  [[nodiscard]] DiskFeatures features() const override;
  [[nodiscard]] DiskHealth health() const override;
  void use_epoch(std::uint64_t epoch) override;
  void begin_anew() override;
  void start_command(DiskCommand& command) override;

 private:
  Task<void> keep_trying();

  Scheduler& scheduler_;
  const DiskKey key_;
  const std::string name_;
  const Opener opener_;
  const Duration retry_;
  const Instant since_;  // it is away
  std::unique_ptr<SharedDisk> disk_;
  bool admitted_ = false;
  std::uint64_t epoch_ = 0;
  std::uint64_t failures_ = 0;
  Error last_error_{Errc::kIo, "it was not reached yet"};
  TaskScope scope_;
};

}  // namespace duet::shelf
