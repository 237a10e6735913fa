// Aggregate: the block space of one filer, with its volumes and consistency points.
//
// Invariants (tests name them):
//   I1 After any crash the image on disk is exactly one CP.
//   I2 No block reachable from the committed CP or a snapshot is overwritten.
//   I3 Allocated = reachable.
//
// Ownership: borrows scheduler and devices, which outlive it.
// Thread-safety: the strand: one scheduler's thread.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "platform/block_device.h"
#include "platform/clock.h"
#include "platform/entropy.h"
#include "platform/scheduler.h"
#include "platform/task.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"
#include "wafl/volume.h"

namespace duet::wafl {

class AggregateState;  // src/aggregate_state.h

// What the root says about the request log; the root carries it, nvlog and filer mean it.
struct LogPosition {
  std::uint64_t epoch = 0;
  std::uint64_t log_id = 0;
  std::uint64_t last_sequence = 0;      // in this image, with all before it
  bool log_empty = false;               // nothing was logged after it
  std::uint64_t mirror_generation = 0;  // of the partner's copy of the log; 0: there is none
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

struct FormatOptions {
  Uuid pair{};
  std::uint32_t filer = 0;
  std::string filer_name;  // at most 63 bytes
  std::uint64_t log_id = 0;
  std::uint64_t epoch = 0;  // of the root; the first opening has the next
  Timestamp now{};
};

struct AggregateOptions {
  // Blocks in memory, changed ones included; these may pass it by a quarter.
  std::uint64_t cache_bytes = 256U << 20U;
};

struct AggregateUsage {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;   // as NFS may promise: reserve and pending changes taken off
  std::uint64_t dirty_bytes = 0;  // changed and not yet in a CP
  std::uint64_t cached_bytes = 0;
};

struct CpStatistics {
  std::uint64_t count = 0;
  std::uint64_t blocks_written = 0;         // by the last one
  std::uint64_t whole_stripes_percent = 0;  // of the blocks that the last one wrote
  Duration freeze{};                        // of the last one: clients wait this long
  Duration duration{};                      // of the last one
  // Damage that CPs met since the opening: trees given up whose blocks could not all be freed,
  // and indirect blocks of files that could not be read when something below them changed.
  std::uint64_t leaked_subtrees = 0;
  std::uint64_t lost_subtrees = 0;
};

// Since the opening: blocks with a wrong checksum, or that could not be read, on disks that can say
// in other ways what they are.
struct HealStatistics {
  std::uint64_t healed = 0;  // one of them was right
  std::uint64_t left = 0;  // of those, not put right on the disk; the next reader heals them again
  std::uint64_t failed = 0;  // none was: tries
  friend bool operator==(const HealStatistics&, const HealStatistics&) = default;
};

// Writes an empty aggregate with only the system volume.  REQUIRES: 1 .. kDisksMax devices,
// each of at least 4096 blocks.  Error: kIo.
Task<Status> format(Scheduler& scheduler, std::vector<BlockDevice*> devices, FormatOptions options,
                    Entropy& entropy);

// What is on a disk, for `duet init` and for messages.
struct DiskProbe {
  bool blank = false;  // its first 1 MiB is all zero
  bool ours = false;   // a valid label
  DiskLabel label;     // valid when `ours`
};
Task<Result<DiskProbe>> probe(BlockDevice& device);

// The newest root on `devices`, as open() would find it; writes nothing.  For whoever must know
// what an aggregate says before it may open it.  Error: as open().
Task<Result<DiskRoot>> read_root(std::vector<BlockDevice*> devices);

class Aggregate {
 public:
  // Finds the newest root, repairs its other copy, loads the datasets.  Disks may come
  // in any order.  Error: kForeign (a disk of another aggregate, or blank), kNotFound (a disk
  // is missing), kCorrupt (no valid root), kNotSupported (feature bits), kIo.
  static Task<Result<std::unique_ptr<Aggregate>>> open(Scheduler& scheduler, WallClock& clock,
                                                       std::vector<BlockDevice*> devices,
                                                       AggregateOptions options);
  ~Aggregate();
  Aggregate(const Aggregate&) = delete;
  Aggregate& operator=(const Aggregate&) = delete;

  // As of the last durable CP.
  [[nodiscard]] const DiskRoot& root() const;
  [[nodiscard]] LogPosition log_position() const;
  [[nodiscard]] AggregateUsage usage() const;
  [[nodiscard]] std::uint64_t dirty_bytes() const;  // of usage(), for every change to ask
  [[nodiscard]] const CpStatistics& cp_statistics() const;
  [[nodiscard]] const HealStatistics& heal_statistics() const;
  // Kept free so that deleting and CPs always have room.
  [[nodiscard]] std::uint64_t reserve_blocks() const;
  // What its owner may change in any CP without Volume::reserve(), paths not counted.
  void set_standing_blocks(std::uint64_t blocks);
  // The next CP writes it into the root; the aggregate only carries it.
  void set_membership_generation(std::uint64_t generation);
  [[nodiscard]] Scheduler& scheduler() const;

  // Null: no such volume.  Pointers stay valid until the volume is destroyed.
  [[nodiscard]] Volume* find_volume(VolumeId id) const;
  [[nodiscard]] Volume* find_volume(std::string_view name) const;
  // Without the system volume, in order of their ids.
  [[nodiscard]] std::vector<Volume*> volumes() const;

  // --- Consistency points.

  // Freezes in the turn of the call, before it first suspends; then writes; completes
  // when the root is durable in both copies.  One at a time.
  // Error: kIo: nothing was committed, and the aggregate takes no further change.
  Task<Status> consistency_point(LogPosition position);
  [[nodiscard]] bool cp_running() const;
  // Whether anything changed since the last freeze.
  [[nodiscard]] bool dirty() const;

  // --- Administration.  Each takes effect with the CP that must be started in the same turn.

  // Root directory: mode 0755, owner 0:0.  Error: kExists, kInvalid, kNameTooLong.
  Status create_volume(std::string_view name, std::uint64_t limit_bytes, Timestamp now);
  // A writable volume whose tree begins as the snapshot's.  It shares that one's blocks and
  // never frees them; its limit and usage count what it writes itself.  While it is there
  // the snapshot cannot be deleted.  Error: as create_volume; kNotFound; kTryAgain: not in the
  // CP that makes the snapshot.
  Status clone_volume(std::string_view origin, std::string_view snapshot, std::string_view name,
                      std::uint64_t limit_bytes, Timestamp now);
  // Error: kNotFound; kRefused while it has snapshots.
  Status destroy_volume(std::string_view name);
  Status rename_volume(std::string_view from, std::string_view to);
  // Other fsids and another key of handles: clients of what was there before find stale handles,
  // and mix nothing that they remember with what is here now.  Before anybody was answered.
  void renew_identity(Entropy& entropy);
  // A blank disk joins; it must have been labelled by label_new_disk() before.
  Task<Status> label_new_disk(BlockDevice& device, Entropy& entropy);
  Status add_disk(BlockDevice& device);

  // --- What its disks may leave out when they are rebuilt (src/needs.h).

  // From now on they are told what is needed.  For whoever alone may change the aggregate.
  // REQUIRES: they are told nothing yet, or no more.
  void tell_needs();
  // They are told nothing any more from the turn of the call on; nothing is under way for it when
  // this comes back.  Before another may change the aggregate, and before it is destroyed in order.
  Task<void> tell_no_needs();

  // --- Scrub (online).
  struct ScrubProgress {
    std::uint64_t blocks_done = 0;
    std::uint64_t errors = 0;
    std::uint64_t healed = 0;  // wrong on the disk, put right, and no error
    std::string first_error;   // which block of what
    bool stop = false;         // set by the caller to end it early
  };
  // Reads every block of a snapshot from disk and checks it; a snapshot, since its
  // blocks stay where they are meanwhile.  To scrub a live tree, make a snapshot for the time.
  // Error: kNotFound, also when the snapshot is deleted meanwhile; kIo of the inode file.
  Task<Status> scrub(VolumeId volume, SnapshotId snapshot, ScrubProgress& progress);

  AggregateState& state() { return *state_; }

 private:
  friend Task<Status> format(Scheduler&, std::vector<BlockDevice*>, FormatOptions, Entropy&);
  explicit Aggregate(std::unique_ptr<AggregateState> state);
  std::unique_ptr<AggregateState> state_;
};

}  // namespace duet::wafl
