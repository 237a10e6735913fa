// CpWriter: one consistency point, from the freeze to the durable root.
//
//   freeze()   in one turn: current layers become frozen, records are copied
//   write()    while clients go on: trees, dead lists, datasets, maps; flush;
//              root A; flush; root B; flush
//   commit()   in one turn: what was written becomes what everybody reads
//
// Until commit() nothing that clients see depends on the CP, and until both roots are durable
// nothing that it freed is used again.
//
// Thread-safety: the strand.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cp_context.h"
#include "platform/task.h"
#include "tree_writer.h"
#include "volume_state.h"
#include "wafl/aggregate.h"

namespace duet::wafl {

class CpWriter {
 public:
  CpWriter(AggregateState& state, const LogPosition& position);
  ~CpWriter() { state_.running_allocator = nullptr; }
  CpWriter(const CpWriter&) = delete;
  CpWriter& operator=(const CpWriter&) = delete;

  void freeze();
  Task<Status> write();
  void commit();

 private:
  using InodeList = std::vector<Inode*>;

  void freeze_features(const VolumeState& volume);
  void freeze_volume(Volume& volume);
  void grow(const Growth& growth);
  Task<Status> write_volumes();
  Task<Status> write_volume(Volume& volume, InodeList inodes);
  Task<Status> write_inodes(VolumeState& volume, const InodeList& inodes, Reclaimer& reclaimer);
  Task<Status> write_inode(VolumeState& volume, Inode& inode, Reclaimer& reclaimer);
  Task<Status> write_inode_file(VolumeState& volume, const InodeList& inodes, Reclaimer& reclaimer);
  Task<Status> merge_deleted_snapshots(VolumeState& volume);
  Task<Status> reap(VolumeState& volume, Reclaimer& live_reclaimer);
  Task<Status> write_lists(VolumeState& volume, const std::vector<BlockPointer>& dead);
  void record_volume(VolumeState& volume);
  Task<Status> write_datasets();
  Task<Status> write_maps();
  Task<Status> write_roots();
  void commit_volume(VolumeState& volume);

  AggregateState& state_;
  DiskRoot root_;
  CpContext context_;
  Instant started_;
  std::vector<std::uint32_t> area_free_;
  std::vector<std::pair<std::uint64_t, DiskDataset>> records_;  // changed dataset slots
  std::optional<Growth> growth_;
};

}  // namespace duet::wafl
