#include "server/portmap.h"

namespace duet::server {

namespace {

enum class Procedure : std::uint32_t { kNull = 0, kSet, kUnset, kGetport, kDump };

Task<AcceptStatus> done(AcceptStatus status) { co_return status; }

}  // namespace

std::vector<PortMapping> mappings_on(std::uint16_t port) {
  return {{kPortmapProgram, 2, port},
          {kMountProgram, 1, port},
          {kMountProgram, 3, port},
          {kNfsProgram, 3, port}};
}

Task<AcceptStatus> PortmapProgram::serve(Call& call) {
  switch (static_cast<Procedure>(call.procedure)) {
    case Procedure::kNull:
      break;
    case Procedure::kSet:
    case Procedure::kUnset:
      call.failed = true;
      call.reply.boolean(false);  // strangers change nothing here
      break;
    case Procedure::kGetport:
      return done(get_port(call));
    case Procedure::kDump:
      dump(call);
      break;
  }
  return done(AcceptStatus::kSuccess);
}

// Any version of a program that is here gets the port: the program itself says which it speaks.
AcceptStatus PortmapProgram::get_port(Call& call) const {
  const std::uint32_t program = call.arguments.u32();
  call.arguments.u32();  // version
  const std::uint32_t protocol = call.arguments.u32();
  call.arguments.u32();  // port
  if (!call.arguments.ok()) {
    return AcceptStatus::kGarbageArguments;
  }
  std::uint32_t port = 0;
  for (const PortMapping& mapping : mappings_) {
    if (mapping.program == program && protocol == kProtocolTcp) {
      port = mapping.port;
    }
  }
  call.reply.u32(port);
  return AcceptStatus::kSuccess;
}

void PortmapProgram::dump(Call& call) const {
  for (const PortMapping& mapping : mappings_) {
    call.reply.boolean(true);
    call.reply.u32(mapping.program);
    call.reply.u32(mapping.version);
    call.reply.u32(kProtocolTcp);
    call.reply.u32(mapping.port);
  }
  call.reply.boolean(false);
}

}  // namespace duet::server
