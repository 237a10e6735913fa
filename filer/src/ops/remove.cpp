// REMOVE and RMDIR (RFC 1813, 3.3.12 and 3.3.13).

#include "apply.h"
#include "driver.h"
#include "ops/leave.h"
#include "ops/names.h"

namespace duet::filer {

Status may_leave(Context& context, const Target& directory, const Identity& who,
                 std::string_view name) {
  if (directory.attributes().type != wafl::FileType::kDirectory) {
    return Error{Errc::kNotDirectory, "a name is in a directory"};
  }
  if (!may(who, directory.attributes(), kMayWrite | kMayExecute)) {
    return Error{Errc::kAccess, "no right to write the directory"};
  }
  if ((directory.attributes().mode & kSticky) == 0 || who.root()) {
    return Ok{};
  }
  const Result<wafl::Entry> entry = wafl::lookup(context.attempt, *directory.inode, name);
  if (!entry.ok()) {
    return entry.error();
  }
  const Result<wafl::InodeRef> inode =
      directory.volume->find_inode(context.attempt, wafl::kLive, entry.value().inode);
  if (!inode.ok()) {
    return inode.error();
  }
  if (!sticky_allows(who, directory.attributes(), inode.value()->attributes())) {
    return Error{Errc::kNotOwner, "sticky directory: another owner's file"};
  }
  return Ok{};
}

namespace {

Status attempt_remove(Context& context, const NameRequest& request, Operation operation,
                      Change& change) {
  Target directory;
  if (Status resolved = resolve_writable(context, request.directory, directory); !resolved.ok()) {
    return resolved;
  }
  change.reply.first = unchanged(*directory.inode);
  const NameUse use =
      operation == Operation::kRemove ? NameUse::kRemove : NameUse::kRemoveDirectory;
  if (Status valid = check_entry_name(request.name, use); !valid.ok()) {
    return valid;
  }
  const Identity who = identify(context, directory);
  if (Status allowed = may_leave(context, directory, who, request.name); !allowed.ok()) {
    return allowed;
  }
  Record& record = change.record;
  record.operation = operation;
  record.volume = directory.volume->id();
  record.object = object_of(directory.inode->id());
  record.name = request.name;
  change.made = true;
  return apply_remove(context.attempt, *directory.inode, record, change.reply);
}

Task<WccReply> run_remove(FilerState& filer, const Caller& caller, const NameRequest& request,
                          Operation operation) {
  const auto attempt = [&request, operation](Context& context, Change& change) {
    return attempt_remove(context, request, operation, change);
  };
  return run_change<WccReply>(filer, caller, true, 0, attempt);
}

}  // namespace

Task<WccReply> Filer::remove(const Caller& caller, const NameRequest& request) {
  return run_remove(*state_, caller, request, Operation::kRemove);
}

Task<WccReply> Filer::rmdir(const Caller& caller, const NameRequest& request) {
  return run_remove(*state_, caller, request, Operation::kRemoveDirectory);
}

}  // namespace duet::filer
