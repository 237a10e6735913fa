#include "wafl/inode.h"

#include <algorithm>
#include <cstring>

#include "aggregate_state.h"
#include "base/check.h"
#include "tree_reader.h"
#include "volume_state.h"

namespace duet::wafl {

namespace {

// Whether the layer decides about block `index`: it has it, or cut it off.
enum class Seen : std::uint8_t { kHere, kCut, kBelow };

Seen look(const Layer* layer, std::uint64_t index, const BufferRef** found) {
  if (layer == nullptr) {
    return Seen::kBelow;
  }
  if (!layer->blocks.empty()) {
    *found = layer->blocks.find(index);
    if (*found != nullptr) {
      return Seen::kHere;
    }
  }
  return index >= layer->cut_blocks ? Seen::kCut : Seen::kBelow;
}

}  // namespace

Result<BufferRef> Inode::block(Attempt& attempt, std::uint64_t index) {
  for (const Layer* layer : {current_.get(), frozen_.get()}) {
    const BufferRef* found = nullptr;
    const Seen seen = look(layer, index, &found);
    if (seen == Seen::kHere) {
      return *found;
    }
    if (seen == Seen::kCut) {
      return BufferRef();
    }
  }
  Result<BlockPointer> leaf = find_leaf(attempt, tree_, index);
  if (!leaf.ok()) {
    return leaf.error();
  }
  if (leaf.value().hole()) {
    return BufferRef();
  }
  return get_block(attempt, leaf.value());
}

Result<bool> Inode::exists(Attempt& attempt, std::uint64_t index) {
  for (const Layer* layer : {current_.get(), frozen_.get()}) {
    const BufferRef* found = nullptr;
    const Seen seen = look(layer, index, &found);
    if (seen != Seen::kBelow) {
      return seen == Seen::kHere;
    }
  }
  Result<BlockPointer> leaf = find_leaf(attempt, tree_, index);
  if (!leaf.ok()) {
    return leaf.error();
  }
  return !leaf.value().hole();
}

Result<std::uint64_t> Inode::count_from(Attempt& attempt, std::uint64_t index) {
  std::uint64_t visible_below = ~std::uint64_t{0};  // of the layers below the one looked at
  std::uint64_t count = 0;
  std::vector<std::uint64_t> counted;
  for (const Layer* layer : {current_.get(), frozen_.get()}) {
    if (layer == nullptr) {
      continue;
    }
    layer->blocks.for_each([&](std::uint64_t at, const BufferRef& /*buffer*/) {
      const bool above = layer != current_.get() && current_ && current_->blocks.find(at);
      if (at >= index && at < visible_below && !above) {
        counted.push_back(at);
      }
    });
    visible_below = std::min(visible_below, layer->cut_blocks);
  }
  Result<std::uint64_t> on_disk = count_leaves(attempt, tree_, index, visible_below);
  if (!on_disk.ok()) {
    return on_disk.error();
  }
  count = on_disk.value() + counted.size();
  for (const std::uint64_t at : counted) {
    if (at >= visible_below) {
      continue;
    }
    Result<BlockPointer> leaf = find_leaf(attempt, tree_, at);
    if (!leaf.ok()) {
      return leaf.error();
    }
    count -= leaf.value().hole() ? 0 : 1;
  }
  return count;
}

Layer& Inode::current() {
  DUET_CHECK(writable());
  if (!current_) {
    current_ = std::make_unique<Layer>();
    last_dirty_ = ~std::uint64_t{0};
    volume_.aggregate().state().note_dirty(*this);
    // The inode's own block in the inode file, and what leads to it.
    volume_.expect_blocks(2);
  }
  return *current_;
}

BufferRef Inode::fresh_block(Layer& layer, std::uint64_t index, const std::byte* content) {
  AggregateState& state = volume_.aggregate().state();
  BufferRef buffer = state.pool.allocate();
  if (content != nullptr) {
    std::memcpy(buffer.mutable_bytes().data(), content, kBlockBytes);
  }
  if (layer.blocks.put(index, buffer)) {
    ++state.dirty_blocks;
    state.cache.trim();
    // Neighbours share their indirect blocks; a jump may need new ones at every level.
    const bool same_parent = index / kFanOut == last_dirty_ / kFanOut;
    volume_.expect_blocks(same_parent ? 1 : 1 + std::max(tree_.height, height_for(index)));
    last_dirty_ = index;
  }
  return buffer;
}

BufferRef Inode::replace_block(std::uint64_t index) {
  Layer& layer = current();
  if (const BufferRef* dirty = layer.blocks.find(index);
      dirty != nullptr && dirty->get()->references == 1) {
    return *dirty;
  }
  return fresh_block(layer, index, nullptr);
}

MutableBytes Inode::modify_block(std::uint64_t index, const BufferRef& present) {
  Layer& layer = current();
  if (const BufferRef* dirty = layer.blocks.find(index)) {
    const std::uint32_t ours = dirty->get() == present.get() ? 2 : 1;
    if (dirty->get()->references == ours) {
      return dirty->mutable_bytes();
    }
    return fresh_block(layer, index, dirty->bytes().data()).mutable_bytes();
  }
  if (present) {
    return fresh_block(layer, index, present.bytes().data()).mutable_bytes();
  }
  const MutableBytes bytes = fresh_block(layer, index, nullptr).mutable_bytes();
  std::memset(bytes.data(), 0, bytes.size());
  return bytes;
}

void Inode::cut(std::uint64_t index) {
  Layer& layer = current();
  layer.cut_blocks = std::min(layer.cut_blocks, index);
  volume_.aggregate().state().dirty_blocks -= layer.blocks.erase_from(index);
}

Attributes& Inode::change_attributes() {
  current();
  return attributes_;
}

void Inode::set_user_word(int i, std::uint64_t value) {
  current();
  user_words_[i] = value;
}

}  // namespace duet::wafl
