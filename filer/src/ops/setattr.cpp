// SETATTR (RFC 1813, 3.3.2).

#include "apply.h"
#include "driver.h"
#include "ops/new_attributes.h"

namespace duet::filer {

namespace {

constexpr Error kOwnerOnly{Errc::kNotOwner, "setattr: the owner or root may"};

Status check_ids(const Identity& who, const wafl::Attributes& present,
                 const SetAttributes& wanted) {
  const bool owner = who.root() || who.uid == present.uid;
  if (wanted.uid.has_value() && !who.root() && !(owner && *wanted.uid == present.uid)) {
    return Error{Errc::kNotOwner, "setattr: root alone gives files away"};
  }
  if (wanted.gid.has_value() && !who.root() &&
      !(owner && (*wanted.gid == present.gid || who.in_group(*wanted.gid)))) {
    return Error{Errc::kNotOwner, "setattr: only the owner, and only to his own groups"};
  }
  return Ok{};
}

Status check_times(const Identity& who, const wafl::Attributes& present,
                   const SetAttributes& wanted) {
  if (who.root() || who.uid == present.uid) {
    return Ok{};
  }
  if (wanted.set_atime == SetTime::kClientTime || wanted.set_mtime == SetTime::kClientTime) {
    return kOwnerOnly;
  }
  const bool now =
      wanted.set_atime == SetTime::kServerTime || wanted.set_mtime == SetTime::kServerTime;
  if (now && !may(who, present, kMayWrite)) {
    return Error{Errc::kAccess, "setattr: needs write access"};
  }
  return Ok{};
}

Status check_size(const Identity& who, const wafl::Attributes& present,
                  const SetAttributes& wanted) {
  if (!wanted.size_bytes.has_value()) {
    return Ok{};
  }
  if (present.type != wafl::FileType::kRegular) {
    const bool directory = present.type == wafl::FileType::kDirectory;
    return Error{directory ? Errc::kIsDirectory : Errc::kInvalid, "setattr: size of no file"};
  }
  if (!may_write_contents(who, present)) {
    return Error{Errc::kAccess, "setattr: needs write access"};
  }
  if (*wanted.size_bytes > wafl::kFileBytesMax) {
    return Error{Errc::kFileTooBig, "setattr: beyond the largest file"};
  }
  return Ok{};
}

Status check_rights(const Identity& who, const wafl::Attributes& present,
                    const SetAttributes& wanted) {
  if (wanted.mode.has_value() && !who.root() && who.uid != present.uid) {
    return kOwnerOnly;
  }
  for (const auto check : {&check_ids, &check_times, &check_size}) {
    if (Status allowed = check(who, present, wanted); !allowed.ok()) {
      return allowed;
    }
  }
  return Ok{};
}

// The mode bits that must go because of what else changes.
void drop_privileges(const Identity& who, const wafl::Attributes& present,
                     wafl::AttributeChanges& changes) {
  const std::uint32_t wanted = changes.mode.value_or(present.mode);
  std::uint32_t mode = wanted;
  const std::uint32_t group = changes.gid.value_or(present.gid);
  if (changes.mode.has_value() && !who.root() && !who.in_group(group)) {
    mode &= ~kSetGid;
  }
  const bool file = present.type != wafl::FileType::kDirectory;
  const bool other_hands = changes.uid.has_value() || changes.gid.has_value() ||
                           (changes.size_bytes.has_value() && !who.root());
  if (file && other_hands) {
    mode &= ~kSetUid;
    constexpr std::uint32_t kGroupExecute = 010;  // without it the bit means locking
    mode &= (mode & kGroupExecute) != 0 ? ~kSetGid : ~0U;
  }
  if (mode != wanted) {
    changes.mode = mode;
  }
}

bool empty(const wafl::AttributeChanges& changes) {
  return !changes.mode.has_value() && !changes.uid.has_value() && !changes.gid.has_value() &&
         !changes.size_bytes.has_value() && !changes.atime.has_value() &&
         !changes.mtime.has_value();
}

Status attempt_setattr(Context& context, const SetattrRequest& request, Change& change) {
  Target target;
  if (Status resolved = resolve_writable(context, request.handle, target); !resolved.ok()) {
    return resolved;
  }
  wafl::Inode& inode = *target.inode;
  const wafl::Attributes& present = inode.attributes();
  change.reply.first = unchanged(inode);
  if (request.guard_ctime.has_value() && *request.guard_ctime != present.ctime) {
    return Error{Errc::kOutOfSync, "setattr: changed since the guard"};
  }
  const Identity who = identify(context, target);
  if (Status allowed = check_rights(who, present, request.changes); !allowed.ok()) {
    return allowed;
  }
  Record& record = change.record;
  record.operation = Operation::kSetAttributes;
  record.volume = target.volume->id();
  record.object = object_of(inode.id());
  record.changes = resolve_changes(request.changes, record.now);
  drop_privileges(who, present, record.changes);
  if (empty(record.changes)) {
    return Ok{};
  }
  change.made = true;
  return apply_set_attributes(context.attempt, inode, record, change.reply);
}

}  // namespace

Task<WccReply> Filer::setattr(const Caller& caller, const SetattrRequest& request) {
  const bool cached = request.guard_ctime.has_value() || request.changes.size_bytes.has_value();
  const auto attempt = [&request](Context& context, Change& change) {
    return attempt_setattr(context, request, change);
  };
  return run_change<WccReply>(*state_, caller, cached, 0, attempt);
}

}  // namespace duet::filer
