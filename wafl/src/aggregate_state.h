// What an Aggregate keeps in memory; the parts of wafl share it.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "block_cache.h"
#include "buffer_pool.h"
#include "disk_set.h"
#include "platform/clock.h"
#include "platform/scheduler.h"
#include "platform/wait.h"
#include "volume_state.h"
#include "wafl/aggregate.h"
#include "wafl/inode.h"
#include "wafl/volume.h"

namespace duet::wafl {

class Allocator;  // allocator.h
class Needs;      // needs.h

struct InodeKey {
  std::uint32_t volume;
  std::uint32_t snapshot;
  std::uint64_t inode;
  friend bool operator==(const InodeKey&, const InodeKey&) = default;
};
struct InodeKeyHash {
  std::size_t operator()(const InodeKey& key) const {
    std::uint64_t h =
        key.inode + (std::uint64_t{key.volume} << 40U) + (std::uint64_t{key.snapshot} << 52U);
    h *= 0x9E37'79B9'7F4A'7C15U;
    return h ^ (h >> 32U);
  }
};

// Space that joins with the next CP.
struct Growth {
  std::uint64_t first_area = 0;         // areas from here on are new
  std::vector<std::uint64_t> occupied;  // blocks in them that nobody may use
  std::vector<std::uint64_t> released;  // behind the old end, in the area that was the last
};

class AggregateState {
 public:
  AggregateState(Scheduler& scheduler, WallClock& clock, const AggregateOptions& options);
  ~AggregateState();

  Scheduler& scheduler;
  WallClock& clock;
  DiskSet disks;
  BufferPool pool;
  BlockCache cache;
  DiskRoot root;                         // as of the last durable CP
  std::vector<std::uint32_t> area_free;  // free blocks of each area, as of the last durable CP

  Aggregate* aggregate = nullptr;
  std::map<std::uint32_t, std::unique_ptr<Volume>> volumes;
  std::vector<std::unique_ptr<Volume>> dying;  // destroyed; their blocks are being freed
  std::vector<std::uint64_t> free_slots;       // of the dataset file
  std::uint32_t next_volume = 1;

  // Inodes in memory.
  std::unordered_map<InodeKey, std::unique_ptr<Inode>, InodeKeyHash> inodes;
  std::vector<std::unique_ptr<Inode>> orphans;  // dropped by a restore while somebody held them
  std::vector<Inode*> dirty;                    // with a current layer
  std::vector<Inode*> frozen;                   // with a frozen layer: part of the running CP

  bool cp_running = false;
  const Allocator* running_allocator = nullptr;  // of the running CP
  bool failed = false;                           // a CP failed: nothing may change any more
  bool admin_changed = false;                    // an administrative change waits for its CP
  std::uint64_t dirty_blocks = 0;                // leaf buffers in current layers
  std::uint64_t frozen_blocks = 0;               // in frozen layers
  // Blocks that the next CP and the running one may need at most: the sums of the volumes'.
  std::uint64_t pending_blocks = 0;
  std::uint64_t frozen_pending_blocks = 0;
  CpStatistics statistics;

  // Blocks being read.  Who needs one of them waits for load_done and looks again.
  std::unordered_set<std::uint64_t> loading;
  WaitList load_done;

  // Blocks being healed, each by the CP that was committed when it began (heal.h).
  std::multiset<std::uint32_t> heals_under_way;
  WaitList heal_done;
  HealStatistics heals;

  // Blocks that normal changes leave alone, so that deleting and CPs always have room.
  [[nodiscard]] std::uint64_t reserve_blocks() const;
  // Beside the reserve: what the aggregate's owner may change in every CP (set_standing_blocks()).
  std::uint64_t standing_blocks = 0;
  // Of the free blocks, those that a change of this kind may not count on.
  [[nodiscard]] std::uint64_t taken_blocks(Volume::Room room = Volume::Room::kNormal) const {
    const std::uint64_t reserve = reserve_blocks();
    return pending_blocks + frozen_pending_blocks + standing_blocks +
           (room == Volume::Room::kToFree ? reserve / 2 : reserve);
  }
  [[nodiscard]] bool zombies_left() const;

  // Slots of the dataset file.
  std::uint64_t slots = 0;
  std::uint64_t take_slot();
  Volume& add_volume(std::unique_ptr<VolumeState> volume);
  // A new volume with an empty root directory.
  void make_volume(std::uint32_t id, std::string_view name, std::uint64_t limit_blocks,
                   Timestamp now);

  // Whether every clone's origin is there, and the root says that there are clones.
  [[nodiscard]] bool origins_sound() const;

  // The inode in memory, or null.
  [[nodiscard]] Inode* find_cached(const InodeKey& key) const;
  // Makes room among clean inodes.
  void trim_inodes();
  // Forgets the live inodes of a volume (restore, destroy).
  void drop_inodes(VolumeId volume, SnapshotId snapshot);
  void note_dirty(Inode& inode);
  // Forgets the changes of an inode that stays (an inode map).
  void drop_dirty(Inode& inode);

  std::optional<Growth> growth;
  std::optional<std::uint64_t> new_membership;  // of the mailbox, for the next root
  // Labelled, and not yet in the table.
  Uuid new_disk{};
  std::uint32_t new_disk_index = 0;

  std::size_t inodes_max = 100'000;
  std::size_t trim_bucket = 0;  // where trim_inodes() goes on

  // Areas that were looked at and have no stripe that is free as a whole, until a block of them is
  // freed.
  std::vector<bool> without_stripes;

  std::unique_ptr<Needs> needs;  // the last to come, the first to go: it reads
};

}  // namespace duet::wafl
