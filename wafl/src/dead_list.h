// Dead lists and zombies: blocks and trees that wait to be freed.
//
// A dataset (the live tree or a snapshot) has
//   - a dead list: blocks that died between the snapshot before it and itself, and that
//     older snapshots still hold;
//   - zombies: trees cut off in that time and not yet taken apart.
//
//   snapshot made at CP n: it takes over the live tree's dead list and zombies
//   block dies, born after the newest snapshot: free at once; else: dead list
//   snapshot D deleted, P before it, N after it: of N's dead list, what was born after P was
//     held by D alone: free.  What is left joins D's list, which becomes N's; so do the zombies.
//
// What is damaged costs space, and nothing else: a subtree or part of a list that cannot be read
// stays allocated, is counted, and never fails a CP, which would fail at each start again.  No
// later CP gets that space back, so it is given up only after Attempt::load_patiently().
//
// Thread-safety: the strand; one CP.

#pragma once

#include <cstdint>
#include <vector>

#include "cp_context.h"
#include "platform/task.h"
#include "volume_state.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

// Appends to the dead list of `record`.
Task<Status> append_dead(CpContext& context, DiskDataset& record, std::uint64_t& used_blocks,
                         const std::vector<BlockPointer>& entries);
// All entries that can be read.
Task<void> read_dead(CpContext& context, const DiskDataset& record,
                     std::vector<BlockPointer>& entries);
// Frees the list's own blocks, and forgets its entries.
Task<Status> discard_dead(CpContext& context, DiskDataset& record, std::uint64_t& used_blocks);

// Writes the zombie file of `record` anew.
Task<Status> write_zombies(CpContext& context, DiskDataset& record, std::uint64_t& used_blocks,
                           const std::vector<ZombieEntry>& zombies);
// All that can be read.
Task<void> read_zombies(CpContext& context, const DiskDataset& record,
                        std::vector<ZombieEntry>& zombies);

// Takes zombies apart, about `budget_blocks` blocks of them, newest first.
Task<void> reap_zombies(CpContext& context, std::vector<ZombieEntry>& zombies, Reclaimer& reclaimer,
                        std::uint64_t budget_blocks);

// Merges a deleted snapshot into the dataset after it.  `cp_before`: of the snapshot before both.
Task<Status> merge_deleted(CpContext& context, Dataset& deleted, std::uint32_t cp_before,
                           DiskDataset& next, std::vector<ZombieEntry>& next_zombies,
                           std::uint64_t& used_blocks);

}  // namespace duet::wafl
