#include "dead_list.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "inode_codec.h"
#include "tree_reader.h"
#include "tree_writer.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kDeadPerBlock = kBlockBytes / sizeof(BlockPointer);
constexpr std::uint64_t kNoCut = ~std::uint64_t{0};
constexpr std::uint64_t kZombiesPerBlock = kBlockBytes / sizeof(ZombieEntry);

TreeOwner owner_of(TreeKind kind, const DiskDataset& record) { return {kind, record.volume, 0}; }

// Leaf `index` of a tree of this CP or an older one; empty: a hole.
Task<Result<BufferRef>> read_leaf(CpContext& context, TreeRoot root, std::uint64_t index) {
  Attempt attempt(*context.state.aggregate);
  for (;;) {
    const Result<BlockPointer> leaf = find_leaf(attempt, root, index);
    if (leaf.ok()) {
      if (leaf.value().hole()) {
        co_return BufferRef();
      }
      Result<BufferRef> block = get_block(attempt, leaf.value());
      if (block.ok()) {
        co_return block;
      }
    }
    const Status loaded = co_await attempt.load_patiently();
    if (!loaded.ok()) {
      co_return loaded.error();
    }
  }
}

// The leaves of an array of `entries`, whole blocks each, starting as leaf `first`.
template <typename Entry>
void fill_leaves(CpContext& context, const std::vector<Entry>& entries, std::size_t position,
                 std::uint64_t leaf, std::uint64_t per_block, std::vector<DirtyLeaf>& leaves) {
  while (position < entries.size()) {
    const BufferRef buffer = context.state.pool.allocate_zeroed();
    const std::size_t count = std::min<std::size_t>(per_block, entries.size() - position);
    std::memcpy(buffer.mutable_bytes().data(), &entries[position], count * sizeof(Entry));
    leaves.push_back({leaf++, buffer});
    position += count;
  }
}

// What cannot be read is left out: its blocks stay allocated.
template <typename Entry>
Task<void> read_array(CpContext& context, TreeRoot root, std::uint64_t count,
                      std::uint64_t per_block, std::vector<Entry>& entries) {
  for (std::uint64_t leaf = 0; leaf * per_block < count; ++leaf) {
    const Result<BufferRef> block = co_await read_leaf(context, root, leaf);
    if (!block.ok() || !block.value()) {
      ++context.leaked_subtrees;
      continue;
    }
    const std::uint64_t here = std::min(per_block, count - leaf * per_block);
    for (std::uint64_t i = 0; i < here; ++i) {
      entries.push_back(load<Entry>(block.value().bytes(), i * sizeof(Entry)));
    }
  }
}

}  // namespace

Task<Status> append_dead(CpContext& context, DiskDataset& record, std::uint64_t& used_blocks,
                         const std::vector<BlockPointer>& entries) {
  if (entries.empty()) {
    co_return Ok{};
  }
  std::vector<DirtyLeaf> leaves;
  std::uint64_t leaf = record.dead_entries / kDeadPerBlock;
  const std::uint64_t inside = record.dead_entries % kDeadPerBlock;
  std::size_t taken = 0;
  if (inside != 0) {
    const Result<BufferRef> last = co_await read_leaf(context, record.dead_list, leaf);
    const BufferRef buffer = context.state.pool.allocate_zeroed();
    if (!last.ok()) {
      ++context.leaked_subtrees;  // its entries stay holes
    } else if (last.value()) {
      std::memcpy(buffer.mutable_bytes().data(), last.value().bytes().data(), kBlockBytes);
    }
    taken = std::min<std::size_t>(kDeadPerBlock - inside, entries.size());
    std::memcpy(buffer.mutable_bytes().data() + inside * sizeof(BlockPointer), entries.data(),
                taken * sizeof(BlockPointer));
    leaves.push_back({leaf++, buffer});
  }
  fill_leaves(context, entries, taken, leaf, kDeadPerBlock, leaves);
  FreeAtOnce reclaimer(context, &used_blocks);
  TreeWriter writer(context, owner_of(TreeKind::kDeadList, record), reclaimer, &used_blocks);
  const Result<TreeRoot> tree = co_await writer.update(record.dead_list, kNoCut, leaves);
  if (!tree.ok()) {
    co_return tree.error();
  }
  record.dead_list = tree.value();
  record.dead_entries += entries.size();
  record.dead_blocks = record.dead_entries;
  co_return Ok{};
}

Task<void> read_dead(CpContext& context, const DiskDataset& record,
                     std::vector<BlockPointer>& entries) {
  co_await read_array(context, record.dead_list, record.dead_entries, kDeadPerBlock, entries);
}

Task<Status> discard_dead(CpContext& context, DiskDataset& record, std::uint64_t& used_blocks) {
  FreeAtOnce reclaimer(context, &used_blocks);
  TreeWriter writer(context, owner_of(TreeKind::kDeadList, record), reclaimer, &used_blocks);
  const std::vector<DirtyLeaf> none;
  const Result<TreeRoot> tree = co_await writer.update(record.dead_list, 0, none);
  if (!tree.ok()) {
    co_return tree.error();
  }
  record.dead_list = tree.value();
  record.dead_entries = record.dead_blocks = 0;
  co_return Ok{};
}

Task<Status> write_zombies(CpContext& context, DiskDataset& record, std::uint64_t& used_blocks,
                           const std::vector<ZombieEntry>& zombies) {
  std::vector<DirtyLeaf> leaves;
  fill_leaves(context, zombies, 0, 0, kZombiesPerBlock, leaves);
  FreeAtOnce reclaimer(context, &used_blocks);
  TreeWriter writer(context, owner_of(TreeKind::kZombies, record), reclaimer, &used_blocks);
  const Result<TreeRoot> tree = co_await writer.update(record.zombies, 0, leaves);
  if (!tree.ok()) {
    co_return tree.error();
  }
  record.zombies = tree.value();
  record.zombie_entries = zombies.size();
  co_return Ok{};
}

Task<void> read_zombies(CpContext& context, const DiskDataset& record,
                        std::vector<ZombieEntry>& zombies) {
  co_await read_array(context, record.zombies, record.zombie_entries, kZombiesPerBlock, zombies);
}

Task<void> reap_zombies(CpContext& context, std::vector<ZombieEntry>& zombies, Reclaimer& reclaimer,
                        std::uint64_t budget_blocks) {
  std::uint64_t left = budget_blocks;
  while (!zombies.empty() && left > 0) {
    const ZombieEntry zombie = zombies.back();
    zombies.pop_back();
    --left;
    if (zombie.pointer.birth <= zombie.keep_birth || !context.leads_somewhere(zombie.pointer)) {
      continue;
    }
    if (zombie.height == 0 && zombie.kind == 0) {
      reclaimer.free(zombie.pointer);
      continue;
    }
    const Result<BufferRef> content = co_await context.get(zombie.pointer);
    if (!content.ok()) {
      ++context.leaked_subtrees;
      continue;
    }
    const ConstBytes bytes = content.value().bytes();
    for (std::size_t i = 0; zombie.height == 0 && i < kInodesPerBlock; ++i) {
      const auto inode = load<DiskInode>(bytes, i * sizeof(DiskInode));
      if (inode.type != 0 && !inode.tree.pointer.hole() && plausible(inode)) {
        zombies.push_back({.pointer = inode.tree.pointer,
                           .height = inode.tree.height,
                           .kind = 0,
                           .keep_birth = zombie.keep_birth});
      }
    }
    for (std::size_t slot = 0; zombie.height > 0 && slot < kFanOut; ++slot) {
      const BlockPointer child = child_pointer(bytes, slot);
      if (child.hole() || child.birth <= zombie.keep_birth) {
        continue;
      }
      if (zombie.height == 1 && zombie.kind == 0) {
        reclaimer.free(child);
        left -= left > 0 ? 1 : 0;
      } else {
        zombies.push_back({.pointer = child,
                           .height = zombie.height - 1,
                           .kind = zombie.kind,
                           .keep_birth = zombie.keep_birth});
      }
    }
    reclaimer.free(zombie.pointer);
  }
}

Task<Status> merge_deleted(CpContext& context, Dataset& deleted, std::uint32_t cp_before,
                           DiskDataset& next, std::vector<ZombieEntry>& next_zombies,
                           std::uint64_t& used_blocks) {
  std::vector<BlockPointer> entries;
  co_await read_dead(context, next, entries);
  const Status discarded = co_await discard_dead(context, next, used_blocks);
  if (!discarded.ok()) {
    co_return discarded;
  }
  std::erase_if(entries, [&](const BlockPointer& pointer) {
    if (pointer.birth <= cp_before && !pointer.hole()) {
      return false;
    }
    used_blocks -= context.free(pointer) ? 1 : 0;
    return true;
  });
  next.dead_list = deleted.record.dead_list;
  next.dead_entries = next.dead_blocks = deleted.record.dead_entries;
  const Status appended = co_await append_dead(context, next, used_blocks, entries);
  if (!appended.ok()) {
    co_return appended;
  }
  next_zombies.insert(next_zombies.end(), deleted.zombies.begin(), deleted.zombies.end());
  // The deleted snapshot's own zombie file.
  const std::vector<ZombieEntry> none;
  const Status gone = co_await write_zombies(context, deleted.record, used_blocks, none);
  co_return gone;
}

}  // namespace duet::wafl
