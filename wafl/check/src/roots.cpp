// Labels, the disk table and the two copies of the root.

#include <algorithm>
#include <optional>

#include "stages.h"

namespace duet::wafl {

namespace {

struct LabelledDisk {
  BlockDevice* device;
  DiskLabel label;
};

template <typename T>
bool checksum_fits(T value) {
  const std::uint32_t written = value.checksum;
  value.checksum = 0;
  return crc32c(bytes_of(value)) == written;
}

// A block of a device that is not yet part of the aggregate.
Task<CheckBlockRef> read_block(Image& image, BlockDevice* device, std::uint64_t block) {
  if (block >= device->block_count()) {
    co_return nullptr;
  }
  const auto buffer = std::make_shared<CheckBlock>();
  const std::array<MutableBytes, 1> parts{buffer->bytes};
  const Status status = co_await device->read(block, parts);
  if (!status.ok()) {
    image.problem(ProblemKind::kUnreadable, kNoBlock,
                  text_of("disk ", device->name(), ": block ", block, " cannot be read"));
    co_return nullptr;
  }
  co_return CheckBlockRef(buffer);
}

Task<std::optional<DiskLabel>> read_label(Image& image, BlockDevice* device) {
  const CheckBlockRef block = co_await read_block(image, device, kLabelBlock);
  if (block == nullptr) {
    co_return std::nullopt;
  }
  const auto label = load<DiskLabel>(block->bytes, 0);
  if (label.magic != kLabelMagic || label.version != kFormatVersion || !checksum_fits(label)) {
    image.problem(ProblemKind::kLabel, kNoBlock,
                  text_of("disk ", device->name(), ": no valid label"));
    co_return std::nullopt;
  }
  co_return label;
}

Task<std::optional<DiskRoot>> read_root(Image& image, BlockDevice* device, std::uint64_t block) {
  const CheckBlockRef bytes = co_await read_block(image, device, block);
  if (bytes == nullptr) {
    co_return std::nullopt;
  }
  const auto root = load<DiskRoot>(bytes->bytes, 0);
  if (root.magic != kRootMagic || !checksum_fits(root)) {
    image.note(text_of("disk ", device->name(), ": the root at block ", block,
                       " is torn or damaged; the other copy counts"));
    co_return std::nullopt;
  }
  co_return root;
}

// The copy that counts.  A crash between the two writes leaves the second one CP behind.
std::optional<DiskRoot> choose_root(Image& image, const std::optional<DiskRoot>& a,
                                    const std::optional<DiskRoot>& b) {
  if (!a || !b) {
    return a ? a : b;
  }
  const DiskRoot& newer = a->cp >= b->cp ? *a : *b;
  const DiskRoot& older = a->cp >= b->cp ? *b : *a;
  if (newer.aggregate != older.aggregate) {
    image.problem(ProblemKind::kRoot, kNoBlock, "the root's copies are of two aggregates");
  } else if (newer.cp == older.cp && newer.checksum != older.checksum) {
    image.problem(ProblemKind::kRoot, kNoBlock, "the root's copies of one CP differ");
  } else if (newer.cp - older.cp > 1) {
    image.problem(ProblemKind::kRoot, kNoBlock,
                  text_of("the root's copies are of CP ", newer.cp, " and ", older.cp,
                          ": a durable one was lost"));
  } else if (newer.cp != older.cp) {
    image.note(text_of("one copy of the root is of CP ", older.cp,
                       ": the crash came before it was written again"));
  }
  return newer;
}

void check_root_fields(Image& image) {
  const DiskRoot& root = image.root;
  const auto bad = [&](std::string what) {
    image.problem(ProblemKind::kRoot, kNoBlock, "root: " + std::move(what));
  };
  if (root.cp == 0) {
    bad("CP 0");
  }
  if (root.filer > 1) {
    bad(text_of("filer ", root.filer));
  }
  if ((root.flags & ~std::uint32_t{kRootLogEmpty}) != 0) {
    bad("unknown flags");
  }
  if (root.free_blocks > root.block_count) {
    bad("more free blocks than blocks");
  }
  if (root.reserved0 != 0 ||
      std::ranges::any_of(root.reserved, [](std::uint64_t word) { return word != 0; })) {
    bad("reserved fields are not zero");
  }
}

// The table against the labels; the disks come to the reader in its order.
bool match_disks(Image& image, const std::vector<LabelledDisk>& disks) {
  const DiskRoot& root = image.root;
  if (root.disk_count == 0 || root.disk_count > kDisksMax || root.disk_count != disks.size()) {
    image.problem(ProblemKind::kLabel, kNoBlock,
                  text_of("the root names ", root.disk_count, " disks, ", disks.size(),
                          " with a label are here"));
    return false;
  }
  bool fits = true;
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < root.disk_count; ++i) {
    const DiskTableEntry& entry = root.disks[i];
    const LabelledDisk& disk = disks[i];
    if (disk.label.index != i || disk.label.disk != entry.disk ||
        disk.label.aggregate != root.aggregate || disk.label.block_count != entry.block_count ||
        entry.block_count <= kReservedBlocks || entry.block_count > disk.device->block_count()) {
      image.problem(
          ProblemKind::kLabel, kNoBlock,
          text_of("disk ", disk.device->name(), " is not disk ", i, " of the root's table"));
      fits = false;
    } else {
      image.reader.add(*disk.device, entry.block_count);
      sum += entry.block_count;
    }
  }
  if (fits && sum != root.block_count) {
    image.problem(ProblemKind::kRoot, kNoBlock,
                  text_of("root: ", root.block_count, " blocks, the disks have ", sum));
  }
  return fits;
}

}  // namespace

Task<bool> load_image(Image& image, std::vector<BlockDevice*> devices) {
  std::vector<LabelledDisk> disks;
  for (BlockDevice* device : devices) {
    const std::optional<DiskLabel> label = co_await read_label(image, device);
    if (label) {
      disks.push_back({device, *label});
    }
  }
  std::ranges::stable_sort(disks, {}, [](const LabelledDisk& disk) { return disk.label.index; });
  if (disks.empty()) {
    image.problem(ProblemKind::kRoot, kNoBlock, "no disk of an aggregate");
    co_return false;
  }
  BlockDevice* second = disks.size() > 1 ? disks[1].device : disks[0].device;
  const std::optional<DiskRoot> a = co_await read_root(image, disks[0].device, kRootBlockA);
  const std::optional<DiskRoot> b = co_await read_root(image, second, kRootBlockB);
  const std::optional<DiskRoot> chosen = choose_root(image, a, b);
  if (!chosen) {
    image.problem(ProblemKind::kRoot, kNoBlock, "no valid root");
    co_return false;
  }
  image.root = *chosen;
  if (chosen->version != kFormatVersion || chosen->incompatible != 0 ||
      (chosen->readonly_compatible & ~kReadonlyCompatibleKnown) != 0) {
    image.problem(ProblemKind::kRoot, kNoBlock, "root: written by a newer build");
    co_return false;
  }
  check_root_fields(image);
  if (!match_disks(image, disks)) {
    co_return false;
  }
  image.reached.resize(image.reader.block_count());
  image.died.resize(image.reader.block_count());
  image.pending.resize(image.reader.block_count());
  image.report.cp = image.root.cp;
  image.report.blocks = image.reader.block_count();
  co_return true;
}

}  // namespace duet::wafl
