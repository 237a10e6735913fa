// SnapshotSender: a snapshot, or what changed since an older one, as a stream (stream_format.h).
//
// What changed is found by birth: only blocks born after the older snapshot are read, and of
// directories the blocks that they took the place of.  Names are sent, not directory blocks:
// another aggregate hashes them by another key.
//
// Ownership: borrows the aggregate.  Thread-safety: the aggregate's strand.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "platform/task.h"
#include "wafl/aggregate.h"
#include "wafl/attempt.h"
#include "wafl/directory_format.h"
#include "wafl/stream_format.h"
#include "wafl/types.h"

namespace duet::wafl {

class SnapshotSender {
 public:
  struct Statistics {
    std::uint64_t frames = 0;
    std::uint64_t inodes = 0;
    std::uint64_t blocks = 0;
    std::uint64_t names = 0;
  };

  // Error: kNotFound: no such volume or snapshot; kInvalid: `from` is not older.
  static Result<std::unique_ptr<SnapshotSender>> make(Aggregate& aggregate, VolumeId volume,
                                                      SnapshotId snapshot,
                                                      std::optional<SnapshotId> from);

  // Appends at least one frame, until about `bytes` are there, or the end is.
  // Error: kNotFound: a snapshot was deleted meanwhile; kIo, kCorrupt.
  Task<Status> next(std::vector<std::byte>& out, std::size_t bytes);
  [[nodiscard]] bool done() const { return phase_ == Phase::kDone; }
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

 private:
  enum class Phase : std::uint8_t { kHeader, kRemovals, kInodes, kEntries, kEnd, kDone };
  using Out = std::vector<std::byte>;

  SnapshotSender(Aggregate& aggregate, VolumeId volume, const DiskDataset& snapshot,
                 const DiskDataset& from);

  [[nodiscard]] bool still_there() const;
  Status step(Attempt& attempt, Out& out);
  void header(Out& out);
  // The inode at leaf_ and slot_, or the next one that changed; false: the phase is over.
  Result<bool> find_inode(Attempt& attempt);
  void next_inode();
  void next_phase();
  // One unit of the inode at hand.
  Status removals(Attempt& attempt, Out& out);
  Status inode(Attempt& attempt, Out& out);
  Status begin_inode(Attempt& attempt, Out& out);
  Status blocks(Attempt& attempt, Out& out);
  Status entries(Attempt& attempt, Out& out);
  Result<bool> has_entry(Attempt& attempt, SnapshotId snapshot, const DirectoryRecord& record);
  Status names_of_block(Attempt& attempt, Out& out, const BlockPointer& pointer, FrameType type,
                        std::optional<SnapshotId> unless_in);
  void frame(Out& out, FrameType type, ConstBytes body, ConstBytes more);
  // Whether both snapshots have this inode with one generation and type.
  [[nodiscard]] bool same_inode() const;

  Aggregate& aggregate_;
  const VolumeId volume_;
  const DiskDataset snapshot_;
  const DiskDataset from_;  // all zero: none
  Phase phase_ = Phase::kHeader;
  Statistics statistics_;

  // Where it is.
  std::uint64_t leaf_ = 0;  // of the inode file
  std::uint64_t slot_ = 0;
  bool found_ = false;  // old_ and new_ are of that inode
  DiskInode old_;
  DiskInode new_;
  bool begun_ = false;       // its frame was sent
  std::uint64_t block_ = 0;  // of its file
};

}  // namespace duet::wafl
