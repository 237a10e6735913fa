// READDIR (3.3.16), READDIRPLUS (3.3.17).

#include <algorithm>

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

namespace {

void write_entries(XdrWriter& out, const filer::ReaddirReply& reply, bool plus) {
  out.u64(reply.verifier);
  for (const filer::ReaddirEntry& entry : reply.entries) {
    out.boolean(true);
    out.u64(entry.fileid);
    out.string(entry.name);
    out.u64(entry.cookie);
    if (plus) {
      write_post(out, entry.attributes);
      write_post_handle(out, entry.handle);
    }
  }
  out.boolean(false);
  out.boolean(reply.end);
}

Task<AcceptStatus> list(Nfs3Program& nfs, Call& call, filer::ReaddirRequest request) {
  co_await to_filer(nfs.crossing());
  const filer::ReaddirReply reply = co_await nfs.filer().readdir(call.caller, request);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.directory);
  if (success) {
    write_entries(call.reply, reply, request.plus);
  }
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> garbage() { co_return AcceptStatus::kGarbageArguments; }

filer::ReaddirRequest read_place(XdrReader& in) {
  filer::ReaddirRequest request;
  request.directory = read_handle(in);
  request.cookie = in.u64();
  request.verifier = in.u64();
  request.bytes_max = std::min(in.u32(), kTransferBytesMax);
  return request;
}

}  // namespace

Task<AcceptStatus> readdir(Nfs3Program& nfs, Call& call) {
  const filer::ReaddirRequest request = read_place(call.arguments);
  return call.arguments.ok() ? list(nfs, call, request) : garbage();
}

Task<AcceptStatus> readdirplus(Nfs3Program& nfs, Call& call) {
  filer::ReaddirRequest request = read_place(call.arguments);
  request.reply_bytes_max = std::min(call.arguments.u32(), kTransferBytesMax);
  request.plus = true;
  return call.arguments.ok() ? list(nfs, call, request) : garbage();
}

}  // namespace duet::server::nfs3
