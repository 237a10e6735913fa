// IoEngine: carries out the operations of all disks of one scheduler.
//
// One engine per scheduler (and per kind) and not per disk: what several disks are
// asked in one turn then costs one system call.
//
//   start() -> queued_ --submit(), as post_last work--> kernel or pool --complete()--> posted
//                 ^------------------ short or interrupted -----------------'
//
// Invariant: an operation that was started is in exactly one of these places, and
// `under_way` of its client counts it until it is posted.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "platform/block_device.h"
#include "platform/linux/epoll_scheduler.h"

namespace duet::os {

// Operations at the kernel at once; the others wait here.  Twice what a fast disk
// needs to be busy.
inline constexpr unsigned kQueueDepth = 256;

// One disk.
struct IoClient {
  int descriptor = -1;
  std::size_t under_way = 0;
};

// How far one operation has come.
struct Transfer {
  IoClient* client = nullptr;
  BlockOperation* operation = nullptr;
  std::uint64_t offset = 0;             // bytes, of what comes next
  std::span<const MutableBytes> parts;  // not yet moved...
  std::size_t moved_of_first = 0;       // ...except these bytes of the first
  std::vector<iovec> vectors;           // what the kernel is asked to move now

  void begin(IoClient& owner, BlockOperation& what);
  // Fills `vectors` with as much as one call may take.
  void gather();
  // Takes in what a call gave: bytes, or -errno.  True: the operation's result is set.
  bool advance(std::int64_t outcome);
};

class IoEngine {
 public:
  IoEngine(const IoEngine&) = delete;
  IoEngine& operator=(const IoEngine&) = delete;
  virtual ~IoEngine() = default;

  void start(IoClient& client, BlockOperation& operation);
  // Returns when nothing of `client` is under way; its operations are posted.
  void drain(IoClient& client);

 protected:
  explicit IoEngine(EpollScheduler& scheduler) : scheduler_(scheduler), submitter_(*this) {}

  // Hands over what is queued, as far as there is room.
  virtual void submit() = 0;
  // Waits until a transfer came back, or for a moment, and completes all that did.
  virtual void wait_for_one() = 0;

  // The outcome of a transfer's call: posts its operation, or queues it again.
  void take_outcome(Transfer& transfer, std::int64_t outcome);
  // REQUIRES: the operation's result is set.
  void finish(Transfer& transfer);
  void submit_later();

  EpollScheduler& scheduler_;
  std::deque<Transfer*> queued_;

 private:
  struct Submitter final : Continuation {
    explicit Submitter(IoEngine& owner) : engine(owner) {}
    void run() override { engine.submit(); }
    IoEngine& engine;
  };

  Submitter submitter_;
  std::vector<std::unique_ptr<Transfer>> all_;
  std::vector<Transfer*> free_;
};

// The engine that the disks of `scheduler` share; made when there is none.  It is
// io_uring's unless `thread_pool`, or the kernel does not permit that.
std::shared_ptr<IoEngine> shared_engine(EpollScheduler& scheduler, bool thread_pool);

// Null when the kernel does not permit io_uring.
std::shared_ptr<IoEngine> make_ring_engine(EpollScheduler& scheduler);
std::shared_ptr<IoEngine> make_pool_engine(EpollScheduler& scheduler);

}  // namespace duet::os
