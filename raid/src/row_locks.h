// RowLocks: who of this node works on which rows of a stripe; first come, first served.
//
// The group's locks keep nodes apart, these the requests of one node.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <list>
#include <unordered_map>

#include "platform/wait.h"
#include "raid/geometry.h"

namespace duet::raid {

class RowLocks {
  struct Entry {
    std::uint32_t first;
    std::uint32_t count;
    bool exclusive;
    bool granted = false;
  };
  using Queue = std::list<Entry>;

 public:
  explicit RowLocks(Scheduler& scheduler) : granted_(scheduler) {}

  // Has the rows, or a place in the queue for them, until it is destroyed.
  class Hold {
   public:
    Hold(RowLocks& locks, Stripe stripe, std::uint32_t first, std::uint32_t count, bool exclusive)
        : locks_(locks), stripe_(stripe) {
      Queue& queue = locks.queues_[stripe];
      at_ = queue.insert(queue.end(), {first, count, exclusive});
      grant(queue);
    }
    ~Hold() {
      const auto found = locks_.queues_.find(stripe_);
      found->second.erase(at_);
      if (found->second.empty()) {
        locks_.queues_.erase(found);
      } else if (grant(found->second)) {
        locks_.granted_.wake_all();
      }
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    [[nodiscard]] bool granted() const { return at_->granted; }

   private:
    RowLocks& locks_;
    Stripe stripe_;
    Queue::iterator at_;
  };
  // For those whose Hold is not granted.
  [[nodiscard]] WaitList& changed() { return granted_; }

 private:
  static bool meet(const Entry& a, const Entry& b) {
    return (a.exclusive || b.exclusive) && a.first < b.first + b.count &&
           b.first < a.first + a.count;
  }
  static bool grant(Queue& queue) {
    bool any = false;
    for (auto at = queue.begin(); at != queue.end(); ++at) {
      bool free = !at->granted;
      for (auto before = queue.begin(); free && before != at; ++before) {
        free = !meet(*before, *at);
      }
      any = any || free;
      at->granted = at->granted || free;
    }
    return any;
  }

  std::unordered_map<Stripe, Queue> queues_;
  WaitList granted_;
};

}  // namespace duet::raid
