// Arbiter: the one record that says who owns each filer (rule 3).
//
// Invariant: it changes only by compare-and-swap (shelf/fence.h has the way of targets without),
// and each change raises the epoch of every filer whose entry it changes: no value comes back.
//
// Ownership: borrows the disk.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <memory>

#include "mailbox/sector.h"

namespace duet::mailbox {

using Owners = std::array<OwnerEntry, kFilers>;

// The record as it was read: what a swap expects to find.
struct OwnersRead {
  Owners owners{};
  std::shared_ptr<const SectorBuffer> block;
};

class Arbiter {
 public:
  Arbiter(const Writer& writer, shelf::SharedDisk& disk) : writer_(writer), disk_(disk) {}

  // Error: as read_sector(); kNotFound: the pair was never formatted.
  Task<Result<OwnersRead>> read();

  // Ok: `to` stands in the record, durably.  When the answer was lost the record is read again, and
  // says whether it does.
  // kOutOfSync: somebody changed the record since it was read.  kFenced: my key was removed: read
  // the record before anything else.  kIo: nothing is known; read the record until it answers.
  // REQUIRES: entries that differ from `from` have a greater epoch there, and some do.
  Task<Status> swap(const OwnersRead& from, const Owners& to);

  // For `duet init`: writes the first record.  REQUIRES: the sector is blank.
  Task<Status> format(const Owners& owners);

  [[nodiscard]] shelf::SharedDisk& disk() { return disk_; }

 private:
  [[nodiscard]] ArbitrationSector record(const Owners& owners);

  const Writer writer_;
  shelf::SharedDisk& disk_;
  std::uint64_t sequence_ = 0;
};

}  // namespace duet::mailbox
