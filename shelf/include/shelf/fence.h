// What the pair does with reservations, in terms of SharedDisk only: the sequences that DESIGN's
// rules 3, 8 and 10 ask for, on any target.
//
// Thread-safety: the scheduler's thread only.  Errors: those of the commands, unless noted; each
// may be repeated from the start whatever it gave.

#pragma once

#include "platform/task.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

// Rule 3, "remove the older incarnations' keys and drain their writes; register": afterwards my key
// is the only one of my node, and a reservation is held by somebody.  Keys of other nodes stay.
// REQUIRES: nothing of mine is under way.  kFenced: a newer incarnation of my node is there.
Task<Status> join_disk(SharedDisk& disk, Reservation kind);

// Rule 8, "remove every key but mine, abort and drain, verify the key gone and the reservation
// held": afterwards my key is the only one, I hold the reservation, and nothing of others is under
// way. kFenced: another was faster, and my key is gone or never was. kRefused: the target cannot be
// the only fence (DiskFeatures::survives_power_loss) and `second_fence` is false; or I hold a
// reservation of the other kind.  kTryAgain: a key was registered meanwhile.
Task<Status> fence_disk(SharedDisk& disk, Reservation kind, bool second_fence = false);

// Afterwards no process of `node` up to `incarnation` can write, and nothing of theirs is under
// way; newer ones may.  For a disk that was out of reach when they were fenced elsewhere. kFenced:
// my key is not there; kRefused: without a reservation everybody may write, or as in fence_disk()
// the target cannot be the only fence.
Task<Status> exclude_processes(SharedDisk& disk, std::uint8_t node, std::uint64_t incarnation,
                               bool second_fence = false);

// Rule 3, "compare-and-swap or under exclusive reservation": SharedDisk::compare_and_swap() where
// the target offers it.  Elsewhere it removes every other key, reads, compares, writes durably and
// asks whether its key is still there; the others find themselves fenced, wait and register again
// (rule 10), so it disturbs a living partner.
// kOutOfSync: the block holds something else.  kFenced: another claimant was faster: read the
// block again before anything else; it may hold either's value.
Task<Status> swap_block(SharedDisk& disk, std::uint64_t block, ConstBytes expected,
                        ConstBytes desired);

}  // namespace duet::shelf
