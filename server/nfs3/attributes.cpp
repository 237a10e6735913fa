// GETATTR (3.3.1), SETATTR (3.3.2), ACCESS (3.3.4).

#include <limits>

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

Task<AcceptStatus> getattr(Nfs3Program& nfs, Call& call) {
  const ConstBytes handle = read_handle(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::GetattrReply reply = co_await nfs.filer().getattr(call.caller, handle);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  if (write_outcome(call, reply.error)) {
    write_attributes(call.reply, reply.attributes);
  }
  co_return AcceptStatus::kSuccess;
}

namespace {

// False: a time is impossible (INVAL).
bool read_setattr(XdrReader& in, filer::SetattrRequest& request) {
  request.handle = read_handle(in);
  const bool possible = read_attributes(in, request.changes);
  if (in.boolean()) {
    wafl::Timestamp guard{};
    // No file has a ctime with impossible nanoseconds: such a guard never matches.
    constexpr wafl::Timestamp kNever{std::numeric_limits<std::int64_t>::min()};
    request.guard_ctime = read_time(in, guard) ? guard : kNever;
  }
  return possible;
}

}  // namespace

Task<AcceptStatus> setattr(Nfs3Program& nfs, Call& call) {
  filer::SetattrRequest request;
  const bool possible = read_setattr(call.arguments, request);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  if (!possible) {
    write_refusal(call, Nfsstat::kInval);
    write_wcc(call.reply, {});
    co_return AcceptStatus::kSuccess;
  }
  co_await to_filer(nfs.crossing());
  const filer::WccReply reply = co_await nfs.filer().setattr(call.caller, request);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  write_outcome(call, reply.error);
  write_wcc(call.reply, reply.wcc);
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> access(Nfs3Program& nfs, Call& call) {
  const ConstBytes handle = read_handle(call.arguments);
  const std::uint32_t wanted = call.arguments.u32();
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::AccessReply reply = co_await nfs.filer().access(call.caller, handle, wanted);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  if (success) {
    call.reply.u32(reply.access);
  }
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server::nfs3
