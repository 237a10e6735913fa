// One input of the fuzzers: what a client says on a connection.

#pragma once

#include "base/bytes.h"

namespace duet::nbd::test {

// Bytes 0 and 1 choose seed and form: even: raw bytes; odd: an attached connection, the rest a list
// of changes to well-formed requests.  Stops the process when a reply is none, or anything is left.
void fuzz_connection(ConstBytes input);

}  // namespace duet::nbd::test
