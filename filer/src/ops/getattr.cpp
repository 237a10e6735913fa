// GETATTR (RFC 1813, 3.3.1).

#include "driver.h"

namespace duet::filer {

Task<GetattrReply> Filer::getattr(const Caller& caller, ConstBytes handle) {
  const auto look = [handle](Context& context, GetattrReply& reply) -> Status {
    Target target;
    if (Status resolved = resolve(context, handle, target); !resolved.ok()) {
      return resolved;
    }
    reply.attributes = file_attributes(context, target);
    return Ok{};
  };
  return run_look<GetattrReply>(*state_, caller, look);
}

}  // namespace duet::filer
