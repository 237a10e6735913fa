// READDIR and READDIRPLUS (RFC 1813, 3.3.16 and 3.3.17).

#include <algorithm>

#include "driver.h"
#include "ops/lookup.h"
#include "snapshot_directory.h"
#include "wafl/operations.h"

namespace duet::filer {

namespace {

constexpr std::uint64_t kDotCookie = 1;
constexpr std::uint64_t kDotDotCookie = 2;

// Bounds one turn of the strand and one reply; clients ask again.
constexpr std::uint32_t kReplyBytesMax = 256U << 10U;

// XDR of RFC 1813, 2.5: what the entries of a reply take.
constexpr std::uint32_t kWordBytes = 4;
constexpr std::uint32_t kFattr3Bytes = 84;
constexpr std::uint32_t kOptionalAttributesBytes = kWordBytes + kFattr3Bytes;
// dir_attributes, cookieverf, the end of the list, eof.
constexpr std::uint32_t kEmptyReplyBytes = kOptionalAttributesBytes + 8 + kWordBytes + kWordBytes;

std::uint32_t name_bytes(std::string_view name) {
  return kWordBytes + (static_cast<std::uint32_t>(name.size()) + 3) / 4 * 4;
}
// fileid, name, cookie: what dircount counts.
std::uint32_t directory_bytes(std::string_view name) { return 8 + name_bytes(name) + 8; }

// Counts what still fits.
class Budget {
 public:
  explicit Budget(const ReaddirRequest& request)
      : plus_(request.plus),
        directory_(request.plus ? request.bytes_max : ~0U),
        reply_(
            std::min(request.plus ? request.reply_bytes_max : request.bytes_max, kReplyBytesMax)) {}

  // Takes room for the reply itself; false: not even that fits.
  bool take_empty() { return take(reply_, kEmptyReplyBytes); }
  bool take_entry(std::string_view name) {
    const std::uint32_t in_directory = directory_bytes(name);
    std::uint32_t in_reply = kWordBytes + in_directory;
    if (plus_) {
      in_reply += kOptionalAttributesBytes + kWordBytes + kWordBytes +
                  static_cast<std::uint32_t>(sizeof(HandleBytes));
    }
    return in_directory <= directory_ && take(reply_, in_reply) && take(directory_, in_directory);
  }

 private:
  static bool take(std::uint32_t& left, std::uint32_t bytes) {
    if (left < bytes) {
      return false;
    }
    left -= bytes;
    return true;
  }
  bool plus_;
  std::uint32_t directory_;
  std::uint32_t reply_;
};

// Cookies never move in a directory's life, so this names that life.
std::uint64_t verifier_of(const Target& directory) {
  return (static_cast<std::uint64_t>(directory.inode->id().generation) << 32U) | 1U;
}

Status check_request(const ReaddirRequest& request, const Target& directory,
                     const FileAttributes& attributes, const Identity& who) {
  if (attributes.attributes.type != wafl::FileType::kDirectory) {
    return Error{Errc::kNotDirectory, "readdir: of no directory"};
  }
  if (!may(who, attributes.attributes, kMayRead)) {
    return Error{Errc::kAccess, "readdir: no right to"};
  }
  if (request.cookie != 0 && request.verifier != 0 && request.verifier != verifier_of(directory)) {
    return Error{Errc::kBadCookie, "readdir: a cookie of another directory's life"};
  }
  return Ok{};
}

// Adds one; false: it does not fit.
bool add(Budget& budget, std::string_view name, std::uint64_t fileid, std::uint64_t cookie,
         ReaddirReply& reply) {
  if (!budget.take_entry(name)) {
    return false;
  }
  ReaddirEntry& entry = reply.entries.emplace_back();
  entry.fileid = fileid;
  entry.cookie = cookie;
  entry.name = name;
  return true;
}

Status list_directory(Context& context, const ReaddirRequest& request, const Target& directory,
                      Budget& budget, ReaddirReply& reply) {
  const auto visit = [&](const wafl::ListedEntry& entry) {
    return add(budget, entry.name, static_cast<std::uint64_t>(entry.inode),
               static_cast<std::uint64_t>(entry.cookie), reply);
  };
  const Result<bool> end =
      wafl::list(context.attempt, *directory.inode, wafl::Cookie{request.cookie}, visit);
  if (!end.ok()) {
    return end.error();
  }
  reply.end = end.value();
  return Ok{};
}

// Handles and attributes.  All that is not in memory is named before the first miss is
// returned, so one load brings it.
Status add_attributes(Context& context, const Target& directory, ReaddirReply& reply) {
  Status missed = Ok{};
  for (ReaddirEntry& entry : reply.entries) {
    const Result<wafl::InodeRef> inode = directory.volume->find_inode(
        context.attempt, directory.inode->id().snapshot, wafl::InodeNumber{entry.fileid});
    if (inode.ok()) {
      entry.attributes = file_attributes(*inode.value());
      entry.handle = handle_of(context, *inode.value());
    } else if (inode.error().code == Errc::kMiss) {
      missed = inode.error();
    } else {
      return inode.error();
    }
  }
  return missed;
}

Status list_snapshots(Context& /*context*/, const ReaddirRequest& request, const Target& directory,
                      Budget& budget, ReaddirReply& reply) {
  if (request.cookie > snapshot_cookie(wafl::SnapshotId{~std::uint32_t{0}})) {
    return Error{Errc::kBadCookie, "readdir: no snapshot has such a cookie"};
  }
  const auto live = static_cast<std::uint64_t>(directory.inode->id().inode);
  reply.end = true;
  const auto offer = [&](std::string_view name, std::uint64_t fileid, std::uint64_t cookie) {
    if (cookie > request.cookie && reply.end) {
      reply.end = add(budget, name, fileid, cookie, reply);
    }
  };
  offer(".", reply.directory->fileid, kDotCookie);
  offer("..", live, kDotDotCookie);
  for (const wafl::SnapshotInfo& snapshot : directory.volume->snapshots()) {
    offer(snapshot.name, live, snapshot_cookie(snapshot.id));
  }
  return Ok{};
}

// What has no attributes (the directory did not exist in that snapshot) is listed without.
Status add_snapshot_attributes(Context& context, const Target& directory, ReaddirReply& reply) {
  Status missed = Ok{};
  for (ReaddirEntry& entry : reply.entries) {
    Target target = directory;
    const Status stepped = step(context, target, entry.name);
    if (stepped.ok()) {
      entry.attributes = file_attributes(context, target);
      entry.handle = target_handle(context, target);
    } else if (stepped.error().code == Errc::kMiss) {
      missed = stepped;
    }
  }
  return missed;
}

Status attempt_readdir(Context& context, const ReaddirRequest& request, ReaddirReply& reply) {
  Target directory;
  if (Status resolved = resolve(context, request.directory, directory); !resolved.ok()) {
    return resolved;
  }
  reply.directory = file_attributes(context, directory);
  if (Status valid =
          check_request(request, directory, *reply.directory, identify(context, directory));
      !valid.ok()) {
    return valid;
  }
  reply.verifier = verifier_of(directory);
  Budget budget(request);
  const bool any_room = budget.take_empty();
  const bool snapshots = directory.virtual_directory();
  if (any_room) {
    const auto list = snapshots ? &list_snapshots : &list_directory;
    if (Status listed = list(context, request, directory, budget, reply); !listed.ok()) {
      return listed;
    }
  }
  if (!any_room || (reply.entries.empty() && !reply.end)) {
    return Error{Errc::kTooSmall, "readdir: no entry fits"};
  }
  // Who may not search the directory gets no further than its names.
  if (!request.plus ||
      !may(identify(context, directory), reply.directory->attributes, kMayExecute)) {
    return Ok{};
  }
  return snapshots ? add_snapshot_attributes(context, directory, reply)
                   : add_attributes(context, directory, reply);
}

}  // namespace

Task<ReaddirReply> Filer::readdir(const Caller& caller, const ReaddirRequest& request) {
  const auto look = [&request](Context& context, ReaddirReply& reply) {
    return attempt_readdir(context, request, reply);
  };
  return run_look<ReaddirReply>(*state_, caller, look);
}

}  // namespace duet::filer
