// FSSTAT (3.3.18), FSINFO (3.3.19), PATHCONF (3.3.20).

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

namespace {

void write_limits(XdrWriter& out) {
  out.u32(kTransferBytesMax);  // rtmax
  out.u32(kTransferBytesMax);  // rtpref
  out.u32(kTransferMultiple);
  out.u32(kTransferBytesMax);  // wtmax
  out.u32(kTransferBytesMax);  // wtpref
  out.u32(kTransferMultiple);
  out.u32(kDirectoryBytesPreferred);
  out.u64(wafl::kFileBytesMax);
  out.u32(0);  // time_delta: a nanosecond
  out.u32(1);
  out.u32(kProperties);
}

void write_names(XdrWriter& out) {
  out.u32(wafl::kLinksMax);
  out.u32(static_cast<std::uint32_t>(wafl::kNameBytesMax));
  out.boolean(true);   // no_trunc
  out.boolean(true);   // chown_restricted
  out.boolean(false);  // case_insensitive
  out.boolean(true);   // case_preserving
}

}  // namespace

Task<AcceptStatus> fsstat(Nfs3Program& nfs, Call& call) {
  const ConstBytes handle = read_handle(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::FsstatReply reply = co_await nfs.filer().fsstat(call.caller, handle);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  if (success) {
    call.reply.u64(reply.total_bytes);
    call.reply.u64(reply.free_bytes);
    call.reply.u64(reply.available_bytes);
    call.reply.u64(reply.total_files);
    call.reply.u64(reply.free_files);
    call.reply.u64(reply.available_files);
    call.reply.u32(0);  // invarsec: it may change at any time
  }
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> fsinfo(Nfs3Program& nfs, Call& call) {
  const ConstBytes handle = read_handle(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::FsinfoReply reply = co_await nfs.filer().fsinfo(call.caller, handle);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  if (success) {
    write_limits(call.reply);
  }
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> pathconf(Nfs3Program& nfs, Call& call) {
  const ConstBytes handle = read_handle(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::PathconfReply reply = co_await nfs.filer().pathconf(call.caller, handle);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  if (success) {
    write_names(call.reply);
  }
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server::nfs3
