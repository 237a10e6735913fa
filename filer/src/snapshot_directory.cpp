#include "snapshot_directory.h"

#include <algorithm>

#include "filer_state.h"

namespace duet::filer {

namespace {

// Inode numbers stay far below: a file's bytes bound the inode file.
constexpr std::uint64_t kVirtualFileidBit = std::uint64_t{1} << 62U;

}  // namespace

wafl::Timestamp SnapshotTimes::of(const wafl::Volume& volume) const {
  wafl::Timestamp time = volume.created();
  if (const std::vector<wafl::SnapshotInfo> snapshots = volume.snapshots(); !snapshots.empty()) {
    time = std::max(time, snapshots.back().created);
  }
  const auto changed = times_.find(volume.id());
  return changed == times_.end() ? time : std::max(time, changed->second);
}

FileAttributes snapshot_directory_attributes(Context& context, const wafl::Inode& directory) {
  context.saw_administration = true;
  FileAttributes file;
  wafl::Attributes& attributes = file.attributes;
  attributes.type = wafl::FileType::kDirectory;
  attributes.mode = 0555;
  attributes.links = 2;
  attributes.size_bytes = kBlockBytes;
  attributes.atime = attributes.mtime = attributes.ctime =
      context.filer.snapshot_times.of(directory.volume());
  file.fsid = fsid_of(directory.volume(), wafl::kLive);
  file.fileid = static_cast<std::uint64_t>(directory.id().inode) | kVirtualFileidBit;
  return file;
}

Handle snapshot_directory_handle(const Context& context, const wafl::Inode& directory) {
  return context.filer.handles.encode(HandleKind::kSnapshotDirectory, directory.id());
}

Result<wafl::InodeRef> find_in_snapshot(Context& context, const Target& target,
                                        std::string_view name) {
  context.saw_administration = true;
  const std::optional<wafl::SnapshotInfo> snapshot = target.volume->find_snapshot(name);
  if (!snapshot.has_value()) {
    return Error{Errc::kNotFound, ".snapshot: no such snapshot"};
  }
  wafl::FileId id = target.inode->id();
  id.snapshot = snapshot->id;
  Result<wafl::InodeRef> found = target.volume->find_inode(context.attempt, id);
  if (!found.ok() && found.error().code == Errc::kStaleHandle) {
    return Error{Errc::kNotFound, ".snapshot: the directory did not exist then"};
  }
  return found;
}

std::uint64_t snapshot_cookie(wafl::SnapshotId id) {
  constexpr std::uint64_t kDotDotCookie = 2;
  return static_cast<std::uint64_t>(id) + kDotDotCookie;
}

}  // namespace duet::filer
