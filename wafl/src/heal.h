// Healing: a block whose checksum is wrong, from what else its disk can say it is.
//
// A repair must never meet a write of newer content.  Blocks that CP c refers to are written again
// by CP c + 2 at the earliest, so:
//   (1) A block is healed only for a pointer found while CP c was the committed one, and is.
//   (2) A CP writes nothing while a block is being healed that was found before its forerunner's
//       commit (await_heals()).
// Without (1) a disk that once lost a write could say what the block was before, and be believed.
//
// Thread-safety: the strand.

#pragma once

#include <cstdint>

#include "aggregate_state.h"
#include "platform/task.h"
#include "wafl/tree_format.h"

namespace duet::wafl {

// Whether `bytes` now hold what `pointer` says.  `found_in`: the committed CP when the pointer was
// found.  What the disk has is put right, too, if it can be.
// REQUIRES: the pointer leads into the aggregate.
Task<bool> heal(AggregateState& state, BlockPointer pointer, std::uint32_t found_in,
                MutableBytes bytes);

// For the CP that follows the committed one, before its first write.
Task<void> await_heals(AggregateState& state);

}  // namespace duet::wafl
