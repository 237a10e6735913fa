// Telling a system's rpcbind (RFC 1833) what is served here.

#include <array>

#include "platform/task_scope.h"
#include "platform/wait.h"
#include "server/portmap.h"
#include "server/rpc.h"

namespace duet::server {

namespace {

constexpr std::uint32_t kPortmapVersion = 2;
constexpr std::uint32_t kSet = 1;
constexpr std::uint32_t kUnset = 2;
// Record mark, xid, REPLY, accepted, no verifier, SUCCESS, the boolean.
constexpr std::size_t kReplyBytes = 32;

void write_call(XdrWriter& out, std::uint32_t xid, const PortMapping& mapping, bool set) {
  out.u32(0);  // the record mark
  out.u32(xid);
  out.u32(static_cast<std::uint32_t>(MessageType::kCall));
  out.u32(kRpcVersion);
  out.u32(kPortmapProgram);
  out.u32(kPortmapVersion);
  out.u32(set ? kSet : kUnset);
  out.u64(0);  // no credentials
  out.u64(0);  // no verifier
  out.u32(mapping.program);
  out.u32(mapping.version);
  out.u32(kProtocolTcp);
  out.u32(mapping.port);
  store_big32(out.front(), kLastFragment | static_cast<std::uint32_t>(out.size() - 4));
}

Task<Status> read_all(ByteStream& stream, MutableBytes into) {
  while (!into.empty()) {
    const Result<std::size_t> got = co_await stream.read_some(into);
    if (!got.ok() || got.value() == 0) {
      co_return Error{Errc::kIo, "rpcbind: no answer"};
    }
    into = into.subspan(got.value());
  }
  co_return Ok{};
}

// The answer, when it is the one expected.
Result<bool> answer(ConstBytes reply, std::uint32_t xid) {
  XdrReader in(reply);
  const bool whole = in.u32() == (kLastFragment | (kReplyBytes - 4)) && in.u32() == xid &&
                     in.u32() == static_cast<std::uint32_t>(MessageType::kReply) &&
                     in.u32() == static_cast<std::uint32_t>(ReplyStatus::kAccepted) &&
                     in.u64() == 0 &&
                     in.u32() == static_cast<std::uint32_t>(AcceptStatus::kSuccess);
  const bool yes = in.boolean();
  if (!whole || !in.ok()) {
    return Error{Errc::kIo, "rpcbind: an answer that makes no sense"};
  }
  return yes;
}

Task<void> close_later(Scheduler& scheduler, ByteStream& stream) {
  co_await sleep(scheduler, kRpcbindWait);
  stream.close();
}

Task<Status> register_all(ByteStream& stream, std::span<const PortMapping> mappings, bool set) {
  std::uint32_t xid = 1;
  for (const PortMapping& mapping : mappings) {
    if (mapping.program == kPortmapProgram) {
      continue;  // rpcbind is that itself, and refuses another
    }
    XdrWriter call;
    write_call(call, xid, mapping, set);
    const Status written = co_await stream.write_all(call.parts());
    if (!written.ok()) {
      co_return written;
    }
    std::array<std::byte, kReplyBytes> reply;
    const MutableBytes into(reply);
    const Status got = co_await read_all(stream, into);
    if (!got.ok()) {
      co_return got;
    }
    const Result<bool> said = answer(reply, xid);
    if (!said.ok()) {
      co_return said.error();
    }
    if (set && !said.value()) {
      co_return Error{Errc::kRefused, "rpcbind refused the registration"};
    }
    ++xid;
  }
  co_return Ok{};
}

}  // namespace

Task<Status> register_programs(Scheduler& scheduler, ByteStream& stream,
                               std::span<const PortMapping> mappings, bool set) {
  TaskScope watch(scheduler);  // ends with this
  watch.spawn(close_later(scheduler, stream));
  const Status registered = co_await register_all(stream, mappings, set);
  co_return registered;
}

}  // namespace duet::server
