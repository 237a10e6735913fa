// Volume: a file tree with its own root, size limit, usage and snapshots.
//
// Ownership: the aggregate.  Thread-safety: the aggregate's strand.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wafl/attempt.h"
#include "wafl/inode.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"

namespace duet::wafl {

class Aggregate;
class VolumeState;  // src/volume_state.h

struct SnapshotInfo {
  SnapshotId id{};
  std::string name;
  CpNumber cp{};
  Timestamp created{};
  std::uint64_t held_blocks = 0;  // died since the snapshot before it was taken
};

// The snapshot that a volume is a clone of.
struct VolumeOrigin {
  VolumeId volume{};
  SnapshotId snapshot{};
  CpNumber cp{};
};

class Volume {
 public:
  Volume(Aggregate& aggregate, std::unique_ptr<VolumeState> state);
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  [[nodiscard]] Aggregate& aggregate() const { return aggregate_; }
  [[nodiscard]] VolumeId id() const;
  [[nodiscard]] std::string name() const;
  [[nodiscard]] Timestamp created() const;
  [[nodiscard]] std::uint64_t fsid() const;
  [[nodiscard]] std::uint64_t limit_bytes() const;  // 0: only the aggregate's size
  [[nodiscard]] std::uint64_t used_bytes() const;   // the estimate for uncommitted changes included
  [[nodiscard]] std::uint64_t inodes_used() const;

  // Oldest first.
  [[nodiscard]] std::vector<SnapshotInfo> snapshots() const;
  [[nodiscard]] std::optional<SnapshotInfo> find_snapshot(std::string_view name) const;
  [[nodiscard]] std::optional<SnapshotInfo> find_snapshot(SnapshotId id) const;

  [[nodiscard]] std::optional<VolumeOrigin> origin() const;
  // The volumes that are clones of a snapshot of this one; they keep it from being deleted.
  [[nodiscard]] std::vector<const Volume*> clones_of(SnapshotId id) const;

  // --- Inodes.

  // Error: kStaleHandle when the inode is free, of another generation, or the
  // snapshot is gone; kMiss.
  Result<InodeRef> find_inode(Attempt& attempt, const FileId& id);
  // The same for whatever generation is there; kStaleHandle when it is free.
  Result<InodeRef> find_inode(Attempt& attempt, SnapshotId snapshot, InodeNumber number);

  // An inode that is free, in memory, with its number's next generation; `exact`
  // when replay says which.  Changes nothing.  Error: kMiss; kNoSpace when no number is left.
  Result<InodeRef> prepare_new_inode(Attempt& attempt, std::optional<InodeNumber> exact);
  // Takes it: generation + 1, type, one link, zero size, current layer.  Never fails.
  // REQUIRES: prepare_new_inode() gave it in this turn.
  void take_inode(Inode& inode, FileType type);
  // Brings to memory what free_inode() needs.  Error: kMiss.
  Status prepare_free_inode(Attempt& attempt, Inode& inode);
  // The inode, its blocks and its number are free from now on.  Never fails.
  void free_inode(Inode& inode);

  // Room for what frees room in the end: a part that others may not use.
  enum class Room : std::uint8_t { kNormal, kToFree };
  // Asks for room for `blocks` more data blocks (indirect ones are added here) and
  // counts them until the next CP.  Nothing to give back: unused room returns with the CP.
  // Error: kNoSpace, kOverLimit; kTryAgain: a CP would make room, run one and try again.
  Status reserve(const Attempt& attempt, std::uint64_t blocks, Room room = Room::kNormal);

  // --- Administration.  Each takes effect with the CP that must be started in the
  // same turn (Aggregate::consistency_point).

  // Error: kExists, kNameTooLong, kInvalid (empty, '.', '..', with '/').
  Status create_snapshot(std::string_view name, Timestamp now);
  // Error: kNotFound; kRefused while it has clones;
  // kTryAgain, as below: not in one CP with the making of it, or with a restore.
  Status delete_snapshot(std::string_view name);
  Status rename_snapshot(std::string_view from, std::string_view to);
  // The live tree becomes what the snapshot holds; newer snapshots must be gone.
  // Error: kNotFound; kRefused while newer snapshots exist; kTryAgain in the CP of another change.
  Status restore_snapshot(std::string_view name);
  void set_limit_bytes(std::uint64_t limit_bytes);

  // --- Receiving a snapshot (wafl/receive.h): until it ends the live tree is not whole.

  [[nodiscard]] bool receiving() const;
  // What names the snapshot everywhere.  None: no such snapshot.
  [[nodiscard]] std::optional<SnapshotIdentity> identity(SnapshotId id) const;
  // Whether the live tree is what the newest snapshot holds.
  [[nodiscard]] bool unchanged() const;
  // REQUIRES: a new volume, or unchanged() or restored in this turn.
  void begin_receive();
  // The live tree becomes snapshot `name` with that identity.  Error: as create_snapshot.
  Status end_receive(std::string_view name, const SnapshotIdentity& identity, Timestamp created);
  // The live tree becomes the newest snapshot's again.  Error: as restore_snapshot; kNotFound: it
  // has none, and is to be destroyed.
  Status cancel_receive();

 private:
  friend class Aggregate;
  friend class AggregateState;
  friend class Inode;
  friend class CpWriter;
  friend class SnapshotReceiver;
  friend class SnapshotSender;

  // As take_inode, of that generation; without links or a parent.
  void take_received(Inode& inode, FileType type, Generation generation);
  // In memory, free or not.  Error: kMiss, kStaleHandle (the snapshot is gone).
  Result<InodeRef> load_inode(Attempt& attempt, SnapshotId snapshot, InodeNumber number);
  void note_change();
  // The next CP may need this many blocks more.
  void expect_blocks(std::uint64_t blocks);
  // REQUIRES: the bit's block is in memory.
  void set_in_use(InodeNumber number, bool in_use);

  Aggregate& aggregate_;
  std::unique_ptr<VolumeState> state_;
};

}  // namespace duet::wafl
