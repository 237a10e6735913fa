// CREATE (RFC 1813, 3.3.8).

#include "apply.h"
#include "driver.h"
#include "ops/make.h"
#include "ops/new_attributes.h"

namespace duet::filer {

namespace {

// Where an exclusive CREATE keeps its verifier until the client sets the times: 31 bits in
// the seconds, so that every client can show them, and one in the nanoseconds.
wafl::Timestamp verifier_time(std::uint32_t half) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  return wafl::Timestamp{std::int64_t{half & 0x7FFF'FFFFU} * kSecond + (half >> 31U)};
}
void set_verifier(std::uint64_t verifier, wafl::AttributeChanges& changes) {
  changes.atime = verifier_time(static_cast<std::uint32_t>(verifier));
  changes.mtime = verifier_time(static_cast<std::uint32_t>(verifier >> 32U));
}
bool has_verifier(std::uint64_t verifier, const wafl::Attributes& attributes) {
  wafl::AttributeChanges wanted;
  set_verifier(verifier, wanted);
  return attributes.atime == *wanted.atime && attributes.mtime == *wanted.mtime &&
         attributes.size_bytes == 0;
}

void give_existing(const wafl::Inode& file, Change& change) {
  change.reply.object = file.id();
  change.reply.attributes = file_attributes(file);
}

// UNCHECKED finds the file there: of the attributes only the size is set.
Status reuse(Context& context, const CreateRequest& request, const Place& place, wafl::Inode& file,
             Change& change) {
  const SetAttributes& wanted = request.attributes;
  if (!wanted.size_bytes.has_value()) {
    give_existing(file, change);
    return Ok{};
  }
  if (!may_write_contents(place.who, file.attributes())) {
    return Error{Errc::kAccess, "create: no right to write what is there"};
  }
  if (*wanted.size_bytes > wafl::kFileBytesMax) {
    return Error{Errc::kFileTooBig, "create: beyond the largest file"};
  }
  if (*wanted.size_bytes == 0 && file.attributes().size_bytes == 0) {
    give_existing(file, change);
    return Ok{};
  }
  Record& record = change.record;
  record.operation = Operation::kCreateExisting;
  record.volume = place.directory.volume->id();
  record.object = object_of(place.directory.inode->id());
  record.second = object_of(file.id());
  record.name = request.name;
  record.changes.size_bytes = wanted.size_bytes;
  change.made = true;
  return apply_create_existing(context.attempt, *place.directory.inode, file, record, change.reply);
}

Status attempt_existing(Context& context, const CreateRequest& request, const Place& place,
                        Change& change) {
  constexpr Error kTaken{Errc::kExists, "create: the name is taken"};
  if (request.mode == CreateMode::kGuarded || place.present->type != wafl::FileType::kRegular) {
    return kTaken;
  }
  const Result<wafl::InodeRef> file =
      place.directory.volume->find_inode(context.attempt, wafl::kLive, place.present->inode);
  if (!file.ok()) {
    return file.error();
  }
  if (request.mode == CreateMode::kUnchecked) {
    return reuse(context, request, place, *file.value(), change);
  }
  if (!has_verifier(request.verifier, file.value()->attributes())) {
    return kTaken;
  }
  give_existing(*file.value(), change);
  return Ok{};
}

Status attempt_create(Context& context, const CreateRequest& request, Change& change) {
  Place place;
  if (Status found = find_place(context, request.directory, request.name, place, change);
      !found.ok()) {
    return found;
  }
  if (place.present.has_value()) {
    return attempt_existing(context, request, place, change);
  }
  if (Status allowed = may_make(place); !allowed.ok()) {
    return allowed;
  }
  const bool exclusive = request.mode == CreateMode::kExclusive;
  const SetAttributes wanted = exclusive ? SetAttributes{} : request.attributes;
  if (wanted.size_bytes.value_or(0) > wafl::kFileBytesMax) {
    return Error{Errc::kFileTooBig, "create: beyond the largest file"};
  }
  wafl::AttributeChanges changes = changes_of_new(wanted, place.who, place.directory.attributes(),
                                                  wafl::FileType::kRegular, change.record.now);
  if (exclusive) {
    set_verifier(request.verifier, changes);
  }
  return make_object(context, place, request.name, wafl::FileType::kRegular, changes, change);
}

}  // namespace

Task<CreateReply> Filer::create(const Caller& caller, const CreateRequest& request) {
  const auto attempt = [&request](Context& context, Change& change) {
    return attempt_create(context, request, change);
  };
  return run_change<CreateReply>(*state_, caller, true, 0, attempt);
}

}  // namespace duet::filer
