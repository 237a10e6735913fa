// Scrub: reads every block of a snapshot from disk, past the cache, and checks it; what is wrong is
// healed where it can be.

#include <algorithm>
#include <string>
#include <vector>

#include "aggregate_state.h"
#include "disk_set.h"
#include "heal.h"
#include "inode_codec.h"
#include "tree_reader.h"
#include "wafl/aggregate.h"

namespace duet::wafl {

namespace {

using Progress = Aggregate::ScrubProgress;

class Scrubber {
 public:
  Scrubber(AggregateState& state, VolumeId volume, SnapshotId snapshot, Progress& progress)
      : state_(state), volume_(volume), snapshot_(snapshot), progress_(progress) {}

  // All blocks below `root`; those of an inode file lead to the trees of its inodes.
  Task<void> tree(TreeRoot root, bool inode_file, std::uint64_t inode) {
    inode_ = inode;
    if (!root.pointer.hole()) {
      const std::vector<BlockPointer> top{root.pointer};
      co_await level(top, root.height, inode_file);
    }
  }

 private:
  Task<void> level(std::vector<BlockPointer> pointers, std::uint32_t height, bool inode_file);
  Task<void> below(ConstBytes content, std::uint32_t height, bool inode_file);
  Task<bool> right(BlockPointer pointer, MutableBytes bytes);
  void report(const BlockPointer& pointer, std::uint32_t height);

  AggregateState& state_;
  const VolumeId volume_;
  const SnapshotId snapshot_;
  Progress& progress_;
  std::uint64_t inode_ = 0;
};

void Scrubber::report(const BlockPointer& pointer, std::uint32_t height) {
  if (progress_.errors++ == 0) {
    progress_.first_error = "block " + std::to_string(pointer.block()) + " (level " +
                            std::to_string(height) + " of inode " + std::to_string(inode_) + ")";
  }
}

// Of a snapshot that was deleted meanwhile a pointer says nothing.
Task<bool> Scrubber::right(BlockPointer pointer, MutableBytes bytes) {
  if (crc32c(bytes) == pointer.checksum) {
    co_return true;
  }
  const Volume* const owner = state_.aggregate->find_volume(volume_);
  if (owner == nullptr || !owner->find_snapshot(snapshot_)) {
    co_return false;
  }
  const bool healed = co_await heal(state_, pointer, state_.root.cp, bytes);
  progress_.healed += healed ? 1 : 0;
  co_return healed;
}

Task<void> Scrubber::level(std::vector<BlockPointer> pointers, std::uint32_t height,
                           bool inode_file) {
  std::vector<BufferRef> buffers;
  std::vector<bool> readable(pointers.size(), true);
  {
    IoBatch reads(state_.scheduler, state_.disks, BlockOperation::Kind::kRead);
    for (std::size_t i = 0; i < pointers.size(); ++i) {
      buffers.push_back(state_.pool.allocate_zeroed());
      readable[i] = pointers[i].block() < state_.disks.block_count();
      if (readable[i]) {
        reads.add(pointers[i].block(), buffers.back());
      }
    }
    // A block that did not arrive has a wrong checksum: its buffer began as zeros.
    (void)co_await reads.finish();
  }
  for (std::size_t i = 0; i < pointers.size() && !progress_.stop; ++i) {
    ++progress_.blocks_done;
    bool sound = readable[i];
    if (sound) {
      sound = co_await right(pointers[i], buffers[i].mutable_bytes());
    }
    if (!sound) {
      report(pointers[i], height);
    } else if (height > 0 || inode_file) {
      co_await below(buffers[i].bytes(), height, inode_file);
    }
  }
}

Task<void> Scrubber::below(ConstBytes content, std::uint32_t height, bool inode_file) {
  if (height > 0) {
    std::vector<BlockPointer> children;
    for (std::size_t slot = 0; slot < kFanOut; ++slot) {
      const BlockPointer child = child_pointer(content, slot);
      if (!child.hole()) {
        children.push_back(child);
      }
    }
    co_await level(std::move(children), height - 1, inode_file);
    co_return;
  }
  for (std::size_t i = 0; i < kInodesPerBlock && !progress_.stop; ++i) {
    const auto inode = load<DiskInode>(content, i * sizeof(DiskInode));
    if (inode.type != 0 && plausible(inode)) {
      co_await tree(inode.tree, false, i);
    }
  }
}

}  // namespace

Task<Status> Aggregate::scrub(VolumeId volume, SnapshotId snapshot, ScrubProgress& progress) {
  Volume* owner = find_volume(volume);
  if (owner == nullptr) {
    co_return Error{Errc::kNotFound, "scrub: no such volume"};
  }
  DiskDataset record;
  for (const auto& candidate : owner->state_->snapshots) {
    if (SnapshotId{candidate->record.snapshot} == snapshot &&
        candidate.get() != owner->state_->snapshot_of_cp) {
      record = candidate->record;
    }
  }
  if (record.state != kDatasetSnapshot) {
    co_return Error{Errc::kNotFound, "scrub: no such snapshot"};
  }
  Scrubber scrubber(*state_, volume, snapshot, progress);
  co_await scrubber.tree(record.inode_map, false, 1);
  co_await scrubber.tree(record.inode_file, true, 0);
  owner = find_volume(volume);
  if (owner == nullptr || !owner->find_snapshot(snapshot)) {
    co_return Error{Errc::kNotFound, "scrub: the snapshot was deleted meanwhile"};
  }
  co_return Ok{};
}

}  // namespace duet::wafl
