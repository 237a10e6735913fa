// The stages of a check, in the order in which they run.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "image.h"
#include "tree_walk.h"

namespace duet::wafl {

// A volume's records, as the dataset file has them.
struct CheckDataset {
  DiskDataset record;
  std::uint32_t birth = 0;  // of the block that holds the record
  [[nodiscard]] std::string name() const;
};
struct CheckVolume {
  std::uint32_t id = 0;
  std::vector<CheckDataset> snapshots;  // oldest first
  std::vector<CheckDataset> live;       // one; or a dying one
  std::optional<DiskDataset> origin;    // the snapshot that it is a clone of
};

// Labels, disk table, both roots.  False: nothing can be checked further.
Task<bool> load_image(Image& image, std::vector<BlockDevice*> devices);

// The trees of the aggregate itself; gives the volumes.
Task<std::vector<CheckVolume>> check_aggregate_trees(Image& image);

// All datasets of one volume: trees, zombies, dead lists, counts.
Task<void> check_volume(Image& image, CheckVolume& volume);

// One inode of an inode file's block; `birth` is that block's.
Task<void> check_inode(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth,
                       std::uint64_t number, DiskInode inode, std::uint32_t birth);
// The inode map's new blocks, and its count, against the inodes.
Task<void> check_inode_map(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth);
// Whether the inode map says that `number` is in use.
Task<bool> in_inode_map(Image& image, const DiskDataset& record, std::uint64_t number);

// What died between `before` and `dataset`, against the dead list and zombies of `dataset`.
// `origin_cp`: what was born up to it is the origin's, and none of the clone's dead.
Task<void> check_dead(Image& image, const DiskDataset& before, const CheckDataset& dataset,
                      std::uint32_t origin_cp);
// Whether all that a clone's dataset shares with its origin stands there in the same place.
Task<void> check_shared(Image& image, const DiskDataset& origin, const CheckDataset& dataset);

// Directories, names and link counts of one dataset.
Task<void> check_names(Image& image, const CheckDataset& dataset);

// Block map, area map and the counts of free blocks against what was reached.
Task<void> check_maps(Image& image);

// --- Helpers.

inline WalkRules rules_of(TreeKind kind, const CheckDataset& dataset) {
  WalkRules rules;
  rules.kind = kind;
  rules.volume = dataset.record.volume;
  rules.birth_max = dataset.birth;
  return rules;
}
// Rules to look at a tree again whose blocks were checked before.
inline WalkRules look_rules(TreeKind kind, const CheckDataset& dataset, LeafReads reads) {
  WalkRules rules = rules_of(kind, dataset);
  rules.mark = false;
  rules.into_shared = true;
  rules.reads = reads;
  return rules;
}

}  // namespace duet::wafl
