// FilerHost: what the pair does to one filer, whatever the filer is.
//
//   closed --open()--> open --serve()--> serving --stop_answering()--> silent
//      ^                                    ^  |                         |
//      +------- abandon() from any ---------+--+------- resume() --------+
//
// One per filer and node, whether the node hosts it or not.  Only PairNode calls it, one call at a
// time, except abandon(), which may come at any time and makes what runs fail.
//
// All I/O of the filer goes through the disks that it is given in Opening, and through no others:
// they end when the node loses the filer.  Before each reply it asks PairNode::may_answer().
//
// Thread-safety: the scheduler's thread (the filer's strand may be another; the host crosses over).

#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "platform/block_device.h"
#include "platform/task.h"

namespace duet::failover {

// What the root and the two memories say, read anew.
struct FilerFacts {
  std::uint64_t epoch = 0;  // of the last opening that ended with its CP
  std::uint64_t membership_generation = 0;
  bool log_empty = false;  // the root says that no log is needed
  bool own_log = false;    // this node's log is of the root's epoch
  bool copy = false;       // the copy kept here is of the root's epoch and mirror generation
};

struct Opening {
  std::uint64_t epoch = 0;
  bool copy_allowed = false;  // no mark forbids to replay the partner's copy
  // Rule 13: with whatever there is: a log, else the copy if it is of the root, else the last CP
  // alone; and with another fsid, so that no client takes the older image for the newer.
  bool forced = false;
};

struct Opened {
  bool from_copy = false;
  std::uint64_t records = 0;  // replayed
};

class FilerHost {
 public:
  virtual ~FilerHost() = default;

  // The partner serves the filer, in an epoch that this host has not been told of: what listens
  // here stands behind what listens there.  Not called while this node hosts the filer.
  virtual void line_up() {}

  // Reads root, log header and copy; changes nothing.  Error: no root could be read.
  virtual Task<Result<FilerFacts>> facts() = 0;

  // This node may keep a copy of the filer's log for its partner, who owns it in `epoch`.
  virtual void admit_partner(std::uint64_t epoch) = 0;
  // The partner's right to write into that copy ends, and the copy is taken as it is now
  // (shared memory: copied).
  virtual void cut_partner() = 0;

  // Replay, then a CP with `opening.epoch`, then the log of that epoch; answers nobody yet.
  // kForeign: no log that may be replayed.  kFenced: lost meanwhile.  Others: as the disks.
  virtual Task<Result<Opened>> open(const Opening& opening) = 0;
  // The filer's addresses are here, and announced.
  virtual Task<Status> take_addresses() = 0;
  virtual void serve() = 0;

  // Makes settle() short, while clients are served: what is dirty goes to disk.
  virtual Task<void> make_ready() { co_return; }
  // Every acknowledged request is in the partner's memory too, goes on getting there, and no solo
  // mark keeps that copy from being used.
  [[nodiscard]] virtual bool mirrored() const = 0;
  // Puts the generation of its home node's mailbox members into the root; completes when that is
  // durable.  REQUIRES: served.  Error: the root may or may not have it.
  virtual Task<Status> record_membership(std::uint64_t generation) = 0;

  // From now on no reply leaves; new requests wait.
  virtual void stop_answering() = 0;
  // What runs has ended, all of it is in both logs; then a CP with "log empty".  Afterwards
  // nothing of the filer is under way on disk, log or link until resume().  CPs that the log wants
  // (MirrorDuties) are still made on the way.  kTryAgain: it was not done by `deadline`.
  virtual Task<Status> settle(Instant deadline) = 0;
  // Back to serving.  REQUIRES: settled, or settle() failed.
  virtual Task<Status> resume() = 0;

  // The filer is not ours: nothing is flushed, no reply leaves, addresses are dropped.  Completes
  // when nothing of it is left here.
  virtual Task<void> abandon() = 0;
};

}  // namespace duet::failover
