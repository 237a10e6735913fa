// Inodes, their trees, and the map of those in use.

#include <algorithm>
#include <bit>

#include "stages.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kBitsPerBlock = kBlockBytes * 8;
constexpr std::uint64_t kRoot = static_cast<std::uint64_t>(kRootInode);

bool bit(ConstBytes map, std::uint64_t i) {
  return (map[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0};
}

std::uint64_t bits_set(ConstBytes map) {
  std::uint64_t count = 0;
  for (std::size_t at = 0; at < map.size(); at += sizeof(std::uint64_t)) {
    count += static_cast<std::uint64_t>(std::popcount(load<std::uint64_t>(map, at)));
  }
  return count;
}

bool holds_blocks(FileType type) {
  return type == FileType::kRegular || type == FileType::kDirectory || type == FileType::kSymlink;
}

class InodeCheck {
 public:
  InodeCheck(Image& image, std::string where, const DiskInode& inode)
      : image_(image), where_(std::move(where)), inode_(inode) {}

  void fields() {
    if (inode_.type > static_cast<std::uint8_t>(FileType::kSocket) || inode_.mode > 07777 ||
        inode_.size_bytes > kFileBytesMax || inode_.links > kLinksMax) {
      bad(ProblemKind::kInode, "impossible attributes");
    }
    if (inode_.reserved0 != 0 || inode_.reserved1 != 0 || inode_.reserved2 != 0 ||
        inode_.tree.reserved0 != 0 || inode_.tree.reserved1 != 0) {
      bad(ProblemKind::kInode, "reserved fields are not zero");
    }
    if (!holds_blocks(type()) && !inode_.tree.pointer.hole()) {
      bad(ProblemKind::kInode, "has blocks, and its type has none");
    }
  }

  void leaf(const Leaf& leaf) {
    ++blocks_;
    end_ = std::max(end_, leaf.index + 1);
    if (type() == FileType::kSymlink && leaf.index == 0 && !leaf.bytes.empty()) {
      target(leaf.bytes);
    }
  }

  void totals() {
    if (end_ > (inode_.size_bytes + kBlockBytes - 1) / kBlockBytes) {
      bad(ProblemKind::kSize, text_of("has blocks behind its size of ", inode_.size_bytes));
    }
    if (blocks_ != inode_.used_blocks) {
      bad(ProblemKind::kSize,
          text_of("says that it has ", inode_.used_blocks, " blocks, and has ", blocks_));
    }
    if (type() == FileType::kDirectory && inode_.size_bytes != blocks_ * kBlockBytes) {
      bad(ProblemKind::kSize, "is a directory with holes or an odd size");
    }
    if (type() == FileType::kSymlink &&
        (blocks_ != 1 || inode_.size_bytes == 0 || inode_.size_bytes > kSymlinkBytesMax)) {
      bad(ProblemKind::kSymlink, "has no possible target");
    }
  }

 private:
  [[nodiscard]] FileType type() const { return static_cast<FileType>(inode_.type); }

  void target(ConstBytes block) {
    const ConstBytes text = block.first(std::min<std::uint64_t>(inode_.size_bytes, block.size()));
    if (std::ranges::find(text, std::byte{0}) != text.end()) {
      bad(ProblemKind::kSymlink, "has a target with a NUL");
    }
  }

  void bad(ProblemKind kind, std::string_view what) {
    image_.problem(kind, kNoBlock, text_of(where_, " ", what));
  }

  Image& image_;
  const std::string where_;
  const DiskInode& inode_;
  std::uint64_t blocks_ = 0;
  std::uint64_t end_ = 0;  // behind the last block
};

// The inodes that one block of the map speaks of.
Task<void> check_map_block(Image& image, const CheckDataset& dataset, const Leaf& leaf) {
  const DiskDataset& record = dataset.record;
  const std::uint64_t first = leaf.index * kBitsPerBlock;
  for (std::uint64_t at = 0; at < kBitsPerBlock; at += kInodesPerBlock) {
    const auto bits = load<std::uint32_t>(leaf.bytes, at / 8);
    if (bits == 0) {
      continue;  // what is in use all the same is found where the inodes are checked
    }
    const Result<CheckBlockRef> block =
        co_await image.reader.leaf(record.inode_file, (first + at) / kInodesPerBlock);
    for (std::uint64_t i = 0; i < kInodesPerBlock; ++i) {
      const std::uint64_t number = first + at + i;
      if ((bits >> i & 1U) == 0 || number < kRoot || !block.ok()) {
        continue;
      }
      const bool used = block.value() != nullptr &&
                        load<DiskInode>(block.value()->bytes, i * sizeof(DiskInode)).type != 0;
      if (!used) {
        image.problem(
            ProblemKind::kInodeMap, kNoBlock,
            text_of(dataset.name(), ": inode ", number, " is free, and the map says in use"));
      }
    }
  }
}

}  // namespace

Task<bool> in_inode_map(Image& image, const DiskDataset& record, std::uint64_t number) {
  const Result<CheckBlockRef> block =
      co_await image.reader.leaf(record.inode_map, number / kBitsPerBlock);
  if (!block.ok() || block.value() == nullptr) {
    co_return false;
  }
  co_return bit(block.value()->bytes, number % kBitsPerBlock);
}

Task<void> check_inode(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth,
                       std::uint64_t number, DiskInode inode, std::uint32_t birth) {
  if (inode.type == 0) {
    if (!inode.tree.pointer.hole() || inode.used_blocks != 0 || inode.size_bytes != 0) {
      image.problem(
          ProblemKind::kInode, kNoBlock,
          text_of(dataset.name(), ": inode ", number, " is free and has blocks or a size"));
    }
    co_return;
  }
  std::string where = text_of(dataset.name(), ": inode ", number);
  if (number < kRoot || number >= dataset.record.inode_slots) {
    image.problem(ProblemKind::kInode, kNoBlock, where + " is outside the numbers in use");
  }
  const bool mapped = co_await in_inode_map(image, dataset.record, number);
  if (!mapped) {
    image.problem(ProblemKind::kInodeMap, kNoBlock, where + " is in use, and the map says free");
  }
  InodeCheck check(image, where, inode);
  check.fields();
  WalkRules rules = rules_of(TreeKind::kFile, dataset);
  rules.inode = number;
  rules.shared_birth = shared_birth;
  rules.into_shared = true;
  rules.birth_max = birth;
  if (inode.type == static_cast<std::uint8_t>(FileType::kSymlink)) {
    rules.reads = LeafReads::kAll;
  }
  TreeWalk walk(image, inode.tree, rules, std::move(where));
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      break;
    }
    check.leaf(*leaf);
  }
  check.totals();
}

Task<void> check_inode_map(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth) {
  const DiskDataset& record = dataset.record;
  WalkRules rules = rules_of(TreeKind::kInodeMap, dataset);
  rules.shared_birth = shared_birth;
  rules.into_shared = true;
  rules.reads = LeafReads::kAll;
  TreeWalk walk(image, record.inode_map, rules, dataset.name() + ": inode map");
  std::uint64_t in_use = 0;
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      break;
    }
    if (leaf->bytes.empty()) {
      continue;
    }
    in_use += bits_set(leaf->bytes);
    if (leaf->index == 0) {  // inodes 0 and 1 are nobody's
      in_use -= (bit(leaf->bytes, 0) ? 1U : 0U) + (bit(leaf->bytes, 1) ? 1U : 0U);
    }
    if (!leaf->shared) {
      co_await check_map_block(image, dataset, *leaf);
    }
  }
  const bool counts = record.state != kDatasetDying;
  if (counts && in_use != record.inodes_used) {
    image.problem(ProblemKind::kInodeMap, kNoBlock,
                  text_of(dataset.name(), ": says ", record.inodes_used,
                          " inodes in use, the map has ", in_use));
  }
  if (record.state == kDatasetLive) {
    image.report.inodes += in_use;
  }
}

}  // namespace duet::wafl
