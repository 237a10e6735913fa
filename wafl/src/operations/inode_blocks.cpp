#include "operations/inode_blocks.h"

#include <algorithm>

#include "base/check.h"
#include "wafl/directory_format.h"

namespace duet::wafl {

const InodeBlocks::Held* InodeBlocks::find(std::uint64_t index) const {
  const auto it = std::ranges::find(held_, index, &Held::index);
  return it == held_.end() ? nullptr : &*it;
}

std::uint64_t InodeBlocks::free_head() const { return inode_.user_word(kDirectoryFreeWord); }

void InodeBlocks::set_free_head(std::uint64_t index) {
  inode_.set_user_word(kDirectoryFreeWord, index);
}

Result<ConstBytes> InodeBlocks::read(std::uint64_t index) {
  if (const Held* held = find(index)) {
    return held->changed.empty() ? held->present.bytes() : ConstBytes(held->changed);
  }
  if (index >= count()) {
    return Error{Errc::kCorrupt, "a directory's block lies behind its end"};
  }
  Result<BufferRef> block = inode_.block(attempt_, index);
  if (!block.ok()) {
    return block.error();
  }
  if (!block.value()) {
    return Error{Errc::kCorrupt, "a directory has a hole"};
  }
  held_.push_back({index, std::move(block.value()), {}});
  return held_.back().present.bytes();
}

MutableBytes InodeBlocks::modify(std::uint64_t index) {
  const auto it = std::ranges::find(held_, index, &Held::index);
  DUET_CHECK(it != held_.end());
  if (it->changed.empty()) {
    it->changed = inode_.modify_block(index, it->present);
    it->present = BufferRef();
  }
  return it->changed;
}

MutableBytes InodeBlocks::append() {
  const std::uint64_t index = count();
  const MutableBytes bytes = inode_.replace_block(index).mutable_bytes();
  set_blocks(index + 1);
  held_.push_back({index, BufferRef(), bytes});
  return bytes;
}

void InodeBlocks::cut_to_root() {
  if (count() > 1) {
    inode_.cut(1);
    set_blocks(1);
  }
  std::erase_if(held_, [](const Held& held) { return held.index > 0; });
}

void InodeBlocks::set_blocks(std::uint64_t count) {
  Attributes& attributes = inode_.change_attributes();
  attributes.size_bytes = count * kBlockBytes;
  attributes.used_bytes = count * kBlockBytes;
}

}  // namespace duet::wafl
