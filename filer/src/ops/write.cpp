// WRITE and COMMIT (RFC 1813, 3.3.7 and 3.3.21).  Every write is FILE_SYNC: it is in the log
// when it is answered, so COMMIT has nothing to do but wait as any look does.

#include "apply.h"
#include "driver.h"

namespace duet::filer {

namespace {

Status check_file(Context& context, const Target& target) {
  const wafl::Attributes& attributes = target.attributes();
  if (attributes.type != wafl::FileType::kRegular) {
    const bool directory = attributes.type == wafl::FileType::kDirectory;
    return Error{directory ? Errc::kIsDirectory : Errc::kInvalid, "write: to no file"};
  }
  if (!may_write_contents(identify(context, target), attributes)) {
    return Error{Errc::kAccess, "write: no right to"};
  }
  return Ok{};
}

Status attempt_write(Context& context, const WriteRequest& request, std::size_t bytes,
                     Change& change) {
  Target target;
  if (Status resolved = resolve_writable(context, request.handle, target); !resolved.ok()) {
    return resolved;
  }
  wafl::Inode& file = *target.inode;
  change.reply.first = unchanged(file);
  if (Status checked = check_file(context, target); !checked.ok()) {
    return checked;
  }
  if (bytes > kIoBytesMax) {
    return Error{Errc::kInvalid, "write: more than FSINFO allows"};
  }
  if (request.offset > wafl::kFileBytesMax || bytes > wafl::kFileBytesMax - request.offset) {
    return Error{Errc::kFileTooBig, "write: beyond the largest file"};
  }
  if (bytes == 0) {
    return Ok{};
  }
  const Identity who = identify(context, target);
  Record& record = change.record;
  record.operation = Operation::kWrite;
  record.volume = target.volume->id();
  record.object = object_of(file.id());
  record.drop_privileges = !who.root() && (file.attributes().mode & (kSetUid | kSetGid)) != 0;
  record.offset = request.offset;
  record.data = request.data;
  change.made = true;
  change.reply.count = static_cast<std::uint32_t>(bytes);
  return apply_write(context.attempt, file, record, change.reply);
}

}  // namespace

Task<WriteReply> Filer::write(const Caller& caller, const WriteRequest& request) {
  const std::size_t bytes = data_bytes(request.data);
  const auto attempt = [&request, bytes](Context& context, Change& change) {
    return attempt_write(context, request, bytes, change);
  };
  // Too much is refused before it could ever be logged.
  const std::size_t logged_bytes = bytes > kIoBytesMax ? 0 : bytes;
  return run_change<WriteReply>(*state_, caller, false, logged_bytes, attempt);
}

Task<CommitReply> Filer::commit(const Caller& caller, const CommitRequest& request) {
  const auto look = [&request](Context& context, CommitReply& reply) -> Status {
    Target target;
    if (Status resolved = resolve_writable(context, request.handle, target); !resolved.ok()) {
      return resolved;
    }
    reply.wcc = unchanged(*target.inode);
    return check_file(context, target);
  };
  return run_look<CommitReply>(*state_, caller, look);
}

[[nodiscard]] std::uint64_t Filer::write_verifier() const {
  constexpr std::string_view kPurpose = "write verifier";
  return siphash24(state_->root.handle_key, std::as_bytes(std::span(kPurpose)));
}

}  // namespace duet::filer
