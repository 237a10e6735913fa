#include "map_writer.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tree_reader.h"

namespace duet::wafl {

namespace {

enum Which : std::size_t { kBlocks = 0, kOwners = 1, kAreas = 2 };

constexpr std::uint64_t kOwnersPerBlock = kBlockBytes / sizeof(OwnerEntry);
constexpr std::uint64_t kAreasPerBlock = kBlockBytes / sizeof(AreaEntry);

std::uint32_t map_height(std::uint64_t entries, std::uint64_t per_block) {
  return height_for((entries - 1) / per_block);
}

}  // namespace

MapWriter::MapWriter(CpContext& context, DiskRoot& root, std::vector<std::uint32_t>& area_free)
    : context_(context),
      area_free_(area_free),
      maps_{{{TreeKind::kBlockMap, &root.block_map, 0, {}},
             {TreeKind::kOwnerMap, &root.owner_map, 0, {}},
             {TreeKind::kAreaMap, &root.area_map, 0, {}}}} {
  const std::uint64_t blocks = root.block_count;
  maps_[kBlocks].height = map_height(blocks, kAreaBlocks);
  maps_[kOwners].height = map_height(blocks, kOwnersPerBlock);
  maps_[kAreas].height = map_height(area_free.size(), kAreasPerBlock);
  for (Map& map : maps_) {
    map.height = std::max(map.height, map.root->height);
  }
}

// Where the block stood in the last CP.  Above the old root (the map has grown) there is
// nothing yet.
Task<Result<BlockPointer>> MapWriter::old_pointer(Map& map, std::uint32_t level,
                                                  std::uint64_t index) {
  const TreeRoot root = *map.root;
  if (root.pointer.hole() || level > root.height ||
      index >= tree_capacity(root.height) >> (8U * level)) {
    co_return BlockPointer{};
  }
  BlockPointer pointer = root.pointer;
  for (std::uint32_t at = root.height; at > level && !pointer.hole(); --at) {
    const Result<BufferRef> indirect = co_await context_.get(pointer);
    if (!indirect.ok()) {
      co_return indirect.error();
    }
    const std::size_t slot = (index >> (8U * (at - level - 1))) & (kFanOut - 1);
    pointer = child_pointer(indirect.value().bytes(), slot);
  }
  co_return pointer;
}

Task<Result<MapWriter::Node*>> MapWriter::touch(Map& map, std::uint32_t level,
                                                std::uint64_t index) {
  if (auto it = map.levels[level].find(index); it != map.levels[level].end()) {
    co_return &it->second;
  }
  Node node;
  const Result<BlockPointer> old = co_await old_pointer(map, level, index);
  if (!old.ok()) {
    co_return old.error();
  }
  if (old.value().hole()) {
    node.buffer = context_.state.pool.allocate_zeroed();
    // A map that grew: the old root is the first child of the first new block above it.
    const TreeRoot& root = *map.root;
    if (!root.pointer.hole() && level == root.height + 1 && index == 0) {
      store(node.buffer.mutable_bytes(), 0, root.pointer);
    }
  } else {
    const Result<BufferRef> present = co_await context_.get(old.value());
    if (!present.ok()) {
      co_return present.error();
    }
    node.buffer = context_.state.pool.allocate();
    std::memcpy(node.buffer.mutable_bytes().data(), present.value().bytes().data(), kBlockBytes);
    context_.free(old.value());
  }
  const Status prepared = co_await context_.allocator.prepare(1);
  if (!prepared.ok()) {
    co_return prepared.error();
  }
  node.block = context_.allocator.take();
  OwnerEntry owner;
  owner.offset = index << (8U * level);
  owner.birth = context_.cp;
  owner.level = static_cast<std::uint8_t>(level);
  owner.tree = static_cast<std::uint8_t>(map.kind);
  context_.allocated.push_back({node.block, owner});
  Node* touched = &map.levels[level].emplace(index, std::move(node)).first->second;
  if (level < map.height) {
    const Result<Node*> parent = co_await touch(map, level + 1, index / kFanOut);
    if (!parent.ok()) {
      co_return parent.error();
    }
  }
  co_return touched;
}

MutableBytes MapWriter::recent(std::size_t which, std::uint64_t leaf) const {
  const auto& [index, node] = recent_[which];
  return node != nullptr && index == leaf ? node->buffer.mutable_bytes() : MutableBytes();
}

Task<Status> MapWriter::touch_leaves(std::uint64_t block, bool owners) {
  const std::uint64_t area = block / kAreaBlocks;
  const std::array<std::uint64_t, 3> leaves{area, block / kOwnersPerBlock, area / kAreasPerBlock};
  for (const Which which : {kBlocks, kOwners, kAreas}) {
    if ((which == kOwners && !owners) || !recent(which, leaves[which]).empty()) {
      continue;
    }
    const Result<Node*> node = co_await touch(maps_[which], 0, leaves[which]);
    if (!node.ok()) {
      co_return node.error();
    }
    recent_[which] = {leaves[which], node.value()};
  }
  co_return Ok{};
}

// False: the bit has that value already.  REQUIRES: touch_leaves().
bool MapWriter::set_bit(std::uint64_t block, bool allocated) {
  const std::uint64_t area = block / kAreaBlocks;
  std::byte& byte = recent(kBlocks, area)[block % kAreaBlocks / 8];
  const auto mask = std::byte(1U << (block % 8));
  if (((byte & mask) != std::byte{0}) == allocated) {
    return false;
  }
  byte ^= mask;
  area_free_[area] += allocated ? ~std::uint32_t{0} : 1;
  free_delta_ += allocated ? -1 : 1;
  return true;
}

// One change; touches map blocks only where the one before did not.
Task<Status> MapWriter::apply(std::uint64_t block, const OwnerEntry* owner, bool allocated) {
  const Status touched = co_await touch_leaves(block, owner != nullptr);
  if (!touched.ok()) {
    co_return touched;
  }
  if (!set_bit(block, allocated)) {
    co_return Error{Errc::kCorrupt, "the block map disagrees with what is allocated or freed"};
  }
  if (owner != nullptr) {
    store(recent(kOwners, block / kOwnersPerBlock), block % kOwnersPerBlock * sizeof(OwnerEntry),
          *owner);
  }
  co_return Ok{};
}

// Works off what was allocated and freed, also by itself, until nothing is left.
Task<Status> MapWriter::settle() {
  constexpr std::size_t kChangesPerTurn = 512;
  std::size_t since_pause = 0;
  while (allocated_done_ < context_.allocated.size() || freed_done_ < context_.freed.size()) {
    const bool allocate = allocated_done_ < context_.allocated.size();
    // A copy: touching a map block may grow the list.
    const CpContext::Allocation change =
        allocate ? context_.allocated[allocated_done_++]
                 : CpContext::Allocation{context_.freed[freed_done_++], OwnerEntry{}};
    const OwnerEntry* owner = allocate ? &change.owner : nullptr;
    const Status applied = co_await apply(change.block, owner, allocate);
    if (!applied.ok()) {
      co_return applied;
    }
    if (++since_pause >= kChangesPerTurn) {
      since_pause = 0;
      co_await yield(context_.state.scheduler);
    }
  }
  co_return Ok{};
}

Task<Status> MapWriter::finish() {
  if (write_all_areas_) {
    for (std::uint64_t leaf = 0; leaf * kAreasPerBlock < area_free_.size(); ++leaf) {
      const Result<Node*> node = co_await touch(maps_[kAreas], 0, leaf);
      if (!node.ok()) {
        co_return node.error();
      }
    }
  }
  for (const std::uint64_t block : occupied_) {
    const Status applied = co_await apply(block, nullptr, true);
    if (!applied.ok()) {
      co_return applied;
    }
  }
  // Runs of neighbours touch the same map blocks.
  std::ranges::sort(context_.freed);
  const Status settled = co_await settle();
  if (!settled.ok()) {
    co_return settled;
  }
  for (auto& [leaf, node] : maps_[kAreas].levels[0]) {
    const MutableBytes bytes = node.buffer.mutable_bytes();
    for (std::uint64_t i = 0; i < kAreasPerBlock; ++i) {
      const std::uint64_t area = leaf * kAreasPerBlock + i;
      const AreaEntry entry{area < area_free_.size() ? area_free_[area] : 0, 0};
      store(bytes, i * sizeof(AreaEntry), entry);
    }
  }
  std::map<std::uint64_t, BufferRef> writes;  // neighbours go together, whichever map's they are
  for (Map& map : maps_) {
    complete(map, writes);
  }
  for (auto& [block, buffer] : writes) {
    context_.writes.add(block, std::move(buffer));
  }
  co_return Ok{};
}

void MapWriter::complete(Map& map, std::map<std::uint64_t, BufferRef>& writes) {
  if (map.levels[0].empty()) {
    return;
  }
  for (std::uint32_t level = 0; level <= map.height; ++level) {
    for (auto& [index, node] : map.levels[level]) {
      const BlockPointer pointer{node.block, context_.cp, crc32c(node.buffer.bytes())};
      context_.state.cache.insert(node.buffer, node.block, context_.cp);
      writes.emplace(node.block, node.buffer);
      if (level == map.height) {
        DUET_CHECK(index == 0);
        map.root->pointer = pointer;
        map.root->height = map.height;
      } else {
        store(map.levels[level + 1].at(index / kFanOut).buffer.mutable_bytes(),
              index % kFanOut * sizeof(BlockPointer), pointer);
      }
    }
  }
}

}  // namespace duet::wafl
