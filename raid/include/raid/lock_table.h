// LockTable: one node's part in the locks of a group, and its work as arbiter of some of them.
//
//   holder:  none --request, grant--> shared / exclusive --recall, users done, settled--> less
//   arbiter: queue of requests, first come first served; shared ones are granted together
//
// Invariants:
//   (1) I12: of one range one node is exclusive and none beside it, or any number are shared.
//   (2) A lock is kept until another node asks for it.  A grant may carry that request already
//       ("release when done"); then no recall is sent.
//   (3) What a node holds is the truth.  Arbiters only remember it, and are told again by all
//       nodes at the start of each view; before that they grant nothing.
//   (4) Messages belong to one view; within it they arrive once and in order, or the view ends.
//   (5) Before a node gives up exclusive, its owner has settled what the lock protects.
//
// Who arbitrates a range:
//   one node    itself
//   two nodes   the last exclusive holder; the role moves with the grant.  At the start of a view
//               the one who holds it exclusive, else as the map says
//   more        a fixed map from range to node
//
// A pure state machine: messages in, messages out, no clock and no waiting.
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "raid/node.h"

namespace duet::raid {

// Some stripes that lie together; what one lock covers.
enum class LockRange : std::uint64_t {};

// In order of strength.
enum class LockMode : std::uint8_t { kNone = 0, kShared = 1, kExclusive = 2 };

// The numbers stand in messages.
enum class LockVerb : std::uint8_t {
  kRequest = 1,   // to the arbiter: I want `mode`; and, if free, the `extra` ranges behind it
  kGrant = 2,     // from the arbiter: you have `mode`
  kRecall = 3,    // from the arbiter: keep `keep` at most, when your users are done
  kReleased = 4,  // to the arbiter: I have `mode` from now on
  kHeld = 5,      // at the start of a view: I have `mode`
  kTableEnd = 6,  // ... and nothing else that concerns you
};

struct LockMessage {
  LockVerb verb = LockVerb::kRequest;
  LockMode mode = LockMode::kNone;
  LockMode keep = LockMode::kNone;  // kRecall; kGrant that is released when done
  bool release_when_done = false;   // kGrant
  bool prefetched = false;          // kGrant: not what was asked for, but free
  std::uint8_t extra = 0;           // kRequest
  LockRange range{};
  friend bool operator==(const LockMessage&, const LockMessage&) = default;
};

// Somebody on this node who wants a lock, or uses it.  Its owner gives it back or withdraws it
// before it ends.
class LockTicket {
 public:
  // In the call that made it possible; may not call the table.
  virtual void lock_granted() = 0;

 protected:
  ~LockTicket() = default;

 private:
  friend class LockTable;
  LockRange range_{};
  LockMode mode_ = LockMode::kNone;
};

class LockTableUser {
 public:
  // Sends to another node, in the present view.
  virtual void send(NodeId to, const LockMessage& message) = 0;
  // Nobody here uses an exclusive lock beyond what is kept: settle, then call settled() with the
  // same number, now or later.
  virtual void settle(LockRange range, std::uint64_t number) = 0;

 protected:
  ~LockTableUser() = default;
};

struct LockCounters {
  std::uint64_t uses = 0;      // by tickets
  std::uint64_t hits = 0;      // of those, without asking anybody
  std::uint64_t requests = 0;  // sent, as all below
  std::uint64_t grants = 0;
  std::uint64_t recalls = 0;
  std::uint64_t releases = 0;
  std::uint64_t prefetched = 0;  // ranges granted unasked
};

class LockTable {
 public:
  // REQUIRES: `user` outlives it.
  LockTable(NodeId self, LockTableUser& user) : self_(self), user_(user) {}
  LockTable(const LockTable&) = delete;
  LockTable& operator=(const LockTable&) = delete;

  // A view begins, with these nodes: sends the table; grants nothing before the others' came.
  // REQUIRES: `self` is in `members`.
  void begin_view(NodeSet members);
  // False: it contradicts what this node holds, or was told; the locks are worth nothing any more.
  // REQUIRES: from another member, of this view.
  [[nodiscard]] bool on_message(NodeId from, const LockMessage& message);

  // Whether the ticket has the lock now; else lock_granted() will be called.
  // `extra`: that many ranges behind it are welcome, too.
  // REQUIRES: mode != kNone; the ticket is not in use.
  [[nodiscard]] bool acquire(LockTicket& ticket, LockRange range, LockMode mode,
                             std::uint8_t extra = 0);
  // REQUIRES: the ticket has the lock.
  void release(LockTicket& ticket);
  // REQUIRES: the ticket waits.
  void withdraw(LockTicket& ticket);
  // Gives up what nobody here uses, unasked: keeps `keep` at most.
  void demote(LockRange range, LockMode keep);
  // Answers LockTableUser::settle().  Ignored when a view began in between.
  void settled(LockRange range, std::uint64_t number);

  [[nodiscard]] LockMode held(LockRange range) const;
  [[nodiscard]] bool arbitrates(LockRange range) const;
  // The tables of all members are here.
  [[nodiscard]] bool complete() const { return missing_tables_ == 0; }
  [[nodiscard]] const LockCounters& counters() const { return counters_; }

 private:
  struct Request {
    NodeId node;
    LockMode mode;
    std::uint8_t extra;
  };
  struct Entry {
    // As a holder.
    LockMode held = LockMode::kNone;
    std::optional<LockMode> recall;  // what may be kept, once users are done
    bool unasked = false;            // nobody recalled it: demote()
    std::uint64_t settling = 0;      // settle() was called with this; 0: it was not
    LockMode asked = LockMode::kNone;
    std::uint32_t shared_users = 0;
    std::uint32_t exclusive_users = 0;
    std::deque<LockTicket*> waiting;
    std::uint8_t extra = 0;  // that those who wait would like
    // As the arbiter.
    std::optional<NodeId> exclusive;
    NodeSet sharers = 0;
    NodeSet recalled_all = 0;        // asked to keep nothing
    NodeSet recalled_exclusive = 0;  // asked to keep shared at most
    std::deque<Request> queue;
    bool pumping = false;
    bool pump_again = false;
    // Two nodes: where the role is, when it is not where the map says.
    std::optional<NodeId> arbiter;
  };

  Entry& entry(LockRange range) { return entries_[range]; }
  [[nodiscard]] NodeId mapped(LockRange range) const;
  [[nodiscard]] NodeId arbiter_of(LockRange range, const Entry& e) const;
  [[nodiscard]] bool two_nodes() const { return std::popcount(members_) == 2; }

  // As a holder.
  [[nodiscard]] static LockMode usable(const Entry& e);
  void use(Entry& e, LockTicket& ticket);
  void serve_waiting(Entry& e, LockMode up_to);
  void ask(LockRange range, Entry& e);
  void on_grant(LockRange range, Entry& e, const LockMessage& grant);
  void on_recall(LockRange range, Entry& e, LockMode keep);
  void let_go_if_done(LockRange range, Entry& e);
  void drop(LockRange range, Entry& e);

  // As the arbiter.
  void enqueue(LockRange range, Entry& e, const Request& request);
  void on_released(LockRange range, Entry& e, NodeId from, LockMode mode);
  void pump(LockRange range, Entry& e);
  bool pump_one(LockRange range, Entry& e);
  void recall(LockRange range, Entry& e, NodeId node, LockMode keep);
  void grant(LockRange range, Entry& e, const Request& request, bool prefetched);
  void prefetch(LockRange range, const Request& request);
  [[nodiscard]] bool note_held(Entry& e, NodeId node, LockMode mode);
  void begin_if_complete();
  void send(NodeId to, const LockMessage& message);

  const NodeId self_;
  LockTableUser& user_;
  NodeSet members_ = 0;
  NodeSet missing_tables_ = 0;
  std::unordered_map<LockRange, Entry> entries_;
  std::uint64_t last_settling_ = 0;
  LockCounters counters_;
};

}  // namespace duet::raid
