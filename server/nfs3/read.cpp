// READ (3.3.6).  The data are sent from the cache's buffers, which the coroutine keeps until
// the reply has left.

#include <algorithm>
#include <array>

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

namespace {

filer::ReadRequest read_arguments(XdrReader& in) {
  filer::ReadRequest request;
  request.handle = read_handle(in);
  request.offset = in.u64();
  // More than rtmax is answered short, as the RFC allows.
  request.count = std::min(in.u32(), kTransferBytesMax);
  return request;
}

void gather_zeros(XdrWriter& out, std::size_t bytes) {
  alignas(4096) static constexpr std::array<std::byte, 64 * 1024> kZeros{};
  while (bytes > 0) {
    const std::size_t count = std::min(bytes, kZeros.size());
    out.gather(ConstBytes(kZeros).first(count));
    bytes -= count;
  }
}

void write_data(XdrWriter& out, const wafl::ReadResult& data) {
  const auto count = static_cast<std::uint32_t>(data.bytes);
  out.u32(count);
  out.boolean(data.end_of_file);
  out.u32(count);
  for (const wafl::Extent& extent : data.extents) {
    if (extent.buffer) {
      out.gather(extent.buffer.bytes().subspan(extent.offset, extent.bytes));
    } else {
      gather_zeros(out, extent.bytes);
    }
  }
  out.pad(count);
}

}  // namespace

Task<AcceptStatus> read(Nfs3Program& nfs, Call& call) {
  const filer::ReadRequest request = read_arguments(call.arguments);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(nfs.crossing());
  filer::ReadReply reply = co_await nfs.filer().read(call.caller, request);
  co_await from_filer(nfs.crossing());
  if (must_not_answer(reply.error)) {
    co_return AcceptStatus::kNoReply;
  }
  const bool success = write_outcome(call, reply.error);
  write_post(call.reply, reply.attributes);
  if (!success) {
    co_return AcceptStatus::kSuccess;
  }
  write_data(call.reply, reply.data);
  co_await call.sent();
  co_await to_filer(nfs.crossing());
  reply.data.extents.clear();  // counted on the filer's thread
  co_await from_filer(nfs.crossing());
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server::nfs3
