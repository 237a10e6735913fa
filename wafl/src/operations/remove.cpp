// Names that go.

#include "operations/support.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

struct Victim {
  DirectoryTree::Change change;
  InodeRef inode;
};

// The entry, its inode, and all that is needed to take both away.
// Error: kMiss, kNotFound, kIsDirectory or kNotDirectory, kNotEmpty, kCorrupt.
Result<Victim> find_victim(Attempt& attempt, Inode& directory, Names& names, std::string_view name,
                           bool wants_directory) {
  const Result<DirectoryTree::Position> position = names->find(name);
  if (!position.ok()) {
    return position.error().code == Errc::kNoSpace ? Error{Errc::kNotFound, "no such name"}
                                                   : position.error();
  }
  if (!position.value().found) {
    return Error{Errc::kNotFound, "no such name"};
  }
  if ((position.value().type == raw(FileType::kDirectory)) != wants_directory) {
    return wants_directory ? Error{Errc::kNotDirectory, "no directory"}
                           : Error{Errc::kIsDirectory, "a directory"};
  }
  Result<DirectoryTree::Change> change = names->prepare_remove(position.value());
  Result<InodeRef> inode = inode_of(attempt, directory, position.value());
  if (!inode.ok()) {
    return inode.error();
  }
  const Status empty = wants_directory ? check_empty(attempt, *inode.value()) : Status(Ok{});
  const Status unlinks = prepare_unlink(attempt, *inode.value());
  if (!empty.ok()) {
    return empty.error();
  }
  if (!unlinks.ok()) {
    return unlinks.error();
  }
  if (!change.ok()) {
    return change.error();
  }
  return Victim{std::move(change.value()), std::move(inode.value())};
}

Status remove_entry(Attempt& attempt, Inode& directory, std::string_view name, bool wants_directory,
                    Timestamp now) {
  const Status checked = check_change(directory, name);
  if (!checked.ok()) {
    return checked;
  }
  Names names(attempt, directory);
  Result<Victim> victim = find_victim(attempt, directory, names, name, wants_directory);
  if (!victim.ok()) {
    return victim.error();
  }
  const Status room =
      directory.volume().reserve(attempt, victim.value().change.dirties, Volume::Room::kToFree);
  if (!room.ok()) {
    return room;
  }

  names->remove(victim.value().change, name);
  touch_directory(directory, now);
  if (wants_directory) {
    --directory.change_attributes().links;
  }
  unlink(*victim.value().inode, now);
  return Ok{};
}

}  // namespace

Status remove(Attempt& attempt, Inode& directory, std::string_view name, Timestamp now) {
  return remove_entry(attempt, directory, name, false, now);
}

Status remove_directory(Attempt& attempt, Inode& directory, std::string_view name, Timestamp now) {
  return remove_entry(attempt, directory, name, true, now);
}

}  // namespace duet::wafl
