// Arbiter: the one record that says who owns each filer (rule 3).
//
// Invariants:
//   (1) The record changes only by compare-and-swap (shelf/fence.h has the way of targets without),
//       and each change raises the epoch of every filer whose entry it changes: no value comes
//       back.
//   (2) Bound by a promise (place.h), nothing is swapped, and what is read is the record that
//       counts at that moment, wherever it is.
//   (3) A swap that was not answered is one that may have happened, until something newer than what
//       it expected was read.
//
// Ownership: borrows the disks.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>

#include "mailbox/place.h"
#include "mailbox/sector.h"

namespace duet::mailbox {

// The record as it was read: what a swap expects to find.
struct OwnersRead {
  Owners owners{};
  std::shared_ptr<const SectorBuffer> block;
};

class Arbiter {
 public:
  Arbiter(const Writer& writer, shelf::SharedDisk& disk, std::uint64_t generation = 0)
      : writer_(writer), disk_(&disk), generation_(generation) {}

  // Error: as read_sector(); kNotFound: the pair was never formatted; kForeign: the record moved
  // away, and this node was not told.
  Task<Result<OwnersRead>> read();

  // Ok: `to` stands in the record, durably.  When the answer was lost the record is read again, and
  // says whether it does.
  // kOutOfSync: somebody changed the record since it was read.  kFenced: my key was removed: read
  // the record before anything else.  kIo: nothing is known; read the record until it answers.
  // kTryAgain: the record is on its way to another disk.
  // REQUIRES: entries that differ from `from` have a greater epoch there, and some do.
  // `from` outlives the call.
  Task<Status> swap(const OwnersRead& from, Owners to);

  // For `duet init`: writes the first record.  REQUIRES: the sector is blank.
  Task<Status> format(const Owners& owners);

  // --- Moving; the promise is durable before bind() and forgotten after release().
  void bind(shelf::SharedDisk& to, std::uint64_t generation);
  void release() { bound_.reset(); }
  [[nodiscard]] bool bound() const { return bound_.has_value(); }
  // The record is there now.  What runs on the former disk ends without an answer that counts.
  void use(shelf::SharedDisk& disk, std::uint64_t generation);
  // What this node knows; what runs or was not answered is in `maybe`.
  [[nodiscard]] const Claims& claims() const { return claims_; }
  void learn(const Owners& owners);
  // Called when a read finds that the move has happened; use() was called before.
  std::function<void()> on_moved;

  [[nodiscard]] shelf::SharedDisk& disk() { return *disk_; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

 private:
  struct Bound {
    shelf::SharedDisk* disk;
    std::uint64_t generation;
  };
  [[nodiscard]] ArbitrationSector record(const Owners& owners);
  Task<Result<OwnersRead>> read_here();

  const Writer writer_;
  shelf::SharedDisk* disk_;
  std::uint64_t generation_;
  std::optional<Bound> bound_;
  std::uint64_t binds_ = 0;  // promises and moves up to now
  Claims claims_;
  Owners maybe_from_{};  // what the swap in claims_.maybe expects to find
  std::uint64_t sequence_ = 0;
};

}  // namespace duet::mailbox
