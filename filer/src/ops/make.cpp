// MKDIR, SYMLINK and MKNOD (RFC 1813, 3.3.9 to 3.3.11).

#include "ops/make.h"

#include "apply.h"
#include "ops/names.h"
#include "ops/new_attributes.h"

namespace duet::filer {

Status find_place(Context& context, ConstBytes directory, std::string_view name, Place& place,
                  Change& change) {
  if (Status resolved = resolve_writable(context, directory, place.directory); !resolved.ok()) {
    return resolved;
  }
  wafl::Inode& inode = *place.directory.inode;
  change.reply.first = unchanged(inode);
  if (inode.attributes().type != wafl::FileType::kDirectory) {
    return Error{Errc::kNotDirectory, "a new name needs a directory"};
  }
  if (Status valid = check_entry_name(name, NameUse::kMake); !valid.ok()) {
    return valid;
  }
  place.who = identify(context, place.directory);
  if (!may(place.who, inode.attributes(), kMayExecute)) {
    return Error{Errc::kAccess, "no right to search the directory"};
  }
  const Result<wafl::Entry> present = wafl::lookup(context.attempt, inode, name);
  if (present.ok()) {
    place.present = present.value();
  } else if (present.error().code != Errc::kNotFound) {
    return present.error();
  }
  return Ok{};
}

Status may_make(const Place& place) {
  if (place.present.has_value()) {
    return Error{Errc::kExists, "the name is taken"};
  }
  if (!may(place.who, place.directory.attributes(), kMayWrite)) {
    return Error{Errc::kAccess, "no right to write the directory"};
  }
  return Ok{};
}

Status make_object(Context& context, const Place& place, std::string_view name, wafl::FileType type,
                   const wafl::AttributeChanges& changes, Change& change) {
  Record& record = change.record;
  record.operation = Operation::kCreate;
  record.volume = place.directory.volume->id();
  record.object = object_of(place.directory.inode->id());
  record.type = type;
  record.changes = changes;
  record.name = name;
  change.made = true;
  return apply_create(context.attempt, *place.directory.inode, record, change.reply);
}

namespace {

bool is_device(wafl::FileType type) {
  return type == wafl::FileType::kBlockDevice || type == wafl::FileType::kCharacterDevice;
}

Status check_request(const MakeRequest& request) {
  if (request.type == wafl::FileType::kFree || request.type == wafl::FileType::kRegular ||
      request.type > wafl::FileType::kSocket) {
    return Error{Errc::kBadType, "make: not with this procedure"};
  }
  if (request.type != wafl::FileType::kSymlink) {
    return Ok{};
  }
  if (request.target.empty() || request.target.find('\0') != std::string_view::npos) {
    return Error{Errc::kInvalid, "symlink: not a path"};
  }
  if (request.target.size() > wafl::kSymlinkBytesMax) {
    return Error{Errc::kNameTooLong, "symlink: too long a path"};
  }
  return Ok{};
}

Status attempt_make(Context& context, const MakeRequest& request, Change& change) {
  Place place;
  if (Status found = find_place(context, request.directory, request.name, place, change);
      !found.ok()) {
    return found;
  }
  if (Status allowed = may_make(place); !allowed.ok()) {
    return allowed;
  }
  if (Status valid = check_request(request); !valid.ok()) {
    return valid;
  }
  if (is_device(request.type) && !place.who.root()) {
    return Error{Errc::kNotOwner, "mknod: root alone makes devices"};
  }
  wafl::AttributeChanges changes = changes_of_new(
      request.attributes, place.who, place.directory.attributes(), request.type, change.record.now);
  if (request.type == wafl::FileType::kSymlink) {
    changes.mode = 0777;
    change.piece = std::as_bytes(std::span(request.target));
    change.record.data = std::span<const ConstBytes>(&change.piece, 1);
  }
  if (is_device(request.type)) {
    change.record.device = request.device;
  }
  return make_object(context, place, request.name, request.type, changes, change);
}

}  // namespace

Task<CreateReply> Filer::make(const Caller& caller, const MakeRequest& request) {
  const auto attempt = [&request](Context& context, Change& change) {
    return attempt_make(context, request, change);
  };
  return run_change<CreateReply>(*state_, caller, true, 0, attempt);
}

}  // namespace duet::filer
