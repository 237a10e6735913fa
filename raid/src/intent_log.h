// IntentLog: what this node is about to do, durable here and at its peers before it is done.
//
//   begin() --durable here and in every target--> live --writes done--> completed
//     --members flushed, end()--> gone here, then in every target --> free
//
// Invariants:
//   (1) I13: begin() completes when the intent is durable here and in the memory of every target.
//   (2) The memory of every target has all intents that are live, and none that is free.  So any
//       one of them is enough to recover, and what it has beyond the others does no harm: its
//       rows are still locked by this node.
//   (3) Of one row at most one intent is anywhere: the next begins when the end of the one before
//       has reached every target.  So intents are recovered in any order, any number of times.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <list>
#include <map>
#include <optional>

#include "intent_memory.h"
#include "platform/task.h"
#include "platform/wait.h"
#include "raid/peers.h"

namespace duet::raid {

class IntentLog {
 public:
  // One intent of this node, from begin() to the end of end().
  struct Live {
    Intent intent;
    std::uint32_t slot = 0;
    std::uint32_t first_page = 0;
    bool completed = false;
    bool ending = false;
    // Number of the last store about it, by target, in the session in which all was sent.
    std::array<std::uint64_t, kNodesMax> sent{};
  };
  using Handle = std::list<Live>::iterator;

  IntentLog(Scheduler& scheduler, IntentMemory& memory, Peers& peers, NodeId self)
      : memory_(memory),
        peers_(peers),
        self_(self),
        slots_(memory.layout().slots),
        pages_(memory.layout().pages),
        changed_(scheduler) {}

  // Who must have everything, besides this node.  Sends a new one all there is.
  void set_targets(NodeSet targets);
  // Sends all there is again: a session began.
  void send_all(NodeId target);
  // Everything that a target must have is durable there: so never while it is out of reach.
  [[nodiscard]] bool reached(NodeId target) const {
    return in_session(target) && peers_.stored(target) >= last_sent_[number(target)];
  }
  // Stores have arrived, or the targets have changed.
  void wake() { changed_.wake_all(); }
  // Nobody waits any more.
  void stop() {
    stopped_ = true;
    wake();
  }
  [[nodiscard]] WaitList& changed() { return changed_; }

  // Room for an intent and `pages` blocks; none: wait until something ended.
  [[nodiscard]] bool has_room(std::uint32_t pages) const;
  // Makes it durable here.  `pages`: its blocks, in some parts.
  // REQUIRES: has_room().  Error: kIo: this node's memory failed.
  Result<Handle> begin(const Intent& intent, std::span<const ConstBytes> pages);
  void send(Handle live);
  // REQUIRES: it was sent.  Resumes when it is durable in every target, or after stop().
  Task<void> reach_targets(Handle live);

  // An intent that is not free has one of these rows.
  [[nodiscard]] bool overlaps(Stripe stripe, std::uint32_t first_row, std::uint32_t rows) const;
  [[nodiscard]] bool any_in(Stripe from, Stripe to) const;
  // Of all intents that are not free.
  [[nodiscard]] std::vector<Stripe> stripes() const;
  [[nodiscard]] std::vector<Handle> completed();
  [[nodiscard]] std::size_t size() const { return live_.size(); }
  [[nodiscard]] std::uint32_t pages_used() const { return pages_used_; }

  // Its writes are flushed: it is gone here and in every target when this completes.
  // Error: kIo: this node's memory failed; kClosed: stop().
  Task<Status> end(std::vector<Handle> lives);

 private:
  std::optional<std::uint32_t> find_pages(std::uint32_t count) const;
  void send(Live& live, NodeId target);
  [[nodiscard]] bool reached_all(const Live& live) const;
  // The target was sent all there is in the session that it is in now.  Numbers of stores mean
  // nothing outside the session in which they were given.
  [[nodiscard]] bool in_session(NodeId target) const {
    const std::uint64_t session = peers_.session(target);
    return session != 0 && session == session_[number(target)];
  }

  IntentMemory& memory_;
  Peers& peers_;
  const NodeId self_;
  NodeSet targets_ = 0;
  std::array<std::uint64_t, kNodesMax> last_sent_{};  // in session_
  std::array<std::uint64_t, kNodesMax> session_{};    // in which all was sent
  std::list<Live> live_;
  std::vector<bool> slots_;  // in use
  std::vector<bool> pages_;
  std::uint32_t pages_used_ = 0;
  std::uint64_t last_number_ = 0;
  bool stopped_ = false;
  WaitList changed_;
};

}  // namespace duet::raid
