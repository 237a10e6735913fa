// READ and READLINK (RFC 1813, 3.3.6 and 3.3.5).

#include <algorithm>

#include "driver.h"
#include "wafl/operations.h"

namespace duet::filer {

namespace {

constexpr std::int64_t kDayNs = 86'400'000'000'000;

// As relatime: only as exactly as programs need that ask "read since it was changed?".  In
// memory and not in the log: a crash may take it back.  Where space or memory is short,
// reading must not need any: the time stays as it is.
void touch(Context& context, Target& target) {
  const wafl::Attributes& present = target.attributes();
  const wafl::Timestamp now = context.filer.times.next();
  const std::int64_t age_ns =
      static_cast<std::int64_t>(now) - static_cast<std::int64_t>(present.atime);
  const bool due = present.atime <= present.mtime || age_ns > kDayNs;
  if (target.writable() && due && !context.filer.memory_full() &&
      target.volume->reserve(context.attempt, 0).ok()) {
    target.inode->change_attributes().atime = now;
    context.filer.changed();
  }
}

Status attempt_read(Context& context, const ReadRequest& request, ReadReply& reply) {
  Target target;
  if (Status resolved = resolve(context, request.handle, target); !resolved.ok()) {
    return resolved;
  }
  reply.attributes = file_attributes(context, target);
  const wafl::Attributes& attributes = reply.attributes->attributes;
  if (attributes.type != wafl::FileType::kRegular) {
    const bool directory = attributes.type == wafl::FileType::kDirectory;
    return Error{directory ? Errc::kIsDirectory : Errc::kInvalid, "read: of no file"};
  }
  if (!may_read_contents(identify(context, target), attributes)) {
    return Error{Errc::kAccess, "read: no right to"};
  }
  if (request.offset >= attributes.size_bytes) {
    reply.data.end_of_file = true;
    return Ok{};
  }
  Result<wafl::ReadResult> read = wafl::read(context.attempt, *target.inode, request.offset,
                                             std::min(request.count, kIoBytesMax));
  if (!read.ok()) {
    return read.error();
  }
  reply.data = std::move(read.value());
  touch(context, target);
  return Ok{};
}

}  // namespace

Task<ReadReply> Filer::read(const Caller& caller, const ReadRequest& request) {
  const auto look = [&request](Context& context, ReadReply& reply) {
    return attempt_read(context, request, reply);
  };
  return run_look<ReadReply>(*state_, caller, look);
}

Task<ReadlinkReply> Filer::readlink(const Caller& caller, ConstBytes handle) {
  const auto look = [handle](Context& context, ReadlinkReply& reply) -> Status {
    Target target;
    if (Status resolved = resolve(context, handle, target); !resolved.ok()) {
      return resolved;
    }
    reply.attributes = file_attributes(context, target);
    if (reply.attributes->attributes.type != wafl::FileType::kSymlink) {
      return Error{Errc::kInvalid, "readlink: of no symbolic link"};
    }
    Result<std::string> text = wafl::read_link(context.attempt, *target.inode);
    if (!text.ok()) {
      return text.error();
    }
    reply.target = std::move(text.value());
    return Ok{};
  };
  return run_look<ReadlinkReply>(*state_, caller, look);
}

}  // namespace duet::filer
