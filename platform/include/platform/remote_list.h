// RemoteList: continuations that other threads hand to one scheduler.
//
// Many threads push, one takes all; no lock.  While a continuation is in here
// its destructor cannot take it out again: it lives until it was taken.
//
// For scheduler implementations; everyone else calls their post_remote().

#pragma once

#include <atomic>

#include "platform/scheduler.h"

namespace duet {

class RemoteList {
 public:
  RemoteList() = default;
  RemoteList(const RemoteList&) = delete;
  RemoteList& operator=(const RemoteList&) = delete;
  // Lets go of what is still in here.
  ~RemoteList() {
    ContinuationList rest;
    take_all(rest);
  }

  // Any thread.  REQUIRES: !c.linked(), and nobody else touches `c` until it runs.
  void push(Continuation& c) {
    DUET_CHECK(!c.linked());
    Continuation* newest = newest_.load(std::memory_order_relaxed);
    do {
      c.next_ = newest;
    } while (!newest_.compare_exchange_weak(newest, &c));
  }

  // Any thread.
  [[nodiscard]] bool empty() const { return newest_.load() == nullptr; }

  // Moves everything to `list`, oldest first.  The owner's thread only.
  void take_all(ContinuationList& list) {
    Continuation* c = newest_.exchange(nullptr);
    Continuation* reversed = nullptr;
    while (c != nullptr) {
      Continuation* const older = c->next_;
      c->next_ = reversed;
      reversed = c;
      c = older;
    }
    while (reversed != nullptr) {
      Continuation* const newer = reversed->next_;
      reversed->next_ = reversed;
      list.push_back(*reversed);
      reversed = newer;
    }
  }

 private:
  // Linked by next_, newest first, null at the end.  The compare-and-swap is
  // sequentially consistent: see EpollScheduler::wait_for_work.
  std::atomic<Continuation*> newest_{nullptr};
};

}  // namespace duet
