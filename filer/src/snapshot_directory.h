// The virtual directory ".snapshot": in every live directory, never listed by it, made of
// nothing that is stored.  Its entries are the volume's snapshots; each is the directory that
// it is in, as that snapshot holds it.

#pragma once

#include <string_view>
#include <unordered_map>

#include "context.h"
#include "file_clock.h"
#include "filer/request.h"

namespace duet::filer {

inline constexpr std::string_view kSnapshotDirectoryName = ".snapshot";

// When the list of a volume's snapshots last changed, beyond what their creation says; for
// clients that compare mtime.
class SnapshotTimes {
 public:
  void changed(wafl::VolumeId volume, wafl::Timestamp now) { times_[volume] = now; }
  [[nodiscard]] wafl::Timestamp of(const wafl::Volume& volume) const;

 private:
  std::unordered_map<wafl::VolumeId, wafl::Timestamp> times_;
};

// Of the ".snapshot" in `directory`.
[[nodiscard]] FileAttributes snapshot_directory_attributes(Context& context,
                                                           const wafl::Inode& directory);
// Rights on it go by these: everybody may read and search it.
[[nodiscard]] Handle snapshot_directory_handle(const Context& context,
                                               const wafl::Inode& directory);

// The directory `target` is in, as snapshot `name` holds it.
// Error: kNotFound: no such snapshot, or no such directory then.
Result<wafl::InodeRef> find_in_snapshot(Context& context, const Target& target,
                                        std::string_view name);

// Cookies of its entries: "." and ".." as everywhere, then by snapshot id, so they stay
// valid whatever snapshots come and go.
[[nodiscard]] std::uint64_t snapshot_cookie(wafl::SnapshotId id);

}  // namespace duet::filer
