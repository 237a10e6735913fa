#include "aggregate_state.h"

#include <algorithm>

#include "needs.h"

namespace duet::wafl {

std::uint32_t VolumeState::cp_before(const Dataset& dataset) const {
  std::uint32_t cp = 0;
  for (const auto& snapshot : snapshots) {
    if (snapshot.get() == &dataset) {
      break;
    }
    if (snapshot.get() != snapshot_of_cp) {
      cp = snapshot->record.cp;
    }
  }
  return cp;
}

AggregateState::AggregateState(Scheduler& s, WallClock& c, const AggregateOptions& options)
    : scheduler(s),
      clock(c),
      cache(pool, options.cache_bytes / kBlockBytes),
      load_done(s),
      heal_done(s) {}

AggregateState::~AggregateState() = default;

std::uint64_t AggregateState::reserve_blocks() const {
  const std::uint64_t total = root.block_count;
  return std::min(total / 16, 1024 + total / 128);
}

bool AggregateState::zombies_left() const {
  return !dying.empty() || std::ranges::any_of(volumes, [](const auto& entry) {
    const VolumeState& state = *entry.second->state_;
    return !state.live.zombies.empty() ||
           std::ranges::any_of(state.snapshots, [](const auto& s) { return !s->zombies.empty(); });
  });
}

bool AggregateState::origins_sound() const {
  const auto sound = [this](const DiskDataset& clone) {
    const auto origin = volumes.find(clone.origin_volume);
    return (root.readonly_compatible & kFeatureClones) != 0 && clone.origin_volume < clone.volume &&
           origin != volumes.end() &&
           std::ranges::any_of(origin->second->state_->snapshots, [&clone](const auto& s) {
             return s->record.snapshot == clone.origin_snapshot && s->record.cp == clone.origin_cp;
           });
  };
  return std::ranges::all_of(volumes, [&sound](const auto& entry) {
    const DiskDataset& record = entry.second->state_->live.record;
    return record.origin_volume == 0 ? record.origin_cp == 0 : sound(record);
  });
}

Inode* AggregateState::find_cached(const InodeKey& key) const {
  const auto it = inodes.find(key);
  return it == inodes.end() ? nullptr : it->second.get();
}

// Looks at a few inodes wherever the table's order leads: cheaper than a list, and as good as
// any guess while the table holds many times what the requests under way need.
void AggregateState::trim_inodes() {
  if (inodes.size() < inodes_max) {
    return;
  }
  std::size_t bucket = trim_bucket % inodes.bucket_count();
  std::vector<InodeKey> victims;
  for (int looks = 64; looks > 0 && victims.size() < 8; --looks) {
    for (auto it = inodes.begin(bucket); it != inodes.end(bucket); ++it) {
      const Inode& inode = *it->second;
      if (inode.pins_ == 0 && !inode.current_ && !inode.frozen_) {
        victims.push_back(it->first);
      }
    }
    bucket = (bucket + 1) % inodes.bucket_count();
  }
  trim_bucket = bucket;
  for (const InodeKey& key : victims) {
    inodes.erase(key);
  }
}

void AggregateState::drop_inodes(VolumeId volume, SnapshotId snapshot) {
  const auto ours = [volume, snapshot](const Inode& inode) {
    return inode.id_.volume == volume && inode.id_.snapshot == snapshot;
  };
  std::erase_if(dirty, [&](Inode* inode) {
    if (!ours(*inode)) {
      return false;
    }
    dirty_blocks -= inode->current_->blocks.size();
    inode->current_.reset();
    return true;
  });
  for (auto it = inodes.begin(); it != inodes.end();) {
    if (!ours(*it->second)) {
      ++it;
      continue;
    }
    if (it->second->pins_ > 0) {
      orphans.push_back(std::move(it->second));
    }
    it = inodes.erase(it);
  }
  std::erase_if(orphans, [](const auto& inode) { return inode->pins_ == 0; });
}

void AggregateState::drop_dirty(Inode& inode) {
  if (inode.current_) {
    dirty_blocks -= inode.current_->blocks.size();
    inode.current_.reset();
  }
  std::erase(dirty, &inode);
}

void AggregateState::note_dirty(Inode& inode) { dirty.push_back(&inode); }

}  // namespace duet::wafl
