// What died between a snapshot and the dataset after it, computed from the two trees, against what
// the dataset's dead list and zombies say; and what a clone shares with its origin.  Only what
// differs between the trees is read.

#include <algorithm>

#include "stages.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kDeadPerBlock = kBlockBytes / sizeof(BlockPointer);

// The file that two trees are versions of.
struct Compared {
  TreeKind kind = TreeKind::kNone;
  std::uint64_t inode = 0;
};

class Difference {
 public:
  enum class Use : std::uint8_t {
    kDied,    // mark the blocks of `before` that `after` has not at the same place
    kShared,  // `before` is a clone's and `after` its origin's: none of them may be the origin's
  };
  // `origin_cp`: of a clone's origin; 0: it is none.
  Difference(Image& image, Use use, const CheckDataset& dataset, std::uint32_t origin_cp)
      : image_(image), use_(use), dataset_(dataset), origin_cp_(origin_cp) {}

  Task<void> trees(Compared file, TreeRoot before, TreeRoot after);

 private:
  Task<void> nodes(Compared file, BlockPointer before, BlockPointer after, std::uint32_t level,
                   std::uint64_t offset);
  Task<void> children(Compared file, BlockPointer before, BlockPointer after, std::uint32_t level,
                      std::uint64_t offset);
  Task<void> inodes(BlockPointer before, BlockPointer after, std::uint64_t index);
  Task<bool> note(Compared file, BlockPointer pointer, std::uint32_t level, std::uint64_t offset);
  Task<CheckBlockRef> block(BlockPointer pointer);

  Image& image_;
  const Use use_;
  const CheckDataset& dataset_;
  const std::uint32_t origin_cp_;
};

bool same(const BlockPointer& a, const BlockPointer& b) {
  return a.word == b.word && a.birth == b.birth;
}

TreeRoot tree_of(const DiskInode& inode) { return inode.type == 0 ? TreeRoot{} : inode.tree; }

// Null: a hole, or not to be read; that was reported before.
Task<CheckBlockRef> Difference::block(BlockPointer pointer) {
  if (pointer.hole()) {
    co_return nullptr;
  }
  const Result<CheckBlockRef> read = co_await image_.reader.get(pointer);
  co_return read.ok() ? read.value() : CheckBlockRef();
}

// False: not to be followed: the origin's, or not a block of the older tree at this place, which
// was reported before.
Task<bool> Difference::note(Compared file, BlockPointer pointer, std::uint32_t level,
                            std::uint64_t offset) {
  if (pointer.birth <= origin_cp_) {
    if (use_ == Use::kShared) {
      image_.problem(ProblemKind::kPointer, pointer.block(),
                     text_of(dataset_.name(), ": block ", pointer.block(),
                             " is older than the clone, and its origin lacks it there"));
    }
    co_return false;
  }
  if ((pointer.word >> 48U) != 0 || pointer.block() >= image_.reader.block_count() ||
      !image_.reached.has(pointer.block())) {
    co_return false;
  }
  const OwnerEntry owner = co_await image_.owner(pointer.block());
  const bool fits = owner.volume == dataset_.record.volume && owner.inode == file.inode &&
                    owner.tree == static_cast<std::uint8_t>(file.kind) && owner.level == level &&
                    owner.offset == offset && owner.birth == pointer.birth;
  if (fits && use_ == Use::kDied) {
    image_.died.add(pointer.block());
  }
  co_return fits;
}

Task<void> Difference::trees(Compared file, TreeRoot before, TreeRoot after) {
  if (before.pointer.hole() || before.height > kHeightMax || after.height > kHeightMax ||
      same(before.pointer, after.pointer)) {
    co_return;
  }
  // Heights grow and shrink at the top: the lower tree is the first child of the higher.
  BlockPointer newer = after.pointer;
  for (std::uint32_t height = after.height; height > before.height && !newer.hole(); --height) {
    const CheckBlockRef top = co_await block(newer);
    newer = top != nullptr ? load<BlockPointer>(top->bytes, 0) : BlockPointer{};
  }
  BlockPointer older = before.pointer;
  for (std::uint32_t height = before.height; height > after.height && !newer.hole(); --height) {
    if (older.hole()) {
      co_return;  // nothing of it stands where the lower tree is
    }
    const bool follow = co_await note(file, older, height, 0);
    if (!follow) {
      co_return;
    }
    const CheckBlockRef top = co_await block(older);
    if (top == nullptr) {
      co_return;
    }
    const std::uint64_t leaves = std::uint64_t{1} << (8U * (height - 1));
    for (std::uint64_t slot = 1; slot < kFanOut; ++slot) {
      const auto child = load<BlockPointer>(top->bytes, slot * sizeof(BlockPointer));
      const BlockPointer nothing;
      co_await nodes(file, child, nothing, height - 1, slot * leaves);
    }
    older = load<BlockPointer>(top->bytes, 0);
  }
  const std::uint32_t level = newer.hole() ? before.height : std::min(before.height, after.height);
  co_await nodes(file, older, newer, level, 0);
}

Task<void> Difference::nodes(Compared file, BlockPointer before, BlockPointer after,
                             std::uint32_t level, std::uint64_t offset) {
  if (before.hole() || same(before, after)) {
    co_return;
  }
  const bool follow = co_await note(file, before, level, offset);
  if (!follow) {
    co_return;
  }
  if (level > 0) {
    co_await children(file, before, after, level, offset);
  } else if (file.kind == TreeKind::kInodeFile) {
    co_await inodes(before, after, offset);
  }
}

Task<void> Difference::children(Compared file, BlockPointer before, BlockPointer after,
                                std::uint32_t level, std::uint64_t offset) {
  const CheckBlockRef old_block = co_await block(before);
  const CheckBlockRef new_block = co_await block(after);
  if (old_block == nullptr) {
    co_return;
  }
  const std::uint64_t leaves = std::uint64_t{1} << (8U * (level - 1));
  for (std::uint64_t slot = 0; slot < kFanOut; ++slot) {
    const std::uint64_t at = slot * sizeof(BlockPointer);
    const auto old_child = load<BlockPointer>(old_block->bytes, at);
    const BlockPointer new_child =
        new_block != nullptr ? load<BlockPointer>(new_block->bytes, at) : BlockPointer{};
    if (!old_child.hole() && !same(old_child, new_child)) {
      co_await nodes(file, old_child, new_child, level - 1, offset + slot * leaves);
    }
  }
}

Task<void> Difference::inodes(BlockPointer before, BlockPointer after, std::uint64_t index) {
  const CheckBlockRef old_block = co_await block(before);
  const CheckBlockRef new_block = co_await block(after);
  for (std::uint64_t i = 0; old_block != nullptr && i < kInodesPerBlock; ++i) {
    const std::uint64_t at = i * sizeof(DiskInode);
    const TreeRoot old_tree = tree_of(load<DiskInode>(old_block->bytes, at));
    const TreeRoot new_tree =
        new_block != nullptr ? tree_of(load<DiskInode>(new_block->bytes, at)) : TreeRoot{};
    const Compared file{TreeKind::kFile, index * kInodesPerBlock + i};
    co_await trees(file, old_tree, new_tree);
  }
}

// One entry of a dead list.
void check_entry(Image& image, const DiskDataset& before, const CheckDataset& dataset,
                 std::uint32_t origin_cp, const BlockPointer& pointer) {
  const auto bad = [&](std::string_view what) {
    image.problem(ProblemKind::kDeadList, pointer.block(),
                  text_of(dataset.name(), ": dead list: block ", pointer.block(), " ", what));
  };
  if ((pointer.word >> 48U) != 0 || pointer.block() >= image.reader.block_count()) {
    bad("lies outside the aggregate");
  } else if (pointer.birth <= origin_cp && origin_cp != 0) {
    bad("is the origin's");
  } else if (pointer.birth == 0 || pointer.birth > before.cp) {
    bad("is younger than the snapshot before");
  } else if (!image.died.remove(pointer.block())) {
    bad("did not die here, or is named twice");
  }
}

Task<void> check_list(Image& image, const DiskDataset& before, const CheckDataset& dataset,
                      std::uint32_t origin_cp) {
  const DiskDataset& record = dataset.record;
  const WalkRules rules = rules_of(TreeKind::kDeadList, dataset);
  TreeWalk walk(image, record.dead_list, rules, dataset.name() + ": dead list");
  std::uint64_t blocks = 0;
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      break;
    }
    ++blocks;
    for (std::uint64_t i = 0; !leaf->bytes.empty() && i < kDeadPerBlock; ++i) {
      if (leaf->index * kDeadPerBlock + i < record.dead_entries) {
        check_entry(image, before, dataset, origin_cp,
                    load<BlockPointer>(leaf->bytes, i * sizeof(BlockPointer)));
      }
    }
  }
  if (record.dead_blocks != record.dead_entries ||
      blocks != (record.dead_entries + kDeadPerBlock - 1) / kDeadPerBlock) {
    image.problem(ProblemKind::kDeadList, kNoBlock,
                  text_of(dataset.name(), ": dead list: ", record.dead_entries, " entries in ",
                          blocks, " blocks that name ", record.dead_blocks));
  }
}

// What is left when the dead list is done must be what the zombies hold.
void compare_pending(Image& image, const CheckDataset& dataset) {
  if (image.died.count() == 0 && image.pending.count() == 0) {
    return;
  }
  for (std::uint64_t block = 0; block < image.reader.block_count(); ++block) {
    const bool died = image.died.has(block);
    if (died != image.pending.has(block)) {
      image.problem(died ? ProblemKind::kDeadList : ProblemKind::kZombie, block,
                    text_of(dataset.name(), ": block ", block,
                            died ? " died and is on no dead list"
                                 : " is a zombie's, and alive or on the dead list"));
    }
  }
  image.died.clear();
  image.pending.clear();
}

}  // namespace

Task<void> check_dead(Image& image, const DiskDataset& before, const CheckDataset& dataset,
                      std::uint32_t origin_cp) {
  if (before.state == kDatasetSnapshot) {
    Difference difference(image, Difference::Use::kDied, dataset, origin_cp);
    const Compared map{TreeKind::kInodeMap, 0};
    co_await difference.trees(map, before.inode_map, dataset.record.inode_map);
    const Compared inodes{TreeKind::kInodeFile, 0};
    co_await difference.trees(inodes, before.inode_file, dataset.record.inode_file);
  }
  co_await check_list(image, before, dataset, origin_cp);
  compare_pending(image, dataset);
}

Task<void> check_shared(Image& image, const DiskDataset& origin, const CheckDataset& dataset) {
  Difference difference(image, Difference::Use::kShared, dataset, origin.cp);
  const Compared map{TreeKind::kInodeMap, 0};
  co_await difference.trees(map, dataset.record.inode_map, origin.inode_map);
  const Compared inodes{TreeKind::kInodeFile, 0};
  co_await difference.trees(inodes, dataset.record.inode_file, origin.inode_file);
}

}  // namespace duet::wafl
