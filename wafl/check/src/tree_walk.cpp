#include "tree_walk.h"

#include <algorithm>

namespace duet::wafl {

namespace {

std::uint64_t leaves_below(std::uint32_t level) { return std::uint64_t{1} << (8U * level); }

}  // namespace

TreeWalk::TreeWalk(Image& image, TreeRoot root, const WalkRules& rules, std::string where)
    : image_(image), root_(root), rules_(rules), where_(std::move(where)) {
  stack_.reserve(kHeightMax);
}

void TreeWalk::report(ProblemKind kind, const BlockPointer& pointer, std::string_view what) {
  if (rules_.mark) {
    image_.problem(kind, pointer.block(), text_of(where_, ": block ", pointer.block(), " ", what));
  }
}

bool TreeWalk::possible(const BlockPointer& pointer, std::uint32_t birth_max) {
  if ((pointer.word >> 48U) != 0 || pointer.block() >= image_.reader.block_count()) {
    report(ProblemKind::kPointer, pointer, "lies outside the aggregate");
    return false;
  }
  if (image_.reader.reserved(pointer.block())) {
    report(ProblemKind::kPointer, pointer, "is reserved");
    return false;
  }
  if (pointer.birth == 0 || pointer.birth > birth_max) {
    report(ProblemKind::kBirth, pointer,
           text_of("was born in CP ", pointer.birth, ", what points to it in ", birth_max));
    return false;
  }
  return true;
}

bool TreeWalk::owner_fits(const OwnerEntry& owner, const BlockPointer& pointer, std::uint32_t level,
                          std::uint64_t offset) const {
  return owner.birth == pointer.birth && owner.level == level && owner.offset == offset &&
         owner.volume == image_.owner_volume(rules_.volume, pointer.birth) &&
         owner.inode == rules_.inode && owner.tree == static_cast<std::uint8_t>(rules_.kind);
}

// A block that a walk before this one must have reached, at this place.
Task<TreeWalk::Verdict> TreeWalk::judge_shared(BlockPointer pointer, std::uint32_t level,
                                               std::uint64_t offset) {
  if (!image_.reached.has(pointer.block())) {
    report(ProblemKind::kPointer, pointer, "is older than the snapshot before, which lacks it");
    co_return Verdict::kPass;
  }
  const OwnerEntry owner = co_await image_.owner(pointer.block());
  if (!owner_fits(owner, pointer, level, offset)) {
    report(ProblemKind::kOwner, pointer, "is shared, and the owner map has it elsewhere");
    co_return Verdict::kPass;
  }
  if (on_shared) {
    on_shared(pointer);
  }
  co_return rules_.into_shared ? Verdict::kShared : Verdict::kPass;
}

Task<TreeWalk::Verdict> TreeWalk::judge(BlockPointer pointer, std::uint32_t level,
                                        std::uint64_t offset, std::uint32_t birth_max) {
  if (pointer.hole() || !possible(pointer, birth_max) || pointer.birth <= rules_.keep_birth) {
    co_return Verdict::kPass;
  }
  if (!rules_.mark || pointer.birth <= rules_.shared_birth) {
    const Verdict verdict = co_await judge_shared(pointer, level, offset);
    co_return verdict;
  }
  if (!image_.reached.add(pointer.block())) {
    report(ProblemKind::kDoubleUse, pointer, "is used twice");
    co_return Verdict::kPass;
  }
  const OwnerEntry owner = co_await image_.owner(pointer.block());
  if (!owner_fits(owner, pointer, level, offset)) {
    report(ProblemKind::kOwner, pointer,
           text_of("has another owner in the owner map: volume ", owner.volume, ", inode ",
                   owner.inode, ", tree ", unsigned{owner.tree}, ", level ", unsigned{owner.level},
                   ", offset ", owner.offset, ", birth ", owner.birth));
  }
  co_return Verdict::kNew;
}

Task<void> TreeWalk::descend(BlockPointer pointer, std::uint64_t offset, bool shared) {
  image_.progressed();
  const Result<CheckBlockRef> block = co_await image_.reader.get(pointer);
  if (!block.ok()) {
    if (rules_.mark && !shared) {
      image_.unreadable(block.error(), pointer, where_);
    }
    co_return;
  }
  stack_.push_back({block.value(), offset, pointer.birth, 0});
}

// How many blocks from `pointer` on are leaves that stand behind each other here and on disk.
std::uint64_t TreeWalk::run_length(const BlockPointer& pointer) const {
  if (stack_.empty()) {
    return 1;
  }
  const Level& parent = stack_.back();
  const std::uint64_t limit = std::min<std::uint64_t>(
      run_->size(), image_.reader.disk_end(pointer.block()) - pointer.block());
  std::uint64_t length = 1;
  for (std::uint32_t slot = parent.slot; slot < kFanOut && length < limit; ++slot, ++length) {
    const auto next = load<BlockPointer>(parent.block->bytes, slot * sizeof(BlockPointer));
    if (next.word != pointer.word + length) {
      break;
    }
  }
  return length;
}

Task<ConstBytes> TreeWalk::read_leaf(BlockPointer pointer) {
  if (rules_.kind != TreeKind::kFile) {
    const Result<CheckBlockRef> block = co_await image_.reader.get(pointer);
    if (!block.ok()) {
      if (rules_.mark) {
        image_.unreadable(block.error(), pointer, where_);
      }
      co_return ConstBytes{};
    }
    held_ = block.value();
    co_return ConstBytes(held_->bytes);
  }
  if (run_ == nullptr) {
    run_ = std::make_unique<std::array<CheckBlock, 64>>();
  }
  if (pointer.block() - run_block_ >= run_blocks_) {
    run_blocks_ = run_length(pointer);
    run_block_ = pointer.block();
    const MutableBytes into(run_->front().bytes.data(), run_blocks_ * kBlockBytes);
    Status read = co_await image_.reader.read(run_block_, into);
    if (!read.ok() && run_blocks_ > 1) {  // one bad block of many: this one alone
      run_blocks_ = 1;
      read = co_await image_.reader.read(run_block_, into.first(kBlockBytes));
    }
    if (!read.ok()) {
      run_blocks_ = 0;
      if (rules_.mark) {
        image_.unreadable(read.error(), pointer, where_);
      }
      co_return ConstBytes{};
    }
  }
  const ConstBytes bytes((*run_)[pointer.block() - run_block_].bytes);
  if (crc32c(bytes) != pointer.checksum) {
    if (rules_.mark) {
      image_.unreadable({Errc::kCorrupt, "the checksum is another"}, pointer, where_);
    }
    co_return ConstBytes{};
  }
  co_return bytes;
}

Task<Leaf> TreeWalk::leaf_at(BlockPointer pointer, std::uint64_t index, bool shared) {
  Leaf leaf{index, pointer, shared, {}};
  image_.progressed();
  const bool data = rules_.kind == TreeKind::kFile && !image_.options.read_data;
  const bool wanted =
      rules_.reads == LeafReads::kAll || (rules_.reads == LeafReads::kNew && !shared && !data);
  if (wanted) {
    leaf.bytes = co_await read_leaf(pointer);
  }
  co_return leaf;
}

Task<std::optional<Leaf>> TreeWalk::next() {
  BlockPointer pointer;
  std::uint32_t level = 0;
  std::uint64_t offset = 0;
  std::uint32_t birth_max = 0;
  for (;;) {
    if (!begun_) {
      begun_ = true;
      if (root_.height > kHeightMax) {
        report(ProblemKind::kPointer, root_.pointer, "is the top of a tree that is too high");
        co_return std::nullopt;
      }
      pointer = root_.pointer;
      level = root_.height;
      birth_max = rules_.birth_max;
      if (rules_.place_from_owner && !pointer.hole() &&
          pointer.block() < image_.reader.block_count()) {
        const OwnerEntry owner = co_await image_.owner(pointer.block());
        rules_.inode = owner.inode;
        rules_.base = owner.offset;
      }
      offset = rules_.base;
    } else {
      if (stack_.empty()) {
        co_return std::nullopt;
      }
      Level& top = stack_.back();
      if (top.slot == kFanOut) {
        stack_.pop_back();
        continue;
      }
      level = root_.height - static_cast<std::uint32_t>(stack_.size());
      pointer = load<BlockPointer>(top.block->bytes, top.slot * sizeof(BlockPointer));
      offset = top.base + top.slot * leaves_below(level);
      birth_max = top.birth;
      ++top.slot;
    }
    const Verdict verdict = co_await judge(pointer, level, offset, birth_max);
    if (verdict == Verdict::kPass) {
      continue;
    }
    const bool shared = verdict == Verdict::kShared;
    if (level > 0) {
      co_await descend(pointer, offset, shared);
      continue;
    }
    const Leaf leaf = co_await leaf_at(pointer, offset, shared);
    co_return leaf;
  }
}

}  // namespace duet::wafl
