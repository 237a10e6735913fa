// Answer: when a write in place is answered; the modes of replication of shared disk arrays.
//
// Its intent, which carries its blocks, comes before its first disk write whatever this says; and
// whoever reads or writes these blocks later, at any node, finds them written.  Group::flush()
// comes back when everything that was answered before is on the disks.
//
// Thread-safety: values.

#pragma once

#include <cstdint>

namespace duet::raid {

enum class Answer : std::uint8_t {
  kWritten,            // it is on the disks
  kSynchronous,        // its intent is durable at every node of the view
  kPseudoSynchronous,  // ... is durable here, and sent: lost if this node is lost just then
  kAsynchronous,       // ... is durable here, and will be sent: lost if this node is lost just then
};

}  // namespace duet::raid
