// REMOVE (3.3.12), RMDIR (3.3.13), RENAME (3.3.14), LINK (3.3.15).

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

namespace {

AcceptStatus write_removed(Call& call, const filer::WccReply& reply) {
  if (must_not_answer(reply.error)) {
    return AcceptStatus::kNoReply;
  }
  write_outcome(call, reply.error);
  write_wcc(call.reply, reply.wcc);
  return AcceptStatus::kSuccess;
}

}  // namespace

Task<AcceptStatus> remove(Nfs3Program& nfs, Call& call) {
  const filer::NameRequest request = read_name_in(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::WccReply reply = co_await nfs.filer().remove(call.caller, request);
  co_await from_filer(nfs.crossing());
  co_return write_removed(call, reply);
}

Task<AcceptStatus> rmdir(Nfs3Program& nfs, Call& call) {
  const filer::NameRequest request = read_name_in(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::WccReply reply = co_await nfs.filer().rmdir(call.caller, request);
  co_await from_filer(nfs.crossing());
  co_return write_removed(call, reply);
}

Task<AcceptStatus> rename(Nfs3Program& nfs, Call& call) {
  filer::RenameRequest request;
  request.from_directory = read_handle(call.arguments);
  request.from_name = read_name(call.arguments);
  request.to_directory = read_handle(call.arguments);
  request.to_name = read_name(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::RenameReply reply = co_await nfs.filer().rename(call.caller, request);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  write_outcome(call, reply.error);
  write_wcc(call.reply, reply.from);
  write_wcc(call.reply, reply.to);
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> link(Nfs3Program& nfs, Call& call) {
  filer::LinkRequest request;
  request.handle = read_handle(call.arguments);
  request.directory = read_handle(call.arguments);
  request.name = read_name(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::LinkReply reply = co_await nfs.filer().link(call.caller, request);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  write_wcc(call.reply, reply.directory);
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server::nfs3
