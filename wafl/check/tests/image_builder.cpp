#include "image_builder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "platform/task_scope.h"
#include "sim/sim_scheduler.h"
#include "wafl/directory_format.h"

namespace duet::wafl::testing {

namespace {

constexpr SipKey kKey{0x1234, 0x5678};

template <typename T>
T with_checksum(T value) {
  value.checksum = 0;
  value.checksum = crc32c(bytes_of(value));
  return value;
}

Content text_block(std::string_view text) {
  Content content(kBlockBytes);
  std::memcpy(content.data(), text.data(), std::min(text.size(), content.size()));
  return content;
}

template <typename T>
std::map<std::uint64_t, Content> array_blocks(const std::vector<T>& entries) {
  std::map<std::uint64_t, Content> blocks;
  constexpr std::size_t kPerBlock = kBlockBytes / sizeof(T);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Content& block = blocks.try_emplace(i / kPerBlock, kBlockBytes).first->second;
    store(MutableBytes(block), i % kPerBlock * sizeof(T), entries[i]);
  }
  return blocks;
}

}  // namespace

// --- BuiltDisk.

BuiltDisk::BuiltDisk(Scheduler& scheduler, std::uint64_t blocks)
    : scheduler_(scheduler), bytes_(blocks * kBlockBytes) {}

void BuiltDisk::start(BlockOperation& operation) {
  operation.result = Ok{};
  std::uint64_t at = operation.block * kBlockBytes;
  for (const MutableBytes part : operation.parts) {
    DUET_CHECK(at + part.size() <= bytes_.size());
    for (std::uint64_t i = 0; i < part.size() / kBlockBytes; ++i) {
      if (unreadable.contains(at / kBlockBytes + i)) {
        operation.result = Error{Errc::kIo, "unreadable"};
      }
    }
    std::memcpy(part.data(), &bytes_[at], part.size());
    at += part.size();
  }
  scheduler_.post(operation);
}

// --- ImageBuilder.

ImageBuilder::ImageBuilder(Scheduler& s, std::vector<std::uint64_t> disk_blocks) : scheduler(s) {
  root.aggregate = {7, 8};
  root.next_volume = 9;
  root.directory_key = kKey;
  root.disk_count = static_cast<std::uint32_t>(disk_blocks.size());
  for (std::size_t i = 0; i < disk_blocks.size(); ++i) {
    disks.push_back(std::make_unique<BuiltDisk>(s, disk_blocks[i]));
    root.disks[i] = {{100, i}, disk_blocks[i]};
    root.block_count += disk_blocks[i];
  }
}

OwnerEntry ImageBuilder::owner(TreeKind kind, std::uint32_t volume, std::uint64_t inode) {
  OwnerEntry entry;
  entry.tree = static_cast<std::uint8_t>(kind);
  entry.volume = volume;
  entry.inode = inode;
  return entry;
}

MutableBytes ImageBuilder::raw(std::uint64_t block) {
  for (const auto& disk : disks) {
    if (block < disk->block_count()) {
      return disk->block(block);
    }
    block -= disk->block_count();
  }
  DUET_CHECK(false);
}

BlockPointer ImageBuilder::write(const OwnerEntry& owner, Content content) {
  if (mutate) {
    mutate(writes_++, content);
  }
  if (next_ >= disks[0]->block_count() && next_ < disks[0]->block_count() + kReservedBlocks) {
    next_ = disks[0]->block_count() + kReservedBlocks;
  }
  const std::uint64_t block = next_++;
  std::memcpy(raw(block).data(), content.data(), kBlockBytes);
  allocated.insert(block);
  OwnerEntry entry = owner;
  entry.birth = cp;
  owners[block] = entry;
  return {block, cp, crc32c(content)};
}

void ImageBuilder::write_interior(TestTree& tree, OwnerEntry owner) {
  std::map<std::uint64_t, BlockPointer> below = tree.leaves;
  std::uint32_t height = 0;
  tree.interior.clear();
  while (below.size() > 1 || (!below.empty() && below.rbegin()->first > 0)) {
    ++height;
    std::map<std::uint64_t, Content> blocks;
    for (const auto& [index, pointer] : below) {
      Content& block = blocks.try_emplace(index / kFanOut, kBlockBytes).first->second;
      store(MutableBytes(block), index % kFanOut * sizeof(BlockPointer), pointer);
    }
    below.clear();
    for (auto& [index, block] : blocks) {
      owner.level = static_cast<std::uint8_t>(height);
      owner.offset = index << (8U * height);
      below[index] = write(owner, std::move(block));
      tree.interior.push_back(below[index]);
    }
  }
  tree.root = below.empty() ? TreeRoot{} : TreeRoot{below.begin()->second, height, 0, 0};
}

void ImageBuilder::finish() {
  TestTree tree;
  OwnerEntry entry = owner(TreeKind::kDatasets, 0);
  for (const auto& [index, block] : array_blocks(datasets)) {
    entry.offset = index;
    entry.level = 0;
    tree.leaves[index] = write(entry, block);
  }
  write_interior(tree, entry);
  root.datasets = tree.root;
  root.dataset_slots = datasets.size();

  // The maps describe their own blocks: places first, contents then.
  const std::uint64_t leaves = (root.block_count + 127) / 128;
  DUET_CHECK(leaves <= kFanOut && root.block_count <= kAreaBlocks);
  const auto hook = std::move(mutate);
  mutate = nullptr;
  const Content zeros(kBlockBytes);
  std::vector<BlockPointer> owner_leaves;
  for (std::uint64_t i = 0; i < leaves; ++i) {
    entry = owner(TreeKind::kOwnerMap, 0);
    entry.offset = i;
    owner_leaves.push_back(write(entry, zeros));
  }
  entry = owner(TreeKind::kOwnerMap, 0);
  entry.level = 1;
  BlockPointer owner_top = write(entry, zeros);
  BlockPointer block_leaf = write(owner(TreeKind::kBlockMap, 0), zeros);
  BlockPointer area_leaf = write(owner(TreeKind::kAreaMap, 0), zeros);
  mutate = hook;

  const auto place = [&](BlockPointer& pointer, Content content) {
    if (mutate) {
      mutate(writes_++, content);
    }
    std::memcpy(raw(pointer.block()).data(), content.data(), kBlockBytes);
    pointer.checksum = crc32c(content);
  };
  Content map(kBlockBytes);
  std::uint32_t free = 0;
  for (std::uint64_t block = 0; block < kAreaBlocks; ++block) {
    const std::uint64_t first = disks[0]->block_count();
    const bool reserved = block < kReservedBlocks || block >= root.block_count ||
                          (block >= first && block < first + kReservedBlocks);
    const bool set = (reserved || allocated.contains(block)) != flip_bits.contains(block);
    map[block / 8] |= std::byte(set ? 1U << (block % 8) : 0U);
    free += set ? 0 : 1;
  }
  Content areas(kBlockBytes);
  store(MutableBytes(areas), 0, AreaEntry{free + area_lie, 0});
  place(block_leaf, map);
  place(area_leaf, areas);
  Content top(kBlockBytes);
  for (std::uint64_t i = 0; i < leaves; ++i) {
    Content leaf(kBlockBytes);
    for (std::uint64_t j = 0; j < 128; ++j) {
      const auto found = owners.find(i * 128 + j);
      store(MutableBytes(leaf), j * sizeof(OwnerEntry),
            found != owners.end() ? found->second : OwnerEntry{});
    }
    place(owner_leaves[i], leaf);
    store(MutableBytes(top), i * sizeof(BlockPointer), owner_leaves[i]);
  }
  place(owner_top, top);
  root.block_map.pointer = block_leaf;
  root.area_map.pointer = area_leaf;
  root.owner_map = {owner_top, 1, 0, 0};
  root.free_blocks = free;
  root.cp = cp;
  if (root_lie) {
    root_lie(root);
  }
  root = with_checksum(root);
  store(disks[0]->block(kRootBlockA), 0, root);
  store(disks[disks.size() > 1 ? 1 : 0]->block(kRootBlockB), 0, root);
  for (std::uint32_t i = 0; i < disks.size(); ++i) {
    DiskLabel label;
    label.index = i;
    label.aggregate = root.aggregate;
    label.disk = root.disks[i].disk;
    label.block_count = disks[i]->block_count();
    if (label_lie) {
      label_lie(label);
    }
    store(disks[i]->block(kLabelBlock), 0, with_checksum(label));
  }
}

namespace {

Task<void> run_check(std::vector<BlockDevice*> devices, CheckOptions options, CheckReport& report) {
  report = co_await wafl::check(std::move(devices), std::move(options));
}

}  // namespace

CheckReport ImageBuilder::check(CheckOptions options) {
  std::vector<BlockDevice*> devices;
  for (const auto& disk : disks) {
    devices.insert(devices.begin(), disk.get());  // in the wrong order, on purpose
  }
  CheckReport report;
  TaskScope scope(scheduler);
  scope.spawn(run_check(std::move(devices), std::move(options), report));
  DUET_CHECK(static_cast<sim::SimScheduler&>(scheduler).run(100'000'000));
  DUET_CHECK(scope.idle());
  return report;
}

// --- TestVolume.

TestVolume::TestVolume(ImageBuilder& builder, std::uint32_t id) : builder_(builder) {
  live.state = kDatasetLive;
  live.volume = id;
  live.next_snapshot = 1;
  live.name[0] = static_cast<char>('a' + id);
  live.name_bytes = 1;
  put_directory(2, 2, {});
}

TestVolume::TestVolume(ImageBuilder& builder, std::uint32_t id, const TestVolume& origin)
    : inodes(origin.inodes),
      files(origin.files),
      builder_(builder),
      inode_file_(origin.snapshot_inode_file_),
      inode_map_(origin.snapshot_inode_map_),
      inode_blocks_(origin.snapshot_inode_blocks_) {
  const DiskDataset& shared = origin.snapshots.back();
  live.state = kDatasetLive;
  live.volume = id;
  live.next_snapshot = 1;
  live.name[0] = static_cast<char>('a' + id);
  live.name_bytes = 1;
  live.inode_file = shared.inode_file;
  live.inode_map = shared.inode_map;
  live.inodes_used = shared.inodes_used;
  live.inode_slots = shared.inode_slots;
  live.origin_volume = shared.volume;
  live.origin_snapshot = shared.snapshot;
  live.origin_cp = shared.cp;
  builder.root.readonly_compatible = kFeatureClones;
}

DiskInode& TestVolume::put(std::uint64_t number, FileType type) {
  DiskInode& made = inodes[number];
  made.type = static_cast<std::uint8_t>(type);
  made.mode = 0644;
  made.links = 1;
  return made;
}

void TestVolume::put_block(std::uint64_t number, std::uint64_t index, std::string_view text) {
  TestTree& tree = files[number];
  if (const auto old = tree.leaves.find(index); old != tree.leaves.end()) {
    dispose(old->second);
  }
  OwnerEntry owner = ImageBuilder::owner(TreeKind::kFile, live.volume, number);
  owner.offset = index;
  tree.leaves[index] = builder_.write(owner, text_block(text));
  dispose_interior(tree);
  owner.offset = 0;
  builder_.write_interior(tree, owner);
  DiskInode& inode = inodes[number];
  inode.tree = tree.root;
  inode.used_blocks = tree.leaves.size();
  inode.size_bytes = std::max(inode.size_bytes, index * kBlockBytes + text.size());
}

void TestVolume::drop_block(std::uint64_t number, std::uint64_t index) {
  TestTree& tree = files[number];
  dispose(tree.leaves.at(index));
  tree.leaves.erase(index);
  dispose_interior(tree);
  builder_.write_interior(tree, ImageBuilder::owner(TreeKind::kFile, live.volume, number));
  inodes[number].tree = tree.root;
  inodes[number].used_blocks = tree.leaves.size();
}

void TestVolume::put_directory(std::uint64_t number, std::uint64_t parent,
                               const std::vector<Name>& names) {
  DiskInode& inode = put(number, FileType::kDirectory);
  inode.mode = 0755;
  inode.links = 2;
  inode.user_words[kDirectoryParentWord] = parent;
  std::map<std::uint64_t, Name> by_cookie;
  for (const Name& name : names) {
    by_cookie[directory_cookie_base(kKey, name.name)] = name;
    inode.links += name.type == FileType::kDirectory ? 1 : 0;
  }
  if (names.empty()) {
    return;
  }
  Content block(kBlockBytes);
  std::size_t heap = kBlockBytes;
  std::size_t slot = sizeof(DirectoryBlockHeader);
  for (const auto& [cookie, name] : by_cookie) {
    heap -= kDirectoryRecordBytes + name.name.size();
    const MutableBytes record = MutableBytes(block).subspan(heap);
    store(record, 0, cookie);
    store(record, 8, name.inode);
    store(record, 16, static_cast<std::uint8_t>(name.type));
    store(record, 17, static_cast<std::uint8_t>(name.name.size()));
    std::memcpy(&record[kDirectoryRecordBytes], name.name.data(), name.name.size());
    store(MutableBytes(block), slot, static_cast<std::uint16_t>(heap));
    slot += 2;
  }
  DirectoryBlockHeader header;
  header.kind = static_cast<std::uint8_t>(DirectoryBlockKind::kLeaf);
  header.count = static_cast<std::uint16_t>(names.size());
  header.heap_offset = static_cast<std::uint16_t>(heap);
  store(MutableBytes(block), 0, header);
  inode.size_bytes = 0;
  put_block(number, 0, {reinterpret_cast<const char*>(block.data()), block.size()});
}

void TestVolume::remove(std::uint64_t number) {
  TestTree& tree = files[number];
  for (const auto& [index, pointer] : tree.leaves) {
    dispose(pointer);
  }
  dispose_interior(tree);
  files.erase(number);
  inodes[number] = DiskInode{};
}

void TestVolume::remove_as_zombie(std::uint64_t number) {
  const TreeRoot top = files[number].root;
  zombies.push_back({top.pointer, top.height, 0, live.origin_cp});
  files.erase(number);
  inodes[number] = DiskInode{};
}

void TestVolume::dispose(const BlockPointer& pointer) {
  if (pointer.birth <= live.origin_cp) {
    return;
  }
  if (!snapshots.empty() && pointer.birth <= snapshots.back().cp) {
    dead.push_back(pointer);
  } else {
    builder_.release(pointer);
  }
}

void TestVolume::dispose_interior(TestTree& tree) {
  for (const BlockPointer& pointer : tree.interior) {
    dispose(pointer);
  }
  tree.interior.clear();
}

void TestVolume::write_leaves(TestTree& tree, const OwnerEntry& owner,
                              const std::map<std::uint64_t, Content>& leaves) {
  for (const auto& [index, content] : leaves) {
    if (const auto old = tree.leaves.find(index); old != tree.leaves.end()) {
      dispose(old->second);
    }
    OwnerEntry entry = owner;
    entry.offset = index;
    tree.leaves[index] = builder_.write(entry, content);
  }
  if (!leaves.empty()) {
    dispose_interior(tree);
    builder_.write_interior(tree, owner);
  }
}

void TestVolume::write_inode_blocks() {
  std::map<std::uint64_t, Content> blocks;
  for (const auto& [number, inode] : inodes) {
    Content& block = blocks.try_emplace(number / kInodesPerBlock, kBlockBytes).first->second;
    store(MutableBytes(block), number % kInodesPerBlock * sizeof(DiskInode), inode);
  }
  std::erase_if(blocks, [this](const auto& block) {
    const auto old = inode_blocks_.find(block.first);
    return old != inode_blocks_.end() && old->second == block.second;
  });
  for (const auto& [index, block] : blocks) {
    inode_blocks_[index] = block;
  }
  write_leaves(inode_file_, ImageBuilder::owner(TreeKind::kInodeFile, live.volume), blocks);
  live.inode_file = inode_file_.root;
}

void TestVolume::write_inode_map() {
  Content map(kBlockBytes);
  live.inodes_used = 0;
  for (const auto& [number, inode] : inodes) {
    const bool used = (inode.type != 0) != map_lie.contains(number);
    map[number / 8] |= std::byte(used ? 1U << (number % 8) : 0U);
    live.inodes_used += inode.type != 0 ? 1 : 0;
    live.inode_slots = std::max(live.inode_slots, number + 1);
  }
  const std::map<std::uint64_t, Content> leaves{{0, map}};
  write_leaves(inode_map_, ImageBuilder::owner(TreeKind::kInodeMap, live.volume), leaves);
  live.inode_map = inode_map_.root;
}

// Both lists anew: what they were is nobody else's.
void TestVolume::write_lists() {
  for (TestTree* tree : {&dead_list_, &zombie_list_}) {
    for (const auto& [index, pointer] : tree->leaves) {
      builder_.release(pointer);
    }
    for (const BlockPointer& pointer : tree->interior) {
      builder_.release(pointer);
    }
    *tree = TestTree{};
  }
  write_leaves(dead_list_, ImageBuilder::owner(TreeKind::kDeadList, live.volume),
               array_blocks(dead));
  write_leaves(zombie_list_, ImageBuilder::owner(TreeKind::kZombies, live.volume),
               array_blocks(zombies));
  live.dead_list = dead_list_.root;
  live.dead_entries = live.dead_blocks = dead.size();
  live.zombies = zombie_list_.root;
  live.zombie_entries = zombies.size();
}

void TestVolume::commit() {
  write_inode_blocks();
  write_inode_map();
  write_lists();
  ++builder_.cp;
}

void TestVolume::snapshot() {
  const std::uint32_t cp = builder_.cp;
  commit();
  DiskDataset record = live;
  record.state = kDatasetSnapshot;
  record.origin_volume = record.origin_snapshot = record.origin_cp = 0;
  record.snapshot = live.next_snapshot++;
  record.cp = cp;
  snapshots.push_back(record);
  dead.clear();
  zombies.clear();
  snapshot_inode_file_ = inode_file_;
  snapshot_inode_map_ = inode_map_;
  snapshot_inode_blocks_ = inode_blocks_;
  dead_list_ = zombie_list_ = TestTree{};
  live.dead_list = live.zombies = TreeRoot{};
  live.dead_entries = live.dead_blocks = live.zombie_entries = 0;
}

void TestVolume::restore(const std::map<std::uint64_t, DiskInode>& old_inodes,
                         const std::map<std::uint64_t, TestTree>& old_files) {
  inodes = old_inodes;
  files = old_files;
  inode_file_ = snapshot_inode_file_;
  inode_map_ = snapshot_inode_map_;
  inode_blocks_ = snapshot_inode_blocks_;
  dead.clear();
}

void TestVolume::deliver() {
  live.used_blocks = 0;
  for (const std::uint64_t block : builder_.allocated) {
    const OwnerEntry& owner = builder_.owners[block];
    const bool ours =
        owner.volume == live.volume && owner.tree <= static_cast<std::uint8_t>(TreeKind::kZombies);
    live.used_blocks += ours ? 1 : 0;
  }
  live.used_blocks += static_cast<std::uint64_t>(used_lie);
  builder_.datasets.insert(builder_.datasets.end(), snapshots.begin(), snapshots.end());
  builder_.datasets.push_back(live);
}

void fill_example(TestVolume& volume) {
  volume.put(3, FileType::kRegular);
  volume.put_block(3, 0, "hello");
  volume.put_block(3, 1, "world");
  volume.put(4, FileType::kRegular);
  volume.put_block(4, 300, "sparse, two levels high");
  volume.put(5, FileType::kSymlink);
  volume.put_block(5, 0, "../target");
  volume.put(6, FileType::kFifo);
  volume.put_directory(7, 2, {{"again", 3, FileType::kRegular}});
  volume.put(40, FileType::kRegular);
  volume.inode(3).links = 2;
  volume.put_directory(2, 2,
                       {{"file", 3, FileType::kRegular},
                        {"sparse", 4, FileType::kRegular},
                        {"link", 5, FileType::kSymlink},
                        {"fifo", 6, FileType::kFifo},
                        {"below", 7, FileType::kDirectory},
                        {"empty", 40, FileType::kRegular}});
}

std::size_t count_of(const CheckReport& report, ProblemKind kind) {
  return static_cast<std::size_t>(std::ranges::count(report.problems, kind, &CheckProblem::kind));
}

std::string describe(const CheckReport& report) {
  std::string text;
  for (const CheckProblem& problem : report.problems) {
    text += std::string(problem_name(problem.kind)) + ": " + problem.text + "\n";
  }
  return text;
}

}  // namespace duet::wafl::testing
