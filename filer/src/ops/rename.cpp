// RENAME (RFC 1813, 3.3.14).

#include "apply.h"
#include "driver.h"
#include "ops/leave.h"
#include "ops/names.h"

namespace duet::filer {

namespace {

Status resolve_both(Context& context, const RenameRequest& request, Target& from, Target& to,
                    Change& change) {
  if (Status resolved = resolve_writable(context, request.from_directory, from); !resolved.ok()) {
    return resolved;
  }
  change.reply.first = unchanged(*from.inode);
  if (Status resolved = resolve_writable(context, request.to_directory, to); !resolved.ok()) {
    return resolved;
  }
  change.reply.second = unchanged(*to.inode);
  if (from.volume != to.volume) {
    return Error{Errc::kCrossVolume, "rename: between volumes"};
  }
  return Ok{};
}

// A directory that moves has its ".." changed, which needs the right to write it.
Status may_move(Context& context, const Target& from, const Identity& who, std::string_view name) {
  const Result<wafl::Entry> entry = wafl::lookup(context.attempt, *from.inode, name);
  if (!entry.ok()) {
    return entry.error();
  }
  if (entry.value().type != wafl::FileType::kDirectory || who.root()) {
    return Ok{};
  }
  const Result<wafl::InodeRef> moved =
      from.volume->find_inode(context.attempt, wafl::kLive, entry.value().inode);
  if (!moved.ok()) {
    return moved.error();
  }
  if (!may(who, moved.value()->attributes(), kMayWrite)) {
    return Error{Errc::kAccess, "rename: no right to write the directory that moves"};
  }
  return Ok{};
}

Status check_rights(Context& context, const RenameRequest& request, const Target& from,
                    const Target& to) {
  const Identity who = identify(context, from);
  if (Status allowed = may_leave(context, from, who, request.from_name); !allowed.ok()) {
    return allowed;
  }
  Status replaced = may_leave(context, to, who, request.to_name);
  if (!replaced.ok() && replaced.error().code != Errc::kNotFound) {
    return replaced;
  }
  return from.inode.get() == to.inode.get() ? Status(Ok{})
                                            : may_move(context, from, who, request.from_name);
}

Status attempt_rename(Context& context, const RenameRequest& request, Change& change) {
  Target from;
  Target to;
  if (Status resolved = resolve_both(context, request, from, to, change); !resolved.ok()) {
    return resolved;
  }
  for (const std::string_view name : {request.from_name, request.to_name}) {
    if (Status valid = check_entry_name(name, NameUse::kRename); !valid.ok()) {
      return valid;
    }
  }
  if (Status allowed = check_rights(context, request, from, to); !allowed.ok()) {
    return allowed;
  }
  Record& record = change.record;
  record.operation = Operation::kRename;
  record.volume = from.volume->id();
  record.object = object_of(from.inode->id());
  record.second = object_of(to.inode->id());
  record.name = request.from_name;
  record.second_name = request.to_name;
  change.made = true;
  return apply_rename(context.attempt, *from.inode, *to.inode, record, change.reply);
}

}  // namespace

Task<RenameReply> Filer::rename(const Caller& caller, const RenameRequest& request) {
  const auto attempt = [&request](Context& context, Change& change) {
    return attempt_rename(context, request, change);
  };
  return run_change<RenameReply>(*state_, caller, true, 0, attempt);
}

}  // namespace duet::filer
