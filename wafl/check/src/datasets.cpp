// The aggregate's own trees, and the datasets of a volume.

#include <algorithm>
#include <map>

#include "stages.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kDatasetsPerBlock = kBlockBytes / sizeof(DiskDataset);
constexpr std::uint64_t kZombiesPerBlock = kBlockBytes / sizeof(ZombieEntry);

// `on_shared` may be empty.
Task<void> walk_all(Image& image, TreeRoot tree, WalkRules rules, std::string where,
                    std::function<void(const BlockPointer&)> on_shared) {
  TreeWalk walk(image, tree, rules, std::move(where));
  walk.on_shared = std::move(on_shared);
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      co_return;
    }
  }
}

WalkRules aggregate_rules(const Image& image, TreeKind kind) {
  WalkRules rules;
  rules.kind = kind;
  rules.birth_max = image.root.cp;
  return rules;
}

Task<void> check_map_tree(Image& image, TreeRoot tree, TreeKind kind, std::string_view name) {
  const WalkRules rules = aggregate_rules(image, kind);
  std::string where(name);
  std::function<void(const BlockPointer&)> none;
  co_await walk_all(image, tree, rules, std::move(where), std::move(none));
}

// A zombie's blocks that older snapshots hold.
std::function<void(const BlockPointer&)> note_pending(Image& image) {
  return [&image](const BlockPointer& pointer) {
    if (!image.pending.add(pointer.block())) {
      image.problem(ProblemKind::kZombie, pointer.block(),
                    text_of("block ", pointer.block(), " is in two zombies"));
    }
  };
}

bool name_possible(const DiskDataset& record) {
  if (record.name_bytes == 0 || record.name_bytes > kNameBytesMax) {
    return false;
  }
  const std::string_view name(record.name.data(), record.name_bytes);
  return name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos &&
         name != "." && name != "..";
}

void check_record(Image& image, const CheckDataset& dataset) {
  const DiskDataset& record = dataset.record;
  const auto bad = [&](std::string_view what) {
    image.problem(ProblemKind::kDataset, kNoBlock, text_of(dataset.name(), ": ", what));
  };
  const bool system = record.volume == static_cast<std::uint32_t>(kSystemVolume);
  if (record.volume >= image.root.next_volume && !system) {
    bad("the volume's number was never given");
  }
  if (record.state != kDatasetDying && !system && !name_possible(record)) {
    bad("an impossible name");
  }
  if (record.state == kDatasetSnapshot &&
      (record.snapshot == 0 || record.cp == 0 || record.cp > image.root.cp)) {
    bad("a snapshot without number or CP");
  }
  if (record.state != kDatasetSnapshot && record.snapshot != 0) {
    bad("a live tree with a snapshot's number");
  }
  if (record.state != kDatasetLive &&
      (record.origin_volume != 0 || record.origin_snapshot != 0 || record.origin_cp != 0)) {
    bad("only a live tree can be a clone's");
  }
  if (record.receiving > (record.state == kDatasetLive ? 1U : 0U) ||
      (record.state != kDatasetSnapshot && record.received != SnapshotIdentity{})) {
    bad("only a live tree is received, and only a snapshot was");
  }
  if (record.state == kDatasetDying &&
      (!record.inode_file.pointer.hole() || !record.inode_map.pointer.hole() ||
       record.dead_entries != 0)) {
    bad("a destroyed volume with more than zombies");
  }
}

// Sorts the datasets of the file into volumes.
class VolumeTable {
 public:
  void add(Image& image, const CheckDataset& dataset) {
    const DiskDataset& record = dataset.record;
    if (record.state == kDatasetFree) {
      return;
    }
    if (record.state > kDatasetDying) {
      image.problem(ProblemKind::kDataset, kNoBlock,
                    text_of(dataset.name(), ": unknown state ", record.state));
      return;
    }
    check_record(image, dataset);
    CheckVolume& volume = volumes_[record.volume];
    volume.id = record.volume;
    (record.state == kDatasetSnapshot ? volume.snapshots : volume.live).push_back(dataset);
  }

  std::vector<CheckVolume> take(Image& image) {
    std::vector<CheckVolume> list;
    for (auto& [id, volume] : volumes_) {
      if (volume.live.size() != 1) {
        image.problem(ProblemKind::kDataset, kNoBlock,
                      text_of("volume ", id, ": ", volume.live.size(), " live trees"));
      }
      check_order(image, volume);
      list.push_back(std::move(volume));
    }
    std::uint64_t features = 0;
    for (CheckVolume& volume : list) {
      features |= find_origin(image, list, volume) ? std::uint64_t{kFeatureClones} : 0;
      for (const CheckDataset& live : volume.live) {
        features |= live.record.receiving != 0 ? std::uint64_t{kFeatureReceiving} : 0;
      }
    }
    if (features != image.root.readonly_compatible) {
      image.problem(ProblemKind::kRoot, kNoBlock,
                    "root: its features are not those of the volumes");
    }
    return list;
  }

 private:
  // Whether the volume is a clone; its origin must be there, and older: no clone is its own.
  static bool find_origin(Image& image, const std::vector<CheckVolume>& all, CheckVolume& clone) {
    if (clone.live.size() != 1 || clone.live.front().record.origin_volume == 0) {
      return false;
    }
    const DiskDataset& record = clone.live.front().record;
    for (const CheckVolume& volume : all) {
      for (const CheckDataset& snapshot : volume.snapshots) {
        if (volume.id == record.origin_volume && volume.id < clone.id &&
            snapshot.record.snapshot == record.origin_snapshot &&
            snapshot.record.cp == record.origin_cp) {
          clone.origin = snapshot.record;
          image.origins[clone.id] = {volume.id, record.origin_cp};
          return true;
        }
      }
    }
    image.problem(ProblemKind::kDataset, kNoBlock,
                  text_of("volume ", clone.id, ": is a clone of snapshot ", record.origin_snapshot,
                          " of volume ", record.origin_volume, ", which is not there"));
    return true;
  }

  static void check_order(Image& image, CheckVolume& volume) {
    std::ranges::stable_sort(volume.snapshots, {},
                             [](const CheckDataset& d) { return d.record.cp; });
    for (std::size_t i = 1; i < volume.snapshots.size(); ++i) {
      const DiskDataset& before = volume.snapshots[i - 1].record;
      const DiskDataset& record = volume.snapshots[i].record;
      if (before.cp == record.cp || before.snapshot >= record.snapshot) {
        image.problem(ProblemKind::kDataset, kNoBlock,
                      text_of("volume ", volume.id, ": snapshots ", before.snapshot, " and ",
                              record.snapshot, " are out of order"));
      }
    }
    if (!volume.snapshots.empty() && !volume.live.empty() &&
        volume.snapshots.back().record.snapshot >= volume.live.front().record.next_snapshot) {
      image.problem(ProblemKind::kDataset, kNoBlock,
                    text_of("volume ", volume.id, ": a snapshot's number was never given"));
    }
  }

  std::map<std::uint32_t, CheckVolume> volumes_;
};

Task<void> check_inode_file(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth) {
  WalkRules rules = rules_of(TreeKind::kInodeFile, dataset);
  rules.shared_birth = shared_birth;
  if (dataset.record.state == kDatasetSnapshot) {
    rules.birth_max = std::min(rules.birth_max, dataset.record.cp);
  }
  TreeWalk walk(image, dataset.record.inode_file, rules, dataset.name() + ": inode file");
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      co_return;
    }
    for (std::uint64_t i = 0; !leaf->bytes.empty() && i < kInodesPerBlock; ++i) {
      const auto inode = load<DiskInode>(leaf->bytes, i * sizeof(DiskInode));
      const std::uint64_t number = leaf->index * kInodesPerBlock + i;
      co_await check_inode(image, dataset, shared_birth, number, inode, leaf->pointer.birth);
    }
  }
}

// The trees of the inodes in one block of an inode file that is a zombie.
Task<void> check_zombie_inodes(Image& image, const CheckDataset& dataset, WalkRules rules,
                               Leaf leaf, std::string where) {
  rules.kind = TreeKind::kFile;
  rules.reads = LeafReads::kNew;
  rules.place_from_owner = false;
  rules.base = 0;
  rules.birth_max = leaf.pointer.birth;
  rules.volume = dataset.record.volume;
  for (std::uint64_t i = 0; !leaf.bytes.empty() && i < kInodesPerBlock; ++i) {
    const auto inode = load<DiskInode>(leaf.bytes, i * sizeof(DiskInode));
    if (inode.type != 0 && !inode.tree.pointer.hole()) {
      rules.inode = leaf.index * kInodesPerBlock + i;
      std::string name = text_of(where, ": inode ", rules.inode);
      std::function<void(const BlockPointer&)> pending = note_pending(image);
      co_await walk_all(image, inode.tree, rules, std::move(name), std::move(pending));
    }
  }
}

Task<void> check_zombie(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth,
                        ZombieEntry zombie, std::uint32_t birth, std::string where) {
  if (zombie.pointer.hole()) {
    co_return;
  }
  if (zombie.kind > 1 || zombie.height > kHeightMax) {
    image.problem(ProblemKind::kZombie, zombie.pointer.block(), where + " is of no known kind");
    co_return;
  }
  WalkRules rules = rules_of(TreeKind::kFile, dataset);
  rules.shared_birth = shared_birth;
  rules.keep_birth = zombie.keep_birth;
  rules.birth_max = birth;
  rules.place_from_owner = true;
  rules.into_shared = true;
  if (zombie.kind == 1) {
    rules.kind = TreeKind::kInodeFile;
    rules.reads = LeafReads::kAll;
  } else if (zombie.pointer.block() < image.reader.block_count()) {
    // An inode map goes the same way as a file.
    const OwnerEntry owner = co_await image.owner(zombie.pointer.block());
    if (owner.tree == static_cast<std::uint8_t>(TreeKind::kInodeMap)) {
      rules.kind = TreeKind::kInodeMap;
    }
  }
  const TreeRoot top{zombie.pointer, zombie.height, 0, 0};
  TreeWalk walk(image, top, rules, where);
  walk.on_shared = note_pending(image);
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      co_return;
    }
    if (zombie.kind == 1) {
      co_await check_zombie_inodes(image, dataset, rules, *leaf, where);
    }
  }
}

Task<void> check_zombies(Image& image, const CheckDataset& dataset, std::uint32_t shared_birth) {
  const DiskDataset& record = dataset.record;
  TreeWalk walk(image, record.zombies, rules_of(TreeKind::kZombies, dataset),
                dataset.name() + ": zombies");
  std::uint64_t blocks = 0;
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      break;
    }
    ++blocks;
    for (std::uint64_t i = 0; !leaf->bytes.empty() && i < kZombiesPerBlock; ++i) {
      const std::uint64_t index = leaf->index * kZombiesPerBlock + i;
      if (index < record.zombie_entries) {
        const auto zombie = load<ZombieEntry>(leaf->bytes, i * sizeof(ZombieEntry));
        std::string where = text_of(dataset.name(), ": zombie ", index);
        co_await check_zombie(image, dataset, shared_birth, zombie, leaf->pointer.birth,
                              std::move(where));
      }
    }
  }
  if (blocks != (record.zombie_entries + kZombiesPerBlock - 1) / kZombiesPerBlock) {
    image.problem(
        ProblemKind::kZombie, kNoBlock,
        text_of(dataset.name(), ": ", record.zombie_entries, " zombies in ", blocks, " blocks"));
  }
}

// `before`: the snapshot before this one; `origin`: of the clone.  Null: there is none.
Task<void> check_dataset(Image& image, const CheckDataset& dataset, const DiskDataset* before,
                         const DiskDataset* origin) {
  // Volumes come in the order of their numbers, so the origin's blocks were reached before.
  const DiskDataset* shared = before != nullptr ? before : origin;
  const std::uint32_t shared_birth = shared != nullptr ? shared->cp : 0;
  co_await check_inode_file(image, dataset, shared_birth);
  co_await check_inode_map(image, dataset, shared_birth);
  co_await check_zombies(image, dataset, shared_birth);
  if (origin != nullptr) {
    co_await check_shared(image, *origin, dataset);
  }
  const DiskDataset nothing;
  const DiskDataset& older = before != nullptr ? *before : nothing;
  const std::uint32_t origin_cp = origin != nullptr ? origin->cp : 0;
  co_await check_dead(image, older, dataset, origin_cp);
}

}  // namespace

std::string CheckDataset::name() const {
  return record.snapshot == 0 ? text_of("volume ", record.volume)
                              : text_of("volume ", record.volume, " snapshot ", record.snapshot);
}

Task<std::vector<CheckVolume>> check_aggregate_trees(Image& image) {
  image.stage = "maps";
  const DiskRoot& root = image.root;
  co_await check_map_tree(image, root.owner_map, TreeKind::kOwnerMap, "owner map");
  co_await check_map_tree(image, root.block_map, TreeKind::kBlockMap, "block map");
  co_await check_map_tree(image, root.area_map, TreeKind::kAreaMap, "area map");

  VolumeTable table;
  TreeWalk walk(image, root.datasets, aggregate_rules(image, TreeKind::kDatasets), "datasets");
  for (;;) {
    const std::optional<Leaf> leaf = co_await walk.next();
    if (!leaf) {
      break;
    }
    for (std::uint64_t i = 0; !leaf->bytes.empty() && i < kDatasetsPerBlock; ++i) {
      const CheckDataset dataset{load<DiskDataset>(leaf->bytes, i * sizeof(DiskDataset)),
                                 leaf->pointer.birth};
      table.add(image, dataset);
      if (dataset.record.state != kDatasetFree &&
          leaf->index * kDatasetsPerBlock + i >= root.dataset_slots) {
        image.problem(ProblemKind::kDataset, kNoBlock,
                      dataset.name() + ": behind the root's last slot");
      }
    }
  }
  co_return table.take(image);
}

Task<void> check_volume(Image& image, CheckVolume& volume) {
  image.stage = "volumes";
  const std::uint64_t reached_before = image.reached.count();
  ++image.report.volumes;
  image.report.snapshots += volume.snapshots.size();
  const DiskDataset* before = nullptr;
  const DiskDataset* origin = volume.origin ? &*volume.origin : nullptr;
  for (const CheckDataset& snapshot : volume.snapshots) {
    co_await check_dataset(image, snapshot, before, origin);
    before = &snapshot.record;
  }
  for (const CheckDataset& live : volume.live) {
    co_await check_dataset(image, live, before, origin);
  }
  const std::uint64_t used = image.reached.count() - reached_before;
  if (volume.live.size() == 1 && volume.live.front().record.used_blocks != used) {
    image.problem(ProblemKind::kVolumeUsed, kNoBlock,
                  text_of("volume ", volume.id, ": says that it uses ",
                          volume.live.front().record.used_blocks, " blocks, and uses ", used));
  }
}

}  // namespace duet::wafl
