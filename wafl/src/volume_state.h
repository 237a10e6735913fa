// What a Volume keeps in memory.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wafl/inode.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"

namespace duet::wafl {

// The live tree or a snapshot: its record and where that stands in the dataset file.
struct Dataset {
  DiskDataset record;
  std::uint64_t slot = 0;
  std::vector<ZombieEntry> zombies;  // all of the zombie file
  bool zombies_changed = false;

  [[nodiscard]] std::string name() const {
    return std::string(record.name.data(), record.name_bytes);
  }
};

class VolumeState {
 public:
  // What everybody sees.  Trees in it are those of the last CP.
  Dataset live;
  std::vector<std::unique_ptr<Dataset>> snapshots;  // by CP, oldest first

  // The bits of inode numbers in use: a file that no inode number leads to.
  std::unique_ptr<Inode> inode_map;
  std::uint64_t search_from = 2;  // no inode number below this is free

  // Blocks that changes since the freeze may need, at most; and those of the running CP.
  std::uint64_t pending_blocks = 0;
  std::uint64_t frozen_blocks = 0;

  // Administrative changes for the next CP.
  std::vector<std::unique_ptr<Dataset>> deleted;  // snapshots that left the list, by CP
  // A restore or the volume's end makes the live dead list void: the record it stood in, and the
  // CP of the snapshot that is live again (0: none).
  std::optional<DiskDataset> abandoned;
  std::uint32_t restored_cp = 0;
  Dataset* snapshot_of_cp = nullptr;              // made by the next or running CP
  bool changed = false;  // the record must be written though no inode changed

  // --- Only while a CP runs.
  DiskDataset frozen;  // live.record as it was at the freeze, and what the CP makes of it
  std::vector<ZombieEntry> frozen_zombies;  // likewise
  bool in_cp = false;                       // the volume is part of the running CP

  // The CP of the newest snapshot before `dataset`, not counting the one that the running CP
  // makes; 0: there is none.
  [[nodiscard]] std::uint32_t cp_before(const Dataset& dataset) const;
};

}  // namespace duet::wafl
