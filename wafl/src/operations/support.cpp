#include "operations/support.h"

#include "wafl/directory_format.h"

namespace duet::wafl {

Status check_change(const Inode& directory, std::string_view name) {
  if (!is_directory(directory)) {
    return Error{Errc::kNotDirectory, "the parent is no directory"};
  }
  Status named = check_name(name);
  if (!named.ok()) {
    return named;
  }
  if (!directory.writable()) {
    return Error{Errc::kReadOnly, "a snapshot"};
  }
  return Ok{};
}

Result<InodeRef> inode_of(Attempt& attempt, Inode& directory,
                          const DirectoryTree::Position& position) {
  Result<InodeRef> inode =
      directory.volume().find_inode(attempt, directory.id().snapshot, InodeNumber{position.inode});
  if (!inode.ok()) {
    return inode.error().code == Errc::kStaleHandle
               ? Error{Errc::kCorrupt, "an entry names a free inode"}
               : inode.error();
  }
  if (raw(inode.value()->attributes().type) != position.type) {
    return Error{Errc::kCorrupt, "an entry and its inode differ in type"};
  }
  return inode;
}

Status check_empty(Attempt& attempt, Inode& directory) {
  const Result<bool> empty = Names(attempt, directory)->empty();
  if (!empty.ok()) {
    return empty.error();
  }
  return empty.value() ? Status(Ok{}) : Status(Error{Errc::kNotEmpty, "the directory has names"});
}

void touch_directory(Inode& directory, Timestamp now) {
  Attributes& attributes = directory.change_attributes();
  attributes.mtime = now;
  attributes.ctime = now;
}

namespace {
// A directory has no names but its own "." and its parent's entry: it goes with that.
bool last_link(const Inode& inode) { return is_directory(inode) || inode.attributes().links <= 1; }
}  // namespace

Status prepare_unlink(Attempt& attempt, Inode& inode) {
  return last_link(inode) ? inode.volume().prepare_free_inode(attempt, inode) : Status(Ok{});
}

void unlink(Inode& inode, Timestamp now) {
  if (last_link(inode)) {
    inode.volume().free_inode(inode);
    return;
  }
  Attributes& attributes = inode.change_attributes();
  --attributes.links;
  attributes.ctime = now;
}

}  // namespace duet::wafl
