// LOOKUP (3.3.3), READLINK (3.3.5).

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

Task<AcceptStatus> lookup(Nfs3Program& nfs, Call& call) {
  const filer::NameRequest request = read_name_in(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::LookupReply reply = co_await nfs.filer().lookup(call.caller, request);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  if (write_outcome(call, reply.error)) {
    write_handle(call.reply, reply.handle);
    write_post(call.reply, reply.attributes);
  }
  write_post(call.reply, reply.directory);
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> readlink(Nfs3Program& nfs, Call& call) {
  const ConstBytes handle = read_handle(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::ReadlinkReply reply = co_await nfs.filer().readlink(call.caller, handle);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  if (success) {
    call.reply.string(reply.target);
  }
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server::nfs3
