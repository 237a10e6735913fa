// WRITE (3.3.7), COMMIT (3.3.21).  Every write is answered FILE_SYNC, whatever was asked for: the
// filer answers only what is durable.

#include <algorithm>

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

namespace {

constexpr std::uint32_t kStableHows = 3;  // UNSTABLE, DATA_SYNC, FILE_SYNC

// Leaves the first `count` bytes.
void cut(std::vector<ConstBytes>& pieces, std::size_t count) {
  std::size_t kept = 0;
  for (; kept < pieces.size() && count > 0; ++kept) {
    pieces[kept] = pieces[kept].first(std::min(pieces[kept].size(), count));
    count -= pieces[kept].size();
  }
  pieces.resize(kept);
}

// More than wtmax is written short, and data beyond `count` are ignored; fewer than `count` are
// no WRITE arguments.
bool read_arguments(Call& call, filer::WriteRequest& request) {
  XdrReader& in = call.arguments;
  request.handle = read_handle(in);
  request.offset = in.u64();
  const std::uint32_t count = in.u32();
  in.enumeration(kStableHows);
  const std::uint32_t bytes = in.data(call.data);
  const std::uint32_t written = std::min(count, kTransferBytesMax);
  if (bytes > written) {
    cut(call.data, written);
  }
  request.data = call.data;
  return in.ok() && count <= bytes;
}

}  // namespace

Task<AcceptStatus> write(Nfs3Program& nfs, Call& call) {
  filer::WriteRequest request;
  if (!read_arguments(call, request)) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::WriteReply reply = co_await nfs.filer().write(call.caller, request);
  const std::uint64_t verifier = nfs.filer().write_verifier();
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_wcc(call.reply, reply.wcc);
  if (success) {
    call.reply.u32(reply.count);
    call.reply.u32(kFileSync);
    call.reply.u64(verifier);
  }
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> commit(Nfs3Program& nfs, Call& call) {
  filer::CommitRequest request;
  request.handle = read_handle(call.arguments);
  request.offset = call.arguments.u64();
  request.count = call.arguments.u32();
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  const filer::CommitReply reply = co_await nfs.filer().commit(call.caller, request);
  const std::uint64_t verifier = nfs.filer().write_verifier();
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_wcc(call.reply, reply.wcc);
  if (success) {
    call.reply.u64(verifier);
  }
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server::nfs3
