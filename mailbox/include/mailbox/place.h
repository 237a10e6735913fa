// The place of the arbitration record: on which disk it is, and how it gets to another (rule 3).
//
// The record of the greatest generation is the one that counts.  It moves by agreement:
//
//   proposer: promise(Q, Y) -> asks -> [agreed] -> record of generation Q to Y
//   partner:                   promise(Q, Y) -> tells what it knows of the owners
//
// A promise is durable on the node's members before anything follows from it; whoever has given it
// changes no record of an older generation, and reads Y whenever it reads the older one.  So the
// record at Y begins with all that was ever swapped, and nobody goes on with the old one, which
// may come back with its disk.  Until the record is at Y either node may give the move up, by
// writing that to Y: a compare-and-swap, so that exactly one of the two comes to be.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <memory>
#include <vector>

#include "mailbox/sector.h"

namespace duet::mailbox {

using Owners = std::array<OwnerEntry, kFilers>;

struct Place {
  std::uint64_t generation = 0;  // 0: where the pair was formatted
  DiskIdentity disk{};
  friend bool operator==(const Place&, const Place&) = default;
};

// What stands in the arbitration block of one disk.
struct PlaceRead {
  enum class Kind : std::uint8_t { kNothing, kRecord, kMoved, kGivenUp };
  Kind kind = Kind::kNothing;  // also what is torn or foreign
  std::uint64_t generation = 0;
  Owners owners{};                            // of a record
  std::shared_ptr<const SectorBuffer> block;  // what a swap expects to find
};
// Error: as BlockDevice::read.
Task<Result<PlaceRead>> read_place(std::array<std::uint64_t, 2> pair, shelf::SharedDisk& disk);

// Puts the record of `generation` where `there` was read.  kOutOfSync: something else stands there
// by now.  kIo: nothing is known.
Task<Status> put_record(Writer writer, shelf::SharedDisk& disk, PlaceRead there, Owners owners,
                        std::uint64_t generation);
// The move to this disk does not happen.  Errors as put_record().
Task<Status> give_up(Writer writer, shelf::SharedDisk& disk, PlaceRead there,
                     std::uint64_t generation);
// The record that stands here counts no more; `now` is where it does.  Errors as put_record().
Task<Status> point_to(Writer writer, shelf::SharedDisk& disk, PlaceRead there, Place now);

// What a node knows of the owners.
struct Claims {
  Owners known{};                   // of each filer the newest entry that was seen, or swapped in
  Owners maybe{};                   // ... that a swap without an answer may have put there
  std::array<bool, kFilers> any{};  // `known` was ever read
};
// What the record says after all that either node knows, and what it may say counts as said: who
// is named there finds out and opens the filer anew.  Where two different entries may stand there
// under one epoch it is one of them, under a newer epoch.
[[nodiscard]] Owners merge(const Claims& mine, const Claims& partners);

// The disk, by index, with the record of the greatest generation.  Error: kIo: a disk could not be
// read; kNotFound: there is none.
struct FoundPlace {
  std::size_t disk = 0;
  PlaceRead read;
};
Task<Result<FoundPlace>> find_record(std::array<std::uint64_t, 2> pair,
                                     std::vector<shelf::SharedDisk*> disks);

}  // namespace duet::mailbox
