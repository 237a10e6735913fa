// One input of a fuzzer, for everything that a connection's bytes reach: records, RPC headers and
// the arguments of NFSv3, MOUNT and portmap.
//
//   byte 0: seed of the network's cuts
//   byte 1: even: the rest is the stream as it is
//           odd: program (byte 2), procedure (byte 3), fragments (byte 4), arguments (the rest)
//
// Stops the process when a promise is broken: something is left over, or a reply is no reply.

#pragma once

#include "base/bytes.h"

namespace duet::server::test {

void fuzz_connection(ConstBytes input);

}  // namespace duet::server::test
