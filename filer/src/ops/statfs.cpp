// FSSTAT, FSINFO and PATHCONF (RFC 1813, 3.3.18 to 3.3.20).

#include <algorithm>

#include "driver.h"

namespace duet::filer {

namespace {

// FSINFO and PATHCONF say what is constant in server/nfs3; here only the object counts.
template <typename Reply>
Task<Reply> look_at(FilerState& filer, const Caller& caller, ConstBytes handle) {
  const auto look = [handle](Context& context, Reply& reply) -> Status {
    Target target;
    if (Status resolved = resolve(context, handle, target); !resolved.ok()) {
      return resolved;
    }
    reply.attributes = file_attributes(context, target);
    return Ok{};
  };
  return run_look<Reply>(filer, caller, look);
}

void fill_in(const wafl::Volume& volume, const wafl::AggregateUsage& usage, FsstatReply& reply) {
  const std::uint64_t limit = volume.limit_bytes();
  const std::uint64_t used = volume.used_bytes();
  reply.free_bytes = usage.free_bytes;
  if (limit != 0) {
    reply.free_bytes = std::min(reply.free_bytes, limit - std::min(limit, used));
  }
  reply.available_bytes = reply.free_bytes;
  reply.total_bytes = limit != 0 ? limit : usage.total_bytes;
  // There is no limit on inodes but the space for them.
  reply.free_files = reply.free_bytes / sizeof(wafl::DiskInode);
  reply.available_files = reply.free_files;
  reply.total_files = volume.inodes_used() + reply.free_files;
}

}  // namespace

Task<FsstatReply> Filer::fsstat(const Caller& caller, ConstBytes handle) {
  const auto look = [handle](Context& context, FsstatReply& reply) -> Status {
    Target target;
    if (Status resolved = resolve(context, handle, target); !resolved.ok()) {
      return resolved;
    }
    reply.attributes = file_attributes(context, target);
    fill_in(*target.volume, context.filer.aggregate->usage(), reply);
    return Ok{};
  };
  return run_look<FsstatReply>(*state_, caller, look);
}

Task<FsinfoReply> Filer::fsinfo(const Caller& caller, ConstBytes handle) {
  return look_at<FsinfoReply>(*state_, caller, handle);
}

Task<PathconfReply> Filer::pathconf(const Caller& caller, ConstBytes handle) {
  return look_at<PathconfReply>(*state_, caller, handle);
}

}  // namespace duet::filer
