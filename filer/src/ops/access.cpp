// ACCESS (RFC 1813, 3.3.4).

#include "driver.h"

namespace duet::filer {

Task<AccessReply> Filer::access(const Caller& caller, ConstBytes handle, std::uint32_t wanted) {
  const auto look = [handle, wanted](Context& context, AccessReply& reply) -> Status {
    Target target;
    if (Status resolved = resolve(context, handle, target); !resolved.ok()) {
      return resolved;
    }
    reply.attributes = file_attributes(context, target);
    reply.access = wanted & access_bits(identify(context, target), reply.attributes->attributes,
                                        target.writable());
    return Ok{};
  };
  return run_look<AccessReply>(*state_, caller, look);
}

}  // namespace duet::filer
