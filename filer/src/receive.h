// Receiving: a snapshot that comes as a stream and becomes a volume's newest one.
//
//   begin (a CP: the volume is marked and hidden) -> frames, CPs as they come -> end (a CP: the
//   snapshot is made, the mark is gone)
//
// Whatever ends it early (a stream that is refused, the operator, a crash), the volume is given
// back as its newest snapshot, or is gone if it is new.
//
// Ownership: FilerState.  Thread-safety: the filer's strand.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "wafl/receive.h"
#include "wafl/volume.h"

namespace duet::filer {

struct Receiving {
  Receiving(wafl::Volume& of, const wafl::StreamHeader& from)
      : volume(of), header(from), receiver(of, from) {}
  wafl::Volume& volume;
  const wafl::StreamHeader header;
  wafl::SnapshotReceiver receiver;
  std::vector<std::byte> bytes;  // of a frame that is not whole yet
  bool busy = false;
};

// By the number that begin_receive() gave.
struct Receives {
  std::map<std::uint64_t, std::unique_ptr<Receiving>> running;
  std::uint64_t next = 1;
};

// The volume is as it was before.  REQUIRES: the turn of a freeze, or before the CPs of opening.
Status give_up_receive(wafl::Aggregate& aggregate, wafl::Volume& volume);

}  // namespace duet::filer
