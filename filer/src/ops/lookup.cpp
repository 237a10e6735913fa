// LOOKUP (RFC 1813, 3.3.3).

#include "ops/lookup.h"

#include "driver.h"
#include "snapshot_directory.h"
#include "wafl/operations.h"

namespace duet::filer {

namespace {

// In the virtual directory.
Status step_in_snapshots(Context& context, Target& target, std::string_view name) {
  if (name == ".") {
    return Ok{};
  }
  if (name == "..") {
    target.kind = HandleKind::kObject;
    return Ok{};
  }
  if (Status valid = wafl::check_name(name); !valid.ok()) {
    return valid;
  }
  Result<wafl::InodeRef> found = find_in_snapshot(context, target, name);
  if (!found.ok()) {
    return found.error();
  }
  target.kind = HandleKind::kObject;
  target.inode = std::move(found.value());
  return Ok{};
}

Result<wafl::InodeNumber> number_of(Context& context, Target& target, std::string_view name) {
  if (name == "..") {
    return wafl::parent_of(*target.inode);  // of a root: itself
  }
  if (Status valid = wafl::check_name(name); !valid.ok()) {
    return valid.error();
  }
  const Result<wafl::Entry> entry = wafl::lookup(context.attempt, *target.inode, name);
  if (!entry.ok()) {
    return entry.error();
  }
  return entry.value().inode;
}

Status attempt_lookup(Context& context, const NameRequest& request, LookupReply& reply) {
  Target target;
  if (Status resolved = resolve(context, request.directory, target); !resolved.ok()) {
    return resolved;
  }
  reply.directory = file_attributes(context, target);
  if (Status stepped = step(context, target, request.name); !stepped.ok()) {
    return stepped;
  }
  reply.attributes = file_attributes(context, target);
  reply.handle = target_handle(context, target);
  return Ok{};
}

}  // namespace

Status step(Context& context, Target& target, std::string_view name) {
  if (target.virtual_directory()) {
    return step_in_snapshots(context, target, name);
  }
  if (target.attributes().type != wafl::FileType::kDirectory) {
    return Error{Errc::kNotDirectory, "lookup: in no directory"};
  }
  if (!may(identify(context, target), target.attributes(), kMayExecute)) {
    return Error{Errc::kAccess, "lookup: no right to search"};
  }
  if (name == ".") {
    return Ok{};
  }
  if (name == kSnapshotDirectoryName && target.inode->writable()) {
    target.kind = HandleKind::kSnapshotDirectory;
    return Ok{};
  }
  const Result<wafl::InodeNumber> number = number_of(context, target, name);
  if (!number.ok()) {
    return number.error();
  }
  Result<wafl::InodeRef> found =
      target.volume->find_inode(context.attempt, target.inode->id().snapshot, number.value());
  if (!found.ok()) {
    return found.error();
  }
  target.inode = std::move(found.value());
  return Ok{};
}

Handle target_handle(const Context& context, const Target& target) {
  return target.virtual_directory() ? snapshot_directory_handle(context, *target.inode)
                                    : handle_of(context, *target.inode);
}

Task<LookupReply> Filer::lookup(const Caller& caller, const NameRequest& request) {
  const auto look = [&request](Context& context, LookupReply& reply) {
    return attempt_lookup(context, request, reply);
  };
  return run_look<LookupReply>(*state_, caller, look);
}

}  // namespace duet::filer
