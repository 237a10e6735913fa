#include "cp_context.h"

#include "platform/wait.h"
#include "tree_reader.h"

namespace duet::wafl {

BlockPointer CpContext::place(const BufferRef& buffer, const TreeOwner& owner, std::uint32_t level,
                              std::uint64_t offset) {
  const std::uint64_t block = allocator.take();
  OwnerEntry entry;
  entry.inode = owner.inode;
  entry.offset = offset;
  entry.volume = owner.volume;
  entry.birth = cp;
  entry.level = static_cast<std::uint8_t>(level);
  entry.tree = static_cast<std::uint8_t>(owner.kind);
  allocated.push_back({block, entry});
  const BlockPointer pointer{block, cp, buffer.checksum()};
  state.cache.insert(buffer, block, cp);
  writes.add(block, buffer);
  ++placed_since_pause_;
  return pointer;
}

Task<Result<BufferRef>> CpContext::get(BlockPointer pointer) {
  Attempt attempt(*state.aggregate);
  for (;;) {
    Result<BufferRef> block = get_block(attempt, pointer);
    if (block.ok()) {
      co_return block;
    }
    const Status loaded = co_await attempt.load_patiently();
    if (!loaded.ok()) {
      co_return loaded.error();
    }
  }
}

Task<void> CpContext::pause() {
  placed_since_pause_ = 0;
  co_await yield(state.scheduler);
  co_await writes.room(kBlocksUnderWayMax);
}

}  // namespace duet::wafl
