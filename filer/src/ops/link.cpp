// LINK (RFC 1813, 3.3.15).

#include "apply.h"
#include "driver.h"
#include "ops/make.h"

namespace duet::filer {

namespace {

Status attempt_link(Context& context, const LinkRequest& request, Change& change) {
  Target file;
  if (Status resolved = resolve_writable(context, request.handle, file); !resolved.ok()) {
    return resolved;
  }
  change.reply.attributes = file_attributes(*file.inode);
  Place place;
  if (Status found = find_place(context, request.directory, request.name, place, change);
      !found.ok()) {
    return found;
  }
  if (file.volume != place.directory.volume) {
    return Error{Errc::kCrossVolume, "link: between volumes"};
  }
  if (Status allowed = may_make(place); !allowed.ok()) {
    return allowed;
  }
  Record& record = change.record;
  record.operation = Operation::kLink;
  record.volume = file.volume->id();
  record.object = object_of(file.inode->id());
  record.second = object_of(place.directory.inode->id());
  record.name = request.name;
  change.made = true;
  return apply_link(context.attempt, *file.inode, *place.directory.inode, record, change.reply);
}

}  // namespace

Task<LinkReply> Filer::link(const Caller& caller, const LinkRequest& request) {
  const auto attempt = [&request](Context& context, Change& change) {
    return attempt_link(context, request, change);
  };
  return run_change<LinkReply>(*state_, caller, true, 0, attempt);
}

}  // namespace duet::filer
