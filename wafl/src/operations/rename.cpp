// A name moves, and may replace another.

#include <optional>

#include "operations/support.h"
#include "wafl/directory_format.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

using Position = DirectoryTree::Position;
using Change = DirectoryTree::Change;

// All that one rename needs, found before anything changes.
struct Plan {
  bool nothing = false;  // both names are one file
  Change removal;        // of the old name
  InodeRef moved;
  InodeRef replaced;  // empty: the new name is free
  Position target;
  std::optional<Change> insertion;  // when it is
};

struct Places {
  Inode& from;
  std::string_view from_name;
  Inode& to;
  std::string_view to_name;
  [[nodiscard]] bool same_directory() const { return &from == &to; }
};

// `directory` must not be `moved` nor below it.  Error: kInvalid, kMiss, kCorrupt.
Status check_not_below(Attempt& attempt, Inode& directory, const Inode& moved) {
  Volume& volume = directory.volume();
  InodeRef at(&directory);
  // No way up is longer than there are inodes: a circle on disk ends here.
  for (std::uint64_t steps = volume.inodes_used() + 2; steps > 0; --steps) {
    if (at.get() == &moved) {
      return Error{Errc::kInvalid, "a directory into itself"};
    }
    const Result<InodeNumber> parent = parent_of(*at);
    if (!parent.ok()) {
      return Error{Errc::kCorrupt, "a parent is no directory"};
    }
    if (parent.value() == at->id().inode) {
      return Ok{};
    }
    Result<InodeRef> next = volume.find_inode(attempt, at->id().snapshot, parent.value());
    if (!next.ok()) {
      return next.error().code == Errc::kStaleHandle
                 ? Error{Errc::kCorrupt, "a parent is no directory"}
                 : next.error();
    }
    at = std::move(next.value());
  }
  return Error{Errc::kCorrupt, "a circle of directories"};
}

// What is there gives way only to its own kind.  Error: kNotDirectory, kIsDirectory,
// kNotEmpty, kMiss, kCorrupt.
Status prepare_replace(Attempt& attempt, const Inode& moved, Inode& replaced) {
  if (is_directory(moved) && !is_directory(replaced)) {
    return Error{Errc::kNotDirectory, "a directory onto a file"};
  }
  if (!is_directory(moved) && is_directory(replaced)) {
    return Error{Errc::kIsDirectory, "a file onto a directory"};
  }
  const Status empty = is_directory(replaced) ? check_empty(attempt, replaced) : Status(Ok{});
  const Status unlinks = prepare_unlink(attempt, replaced);
  return empty.ok() ? unlinks : empty;
}

Result<Position> find_old(Names& names, std::string_view name) {
  Result<Position> position = names->find(name);
  const bool absent =
      position.ok() ? !position.value().found : position.error().code == Errc::kNoSpace;
  return absent ? Result<Position>(Error{Errc::kNotFound, "no such name"}) : position;
}

Result<Plan> prepare(Attempt& attempt, const Places& places, Names& from, Names& to) {
  Result<Position> old = find_old(from, places.from_name);
  Result<Position> target = to->find(places.to_name);
  if (!old.ok() && !is_miss(old)) {
    return old.error();
  }
  if (is_miss(old) || !target.ok()) {
    return is_miss(old) ? old.error() : target.error();
  }
  Plan plan;
  plan.target = target.value();
  Result<InodeRef> moved = inode_of(attempt, places.from, old.value());
  Result<InodeRef> replaced =
      plan.target.found ? inode_of(attempt, places.to, plan.target) : InodeRef();
  if (!moved.ok() || !replaced.ok()) {
    return !moved.ok() ? moved.error() : replaced.error();
  }
  plan.moved = moved.value();
  plan.replaced = replaced.value();
  if (plan.moved.get() == plan.replaced.get()) {
    plan.nothing = true;
    return plan;
  }
  const bool moves_directory = is_directory(*plan.moved);
  const Status above = moves_directory && !places.same_directory()
                           ? check_not_below(attempt, places.to, *plan.moved)
                           : Status(Ok{});
  const Status replaces =
      plan.replaced ? prepare_replace(attempt, *plan.moved, *plan.replaced) : Status(Ok{});
  Result<Change> removal = from->prepare_remove(old.value());
  for (const Status& status : {above, replaces}) {
    if (!status.ok()) {
      return status.error();
    }
  }
  if (moves_directory && !plan.replaced && !places.same_directory() &&
      places.to.attributes().links >= kLinksMax) {
    return Error{Errc::kTooManyLinks, "the new parent has too many subdirectories"};
  }
  if (!plan.target.found) {
    Result<Change> insertion = to->prepare_insert(plan.target, places.to_name);
    if (!insertion.ok()) {
      return insertion.error();
    }
    plan.insertion = std::move(insertion.value());
  }
  if (!removal.ok()) {
    return removal.error();
  }
  plan.removal = std::move(removal.value());
  return plan;
}

void apply(const Places& places, const Plan& plan, Names& from, Names& to, Timestamp now) {
  Inode& moved = *plan.moved;
  const bool moves_directory = is_directory(moved);
  const std::uint64_t number = raw(moved.id().inode);
  const std::uint8_t type = raw(moved.attributes().type);
  if (plan.insertion) {
    to->insert(*plan.insertion, places.to_name, number, type);
  } else {
    to->retarget(plan.target, number, type);
  }
  from->remove(plan.removal, places.from_name);
  touch_directory(places.from, now);
  touch_directory(places.to, now);
  if (moves_directory) {
    --places.from.change_attributes().links;
    if (!plan.replaced) {
      ++places.to.change_attributes().links;
    }
    moved.set_user_word(kDirectoryParentWord, raw(places.to.id().inode));
  }
  moved.change_attributes().ctime = now;
  if (plan.replaced) {
    unlink(*plan.replaced, now);
  }
}

}  // namespace

Status rename(Attempt& attempt, Inode& from, std::string_view from_name, Inode& to,
              std::string_view to_name, Timestamp now) {
  for (const Status& checked : {check_change(from, from_name), check_change(to, to_name)}) {
    if (!checked.ok()) {
      return checked;
    }
  }
  if (&from.volume() != &to.volume()) {
    return Error{Errc::kCrossVolume, "a rename into another volume"};
  }
  const Places places{from, from_name, to, to_name};
  Names from_names(attempt, from);
  std::optional<Names> others;
  if (!places.same_directory()) {
    others.emplace(attempt, to);
  }
  Names& to_names = others ? *others : from_names;

  const Result<Plan> plan = prepare(attempt, places, from_names, to_names);
  if (!plan.ok()) {
    return plan.error();
  }
  if (plan.value().nothing) {
    return Ok{};
  }
  // What adds no block may use the room that deleting uses: it frees as much as it takes.
  const std::optional<Change>& insertion = plan.value().insertion;
  const std::uint64_t dirties = plan.value().removal.dirties + (insertion ? insertion->dirties : 1);
  const bool adds = insertion && insertion->new_blocks > 0;
  const Status room =
      from.volume().reserve(attempt, dirties, adds ? Volume::Room::kNormal : Volume::Room::kToFree);
  if (!room.ok()) {
    return room;
  }
  apply(places, plan.value(), from_names, to_names, now);
  return Ok{};
}

}  // namespace duet::wafl
