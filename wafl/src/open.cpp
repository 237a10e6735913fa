// Formatting, finding and opening an aggregate.

#include <algorithm>
#include <array>
#include <cstring>
#include <list>

#include "aggregate_state.h"
#include "base/check.h"
#include "cp_writer.h"
#include "dead_list.h"
#include "needs.h"
#include "tree_reader.h"
#include "wafl/aggregate.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kDatasetsPerBlock = kBlockBytes / sizeof(DiskDataset);
constexpr std::uint64_t kAreasPerBlock = kBlockBytes / sizeof(AreaEntry);

// One block read or written by itself.
class OneBlock {
 public:
  explicit OneBlock(BufferPool& pool)
      : buffer_(pool.allocate_zeroed()), parts_{buffer_.mutable_bytes()} {}
  [[nodiscard]] std::span<const MutableBytes> parts() const { return parts_; }
  [[nodiscard]] MutableBytes bytes() const { return buffer_.mutable_bytes(); }

 private:
  BufferRef buffer_;
  std::array<MutableBytes, 1> parts_;
};

template <typename T>
bool sealed(T copy) {
  const std::uint32_t checksum = std::exchange(copy.checksum, 0);
  return crc32c(bytes_of(copy)) == checksum;
}

template <typename T>
void seal(T& record) {
  record.checksum = 0;
  record.checksum = crc32c(bytes_of(record));
}

bool valid_label(const DiskLabel& label) {
  return label.magic == kLabelMagic && label.version == kFormatVersion && sealed(label) &&
         label.index < kDisksMax && label.block_count >= kReservedBlocks;
}

bool valid_root(const DiskRoot& root) { return root.magic == kRootMagic && sealed(root); }

bool holds_label(ConstBytes block) { return valid_label(load<DiskLabel>(block, 0)); }
bool holds_root(ConstBytes block) { return valid_root(load<DiskRoot>(block, 0)); }

Uuid draw_uuid(Entropy& entropy) { return {entropy.next(), entropy.next()}; }

DiskLabel make_label(const DiskRoot& root, std::uint32_t index) {
  DiskLabel label;
  label.index = index;
  label.aggregate = root.aggregate;
  label.disk = root.disks[index].disk;
  label.block_count = root.disks[index].block_count;
  label.filer_name = root.filer_name;
  seal(label);
  return label;
}

Task<Status> write_label(BufferPool& pool, BlockDevice& device, DiskLabel label) {
  const OneBlock block(pool);
  store(block.bytes(), 0, label);
  const Status written = co_await device.write(kLabelBlock, block.parts());
  if (!written.ok()) {
    co_return written;
  }
  const Status flushed = co_await device.flush();
  co_return flushed;
}

// Blocks [from, to) of the aggregate that no CP may use: the reserved ones of each disk, and
// those behind the end in the last area.
void exclude_reserved(const DiskSet& disks, std::uint64_t from, std::vector<std::uint64_t>& out) {
  for (const DiskSet::Disk& disk : disks.disks()) {
    for (std::uint64_t i = 0; disk.base >= from && i < kReservedBlocks; ++i) {
      out.push_back(disk.base + i);
    }
  }
  const std::uint64_t end = disks.block_count();
  for (std::uint64_t block = end; block % kAreaBlocks != 0; ++block) {
    out.push_back(block);
  }
}

std::uint64_t areas_of(std::uint64_t blocks) { return (blocks + kAreaBlocks - 1) / kAreaBlocks; }

class ZeroClock final : public WallClock {
 public:
  explicit ZeroClock(Timestamp now) : now_(now) {}
  [[nodiscard]] std::chrono::nanoseconds since_epoch() const override {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(now_));
  }

 private:
  Timestamp now_;
};

}  // namespace

Task<Result<DiskProbe>> probe(BlockDevice& device) {
  BufferPool pool;
  DiskProbe result;
  result.blank = true;
  const OneBlock block(pool);
  const std::uint64_t blocks = std::min(device.block_count(), kReservedBlocks);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const Status read = co_await device.read(i, block.parts());
    if (!read.ok()) {
      co_return read.error();
    }
    if (i == kLabelBlock) {
      result.label = load<DiskLabel>(block.bytes(), 0);
      result.ours = valid_label(result.label);
    }
    if (!all_zero(block.bytes())) {
      result.blank = false;
      break;
    }
  }
  co_return result;
}

Task<Status> format(Scheduler& scheduler, std::vector<BlockDevice*> devices, FormatOptions options,
                    Entropy& entropy) {
  DUET_CHECK(!devices.empty() && devices.size() <= kDisksMax);
  ZeroClock clock(options.now);
  auto owned = std::make_unique<AggregateState>(scheduler, clock, AggregateOptions{});
  AggregateState& state = *owned;
  DiskRoot& root = state.root;
  root.pair = options.pair;
  root.aggregate = draw_uuid(entropy);
  root.filer = options.filer;
  root.handle_key = {entropy.next(), entropy.next()};
  root.directory_key = {entropy.next(), entropy.next()};
  root.disk_count = static_cast<std::uint32_t>(devices.size());
  std::ranges::copy(options.filer_name.substr(0, root.filer_name.size() - 1),
                    root.filer_name.begin());
  for (std::size_t i = 0; i < devices.size(); ++i) {
    root.disks[i] = {draw_uuid(entropy), devices[i]->block_count()};
    state.disks.add(*devices[i], devices[i]->block_count());
    const DiskLabel label = make_label(root, static_cast<std::uint32_t>(i));
    const Status labelled = co_await write_label(state.pool, *devices[i], label);
    if (!labelled.ok()) {
      co_return labelled;
    }
    // An older root here would be taken for ours.
    const OneBlock blank(state.pool);
    for (const std::uint64_t at : {kRootBlockA, kRootBlockB}) {
      const Status wiped = co_await devices[i]->write(at, blank.parts());
      if (!wiped.ok()) {
        co_return wiped;
      }
    }
  }
  root.block_count = state.disks.block_count();
  Growth growth;
  exclude_reserved(state.disks, 0, growth.occupied);
  state.area_free.assign(areas_of(root.block_count), kAreaBlocks);
  for (const std::uint64_t block : growth.occupied) {
    --state.area_free[block / kAreaBlocks];
  }
  state.growth = std::move(growth);
  Aggregate aggregate(std::move(owned));
  state.make_volume(static_cast<std::uint32_t>(kSystemVolume), "system", 0, options.now);
  const LogPosition nothing_logged{
      .epoch = options.epoch, .log_id = options.log_id, .log_empty = true};
  const Status written = co_await aggregate.consistency_point(nothing_logged);
  co_return written;
}

namespace {

// The disks by their labels, and the newest root on them.
class RootFinder {
 public:
  RootFinder(BufferPool& pool, std::vector<BlockDevice*> devices)
      : pool_(pool), devices_(std::move(devices)) {}

  // Writes nothing.
  Task<Status> find() {
    Status status = co_await read_labels();
    if (status.ok()) {
      status = co_await read_roots();
    }
    co_return status;
  }
  // A crash between the two writes leaves an older copy; its blocks may be used again soon.
  Task<Status> repair_other_copy();
  // Puts right on the disks what they did not say at once.  For whoever alone may write there.
  Task<void> repair_healed(HealStatistics& counts);

  [[nodiscard]] const DiskRoot& root() const { return root_; }
  [[nodiscard]] const auto& labelled() const { return labelled_; }

 private:
  // A label or root, with a seal of its own that `valid` looks at.
  struct Healed {
    BlockDevice* device;
    std::uint64_t at;
    OneBlock block;
  };
  using Valid = bool (*)(ConstBytes bytes);
  Healed healed_at(BlockDevice* device, std::uint64_t at) { return {device, at, OneBlock(pool_)}; }

  Task<Status> read_labels();
  Task<Status> read_roots();
  Task<Status> read_sealed(BlockDevice* device, std::uint64_t at, const OneBlock& block,
                           Valid valid);

  BufferPool& pool_;
  std::list<Healed> healed_;
  std::vector<BlockDevice*> devices_;
  std::vector<std::pair<DiskLabel, BlockDevice*>> labelled_;
  std::array<std::pair<BlockDevice*, std::uint64_t>, 3> places_{};
  std::array<std::uint32_t, 3> seen_{};
  DiskRoot root_;
};

// Loads what a root says into memory.
class Opener {
 public:
  Opener(AggregateState& state, std::vector<BlockDevice*> devices)
      : state_(state), finder_(state.pool, std::move(devices)) {}

  Task<Status> run() {
    Status status = co_await finder_.find();
    if (status.ok()) {
      co_await finder_.repair_healed(state_.heals);
      status = co_await finder_.repair_other_copy();
    }
    if (status.ok()) {
      state_.root = finder_.root();
      status = check_trees();
    }
    if (status.ok()) {
      status = check_disks();
    }
    co_return status;
  }

  Task<Status> load_areas();
  Task<Status> load_datasets();

 private:
  Status check_trees() const;
  Status check_disks();
  Task<Result<BufferRef>> leaf(TreeRoot root, std::uint64_t index);

  AggregateState& state_;
  RootFinder finder_;
};

// What is not valid on the disk may be so in what else the disk says it is.  Changes nothing there.
Task<Status> RootFinder::read_sealed(BlockDevice* device, std::uint64_t at, const OneBlock& block,
                                     Valid valid) {
  const Status read = co_await device->read(at, block.parts());
  const bool blank = all_zero(block.bytes());
  Redundancy* const others = device->redundancy();
  if (others == nullptr || (read.ok() && (blank || valid(block.bytes())))) {
    co_return read;
  }
  Healed other = healed_at(device, at);
  for (std::uint32_t attempt = 0;; ++attempt) {
    const Status tried = co_await others->read_other(at, attempt, other.block.bytes());
    if (tried.ok() && valid(other.block.bytes())) {
      break;
    }
    if (!tried.ok() && tried.error().code != Errc::kIo) {
      co_return read;
    }
  }
  copy_bytes(other.block.bytes(), block.bytes());
  healed_.push_back(std::move(other));
  co_return Ok{};
}

// Before anything is written there: a group would take the rest of the row for right.
Task<void> RootFinder::repair_healed(HealStatistics& counts) {
  for (const Healed& healed : healed_) {
    const Status repaired =
        co_await healed.device->redundancy()->repair(healed.at, healed.block.bytes());
    ++counts.healed;
    counts.left += repaired.ok() ? 0 : 1;
  }
  healed_.clear();
}

Task<Status> RootFinder::read_labels() {
  for (BlockDevice* device : devices_) {
    const OneBlock block(pool_);
    const Status read = co_await read_sealed(device, kLabelBlock, block, holds_label);
    if (!read.ok()) {
      co_return read;
    }
    const auto label = load<DiskLabel>(block.bytes(), 0);
    if (!valid_label(label)) {
      co_return Error{Errc::kForeign, "a disk carries no label of ours: was it formatted?"};
    }
    if (!labelled_.empty() && label.aggregate != labelled_.front().first.aggregate) {
      co_return Error{Errc::kForeign, "the disks belong to different aggregates"};
    }
    labelled_.emplace_back(label, device);
  }
  std::ranges::sort(labelled_, {}, [](const auto& entry) { return entry.first.index; });
  co_return Ok{};
}

Task<Status> RootFinder::read_roots() {
  if (labelled_.empty() || labelled_.front().first.index != 0) {
    co_return Error{Errc::kNotFound, "the aggregate's first disk is missing"};
  }
  BlockDevice* first = labelled_.front().second;
  BlockDevice* second = labelled_.size() > 1 ? labelled_[1].second : first;
  places_ = {{{first, kRootBlockA}, {second, kRootBlockB}, {first, kRootBlockB}}};
  bool found = false;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const OneBlock block(pool_);
    const Status read =
        co_await read_sealed(places_[i].first, places_[i].second, block, holds_root);
    if (!read.ok()) {
      continue;  // the other copy may serve
    }
    const auto root = load<DiskRoot>(block.bytes(), 0);
    if (!valid_root(root) || root.aggregate != labelled_.front().first.aggregate) {
      continue;
    }
    seen_[i] = root.cp;
    if (!found || root.cp > root_.cp) {
      root_ = root;
      found = true;
    }
  }
  if (!found) {
    co_return Error{Errc::kCorrupt, "neither copy of the root is valid"};
  }
  if (root_.version != kFormatVersion || root_.incompatible != 0 ||
      (root_.readonly_compatible & ~kReadonlyCompatibleKnown) != 0) {
    co_return Error{Errc::kNotSupported, "the aggregate uses features that this build lacks"};
  }
  co_return Ok{};
}

Task<Status> RootFinder::repair_other_copy() {
  const OneBlock block(pool_);
  store(block.bytes(), 0, root_);
  for (std::size_t i = 0; i < 2; ++i) {
    if (seen_[i] == root_.cp) {
      continue;
    }
    const Status repaired = co_await places_[i].first->write(places_[i].second, block.parts());
    if (!repaired.ok()) {
      co_return repaired;
    }
    const Status flushed = co_await places_[i].first->flush();
    if (!flushed.ok()) {
      co_return flushed;
    }
  }
  co_return Ok{};
}

Status Opener::check_trees() const {
  const DiskRoot& root = state_.root;
  for (const TreeRoot* const tree :
       {&root.datasets, &root.block_map, &root.owner_map, &root.area_map}) {
    if (tree->height > kHeightMax) {
      return Error{Errc::kCorrupt, "a tree of the root is higher than any can be"};
    }
  }
  return Ok{};
}

Status Opener::check_disks() {
  const DiskRoot& root = state_.root;
  if (root.disk_count == 0 || root.disk_count > kDisksMax) {
    return Error{Errc::kCorrupt, "the root's disk table makes no sense"};
  }
  std::uint64_t blocks = 0;
  for (std::uint32_t i = 0; i < root.disk_count; ++i) {
    const auto it = std::ranges::find_if(finder_.labelled(), [&](const auto& entry) {
      return entry.first.disk == root.disks[i].disk;
    });
    if (it == finder_.labelled().end()) {
      return Error{Errc::kNotFound, "a disk of the aggregate is missing"};
    }
    if (it->second->block_count() < root.disks[i].block_count ||
        root.disks[i].block_count < kReservedBlocks) {
      return Error{Errc::kCorrupt, "a disk is smaller than it was"};
    }
    state_.disks.add(*it->second, root.disks[i].block_count);
    blocks += root.disks[i].block_count;
  }
  if (blocks != root.block_count) {
    return Error{Errc::kCorrupt, "the root's block count is not that of its disks"};
  }
  return Ok{};
}

Task<Result<BufferRef>> Opener::leaf(TreeRoot root, std::uint64_t index) {
  Attempt attempt(*state_.aggregate);
  for (;;) {
    const Result<BlockPointer> pointer = find_leaf(attempt, root, index);
    if (pointer.ok() && pointer.value().hole()) {
      co_return state_.pool.allocate_zeroed();
    }
    if (pointer.ok()) {
      Result<BufferRef> block = get_block(attempt, pointer.value());
      if (block.ok()) {
        co_return block;
      }
    }
    const Status loaded = co_await attempt.load();
    if (!loaded.ok()) {
      co_return loaded.error();
    }
  }
}

Task<Status> Opener::load_areas() {
  const std::uint64_t areas = areas_of(state_.root.block_count);
  state_.area_free.resize(areas);
  for (std::uint64_t at = 0; at < areas; at += kAreasPerBlock) {
    const Result<BufferRef> block = co_await leaf(state_.root.area_map, at / kAreasPerBlock);
    if (!block.ok()) {
      co_return block.error();
    }
    for (std::uint64_t i = 0; i < kAreasPerBlock && at + i < areas; ++i) {
      const auto entry = load<AreaEntry>(block.value().bytes(), i * sizeof(AreaEntry));
      if (entry.free_blocks > kAreaBlocks) {
        co_return Error{Errc::kCorrupt, "an area's free count makes no sense"};
      }
      state_.area_free[at + i] = entry.free_blocks;
    }
  }
  co_return Ok{};
}

Task<Status> Opener::load_datasets() {
  state_.next_volume = state_.root.next_volume;
  state_.slots = state_.root.dataset_slots;
  std::vector<std::unique_ptr<VolumeState>> volumes;
  std::vector<std::unique_ptr<Dataset>> snapshots;
  for (std::uint64_t slot = 0; slot < state_.slots; ++slot) {
    const Result<BufferRef> block = co_await leaf(state_.root.datasets, slot / kDatasetsPerBlock);
    if (!block.ok()) {
      co_return block.error();
    }
    const auto record =
        load<DiskDataset>(block.value().bytes(), slot % kDatasetsPerBlock * sizeof(DiskDataset));
    if (record.state == kDatasetFree) {
      state_.free_slots.push_back(slot);
      continue;
    }
    if (record.state > kDatasetDying || record.name_bytes > kNameBytesMax ||
        record.inode_file.height > kHeightMax || record.inode_map.height > kHeightMax ||
        record.dead_list.height > kHeightMax || record.zombies.height > kHeightMax) {
      co_return Error{Errc::kCorrupt, "a dataset record makes no sense"};
    }
    Dataset dataset;
    dataset.record = record;
    dataset.slot = slot;
    CpContext context(state_, state_.root.cp);  // only reads
    co_await read_zombies(context, record, dataset.zombies);
    state_.statistics.leaked_subtrees += context.leaked_subtrees;
    if (record.state == kDatasetSnapshot) {
      snapshots.push_back(std::make_unique<Dataset>(std::move(dataset)));
    } else {
      auto volume = std::make_unique<VolumeState>();
      volume->live = std::move(dataset);
      volumes.push_back(std::move(volume));
    }
  }
  std::ranges::sort(snapshots, {}, [](const auto& s) { return s->record.cp; });
  for (auto& volume : volumes) {
    for (auto& snapshot : snapshots) {
      if (snapshot && snapshot->record.volume == volume->live.record.volume) {
        volume->snapshots.push_back(std::move(snapshot));
      }
    }
    if (volume->live.record.state == kDatasetDying) {
      state_.dying.push_back(std::make_unique<Volume>(*state_.aggregate, std::move(volume)));
    } else if (!state_.volumes.contains(volume->live.record.volume)) {
      state_.add_volume(std::move(volume));
    } else {
      co_return Error{Errc::kCorrupt, "two datasets are the live tree of one volume"};
    }
  }
  if (!state_.volumes.contains(static_cast<std::uint32_t>(kSystemVolume))) {
    co_return Error{Errc::kCorrupt, "the system volume is missing"};
  }
  if (!state_.origins_sound()) {
    co_return Error{Errc::kCorrupt, "the origin of a clone is missing"};
  }
  co_return Ok{};
}

}  // namespace

Task<Result<DiskRoot>> read_root(std::vector<BlockDevice*> devices) {
  BufferPool pool;
  RootFinder finder(pool, std::move(devices));
  const Status found = co_await finder.find();
  if (!found.ok()) {
    co_return found.error();
  }
  co_return finder.root();
}

Task<Result<std::unique_ptr<Aggregate>>> Aggregate::open(Scheduler& scheduler, WallClock& clock,
                                                         std::vector<BlockDevice*> devices,
                                                         AggregateOptions options) {
  auto owned = std::make_unique<AggregateState>(scheduler, clock, options);
  Opener opener(*owned, std::move(devices));
  std::unique_ptr<Aggregate> aggregate(new Aggregate(std::move(owned)));
  Status status = co_await opener.run();
  if (status.ok()) {
    status = co_await opener.load_areas();
  }
  if (status.ok()) {
    status = co_await opener.load_datasets();
  }
  if (!status.ok()) {
    co_return status.error();
  }
  co_return Result<std::unique_ptr<Aggregate>>(std::move(aggregate));
}

// Its reserved blocks and some more, or it would take from the space.
constexpr std::uint64_t kNewDiskBlocksMin = 1024;

// A label that names a disk of the table only once add_disk()'s CP is durable.
Task<Status> Aggregate::label_new_disk(BlockDevice& device, Entropy& entropy) {
  DiskRoot future = state_->root;
  if (future.disk_count >= kDisksMax) {
    co_return Error{Errc::kRefused, "label_new_disk: the aggregate has the most disks it can"};
  }
  if (device.block_count() < kNewDiskBlocksMin) {
    co_return Error{Errc::kRefused, "label_new_disk: the disk is smaller than 4 MiB"};
  }
  future.disks[future.disk_count] = {draw_uuid(entropy), device.block_count()};
  const DiskLabel label = make_label(future, future.disk_count);
  const Status written = co_await write_label(state_->pool, device, label);
  if (written.ok()) {
    state_->new_disk = future.disks[future.disk_count].disk;
    state_->new_disk_index = future.disk_count;
  }
  co_return written;
}

Status Aggregate::add_disk(BlockDevice& device) {
  AggregateState& state = *state_;
  if (state.growth) {
    return Error{Errc::kTryAgain, "add_disk: one disk per CP"};
  }
  DiskRoot& root = state.root;
  if (root.disk_count != state.new_disk_index) {
    return Error{Errc::kRefused, "add_disk: another disk was added meanwhile; try again"};
  }
  const std::uint64_t old_end = root.block_count;
  state.disks.add(device, device.block_count());
  if (state.needs != nullptr) {
    state.needs->add(state.disks.disks().back());
  }
  // Takes effect with the next root; until then nothing is allocated there.
  root.disks[root.disk_count] = {state.new_disk, device.block_count()};
  ++root.disk_count;
  Growth growth;
  growth.first_area = state.area_free.size();
  exclude_reserved(state.disks, old_end, growth.occupied);
  // In the area that was the last, what lay behind the end is marked as allocated already.
  const std::uint64_t known_end = growth.first_area * kAreaBlocks;
  std::erase_if(growth.occupied, [known_end](std::uint64_t block) { return block < known_end; });
  const std::uint64_t end = std::min(known_end, state.disks.block_count());
  for (std::uint64_t block = old_end + kReservedBlocks; block < end; ++block) {
    growth.released.push_back(block);
  }
  state.area_free.resize(areas_of(state.disks.block_count()));
  state.growth = std::move(growth);
  state.admin_changed = true;
  return Ok{};
}

}  // namespace duet::wafl
