#include "raid/lock_table.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"

namespace duet::raid {

namespace {

// Neighbours in the map, so that prefetching asks one arbiter.
constexpr std::uint64_t kRangesTogether = 64;

}  // namespace

NodeId LockTable::mapped(LockRange range) const {
  auto skip = static_cast<std::uint32_t>(static_cast<std::uint64_t>(range) / kRangesTogether %
                                         static_cast<std::uint64_t>(std::popcount(members_)));
  NodeSet rest = members_;
  for (; skip > 0; --skip) {
    rest &= rest - 1;
  }
  return NodeId{static_cast<std::uint8_t>(std::countr_zero(rest))};
}

NodeId LockTable::arbiter_of(LockRange range, const Entry& e) const {
  return e.arbiter.has_value() ? *e.arbiter : mapped(range);
}

LockMode LockTable::held(LockRange range) const {
  const auto found = entries_.find(range);
  return found == entries_.end() ? LockMode::kNone : found->second.held;
}

bool LockTable::arbitrates(LockRange range) const {
  const auto found = entries_.find(range);
  return (found == entries_.end() ? mapped(range) : arbiter_of(range, found->second)) == self_;
}

void LockTable::send(NodeId to, const LockMessage& message) {
  DUET_CHECK(to != self_);
  switch (message.verb) {
    case LockVerb::kRequest:
      ++counters_.requests;
      break;
    case LockVerb::kGrant:
      ++counters_.grants;
      break;
    case LockVerb::kRecall:
      ++counters_.recalls;
      break;
    case LockVerb::kReleased:
      ++counters_.releases;
      break;
    case LockVerb::kHeld:
    case LockVerb::kTableEnd:
      break;
  }
  user_.send(to, message);
}

// ---- views ----

void LockTable::begin_view(NodeSet members) {
  DUET_CHECK(contains(members, self_));
  members_ = members;
  missing_tables_ = members & ~only(self_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& e = at->second;
    e.recall.reset();
    e.unasked = false;
    e.settling = 0;
    e.asked = LockMode::kNone;
    e.exclusive.reset();
    e.sharers = e.recalled_all = e.recalled_exclusive = 0;
    e.queue.clear();
    e.arbiter.reset();
    const bool idle = e.held == LockMode::kNone && e.waiting.empty();
    at = idle ? entries_.erase(at) : std::next(at);
  }
  for (auto& [range, e] : entries_) {
    if (e.held == LockMode::kNone) {
      continue;
    }
    const LockMessage held = {.verb = LockVerb::kHeld, .mode = e.held, .range = range};
    if (two_nodes()) {
      if (e.held == LockMode::kExclusive) {
        e.arbiter = self_;
      }
      for_each_node(missing_tables_, [&](NodeId other) { send(other, held); });
    } else if (const NodeId arbiter = mapped(range); arbiter != self_) {
      send(arbiter, held);
    }
    DUET_CHECK(note_held(e, self_, e.held));
  }
  for_each_node(missing_tables_, [&](NodeId other) { send(other, {.verb = LockVerb::kTableEnd}); });
  begin_if_complete();
}

// False: two would have it that cannot (I12).
bool LockTable::note_held(Entry& e, NodeId node, LockMode mode) {
  if (mode == LockMode::kExclusive) {
    if ((e.exclusive.has_value() && *e.exclusive != node) || (e.sharers & ~only(node)) != 0) {
      return false;
    }
    e.exclusive = node;
  } else if (mode == LockMode::kShared) {
    if (e.exclusive.has_value()) {
      return false;
    }
    e.sharers |= only(node);
  }
  return true;
}

void LockTable::begin_if_complete() {
  if (!complete()) {
    return;
  }
  std::vector<LockRange> ranges;  // asking and pumping may add entries
  for (const auto& [range, e] : entries_) {
    ranges.push_back(range);
  }
  for (const LockRange range : ranges) {
    ask(range, entry(range));
    pump(range, entry(range));
  }
}

bool LockTable::on_message(NodeId from, const LockMessage& m) {
  if (m.verb == LockVerb::kTableEnd) {
    missing_tables_ &= ~only(from);
    begin_if_complete();
    return true;
  }
  Entry& e = entry(m.range);
  switch (m.verb) {
    case LockVerb::kRequest:
      // Two nodes: the role went to the one who asks, by an unasked grant that this request met.
      if (arbiter_of(m.range, e) == self_) {
        if (m.mode == LockMode::kNone || std::ranges::count(e.queue, from, &Request::node) > 0) {
          return false;
        }
        enqueue(m.range, e, {from, m.mode, m.extra});
      }
      break;
    case LockVerb::kGrant:
      if (two_nodes() && m.mode == LockMode::kExclusive) {
        // The role comes along, and what its holder had in the queue: a request of its own.
        e.arbiter = self_;
        e.asked = LockMode::kNone;
        e.sharers = e.recalled_all = e.recalled_exclusive = 0;
        e.exclusive = self_;
        if (m.release_when_done) {
          const bool shares = m.keep == LockMode::kShared;
          e.queue.push_back({from, shares ? LockMode::kShared : LockMode::kExclusive, 0});
          (shares ? e.recalled_exclusive : e.recalled_all) |= only(self_);
        }
      }
      on_grant(m.range, e, m);
      break;
    case LockVerb::kRecall:
      on_recall(m.range, e, m.keep);
      break;
    case LockVerb::kReleased:
      if (arbiter_of(m.range, e) == self_) {
        on_released(m.range, e, from, m.mode);
      }
      break;
    case LockVerb::kHeld:
      if (two_nodes() && m.mode == LockMode::kExclusive) {
        e.arbiter = from;
      }
      return note_held(e, from, m.mode);
    case LockVerb::kTableEnd:
      break;
  }
  return true;
}

// ---- the holder ----

LockMode LockTable::usable(const Entry& e) {
  return e.recall.has_value() ? std::min(e.held, *e.recall) : e.held;
}

void LockTable::use(Entry& e, LockTicket& ticket) {
  ++(ticket.mode_ == LockMode::kShared ? e.shared_users : e.exclusive_users);
  ++counters_.uses;
}

bool LockTable::acquire(LockTicket& ticket, LockRange range, LockMode mode, std::uint8_t extra) {
  DUET_CHECK(mode != LockMode::kNone);
  Entry& e = entry(range);
  ticket.range_ = range;
  ticket.mode_ = mode;
  if (e.unasked) {  // no other node wants it: it stays
    e.recall.reset();
    e.unasked = false;
    e.settling = 0;
  }
  if (e.waiting.empty() && mode <= usable(e)) {
    use(e, ticket);
    ++counters_.hits;
    return true;
  }
  e.waiting.push_back(&ticket);
  e.extra = std::max(e.extra, extra);
  ask(range, e);
  return std::ranges::find(e.waiting, &ticket) == e.waiting.end();
}

void LockTable::release(LockTicket& ticket) {
  Entry& e = entry(ticket.range_);
  std::uint32_t& users = ticket.mode_ == LockMode::kShared ? e.shared_users : e.exclusive_users;
  DUET_CHECK(users > 0);
  --users;
  let_go_if_done(ticket.range_, e);
}

void LockTable::withdraw(LockTicket& ticket) {
  Entry& e = entry(ticket.range_);
  const auto at = std::ranges::find(e.waiting, &ticket);
  DUET_CHECK(at != e.waiting.end());
  e.waiting.erase(at);
  serve_waiting(e, usable(e));
}

// First come, first served: who waits for more holds back those behind.
void LockTable::serve_waiting(Entry& e, LockMode up_to) {
  while (!e.waiting.empty() && e.waiting.front()->mode_ <= up_to) {
    LockTicket* const ticket = e.waiting.front();
    e.waiting.pop_front();
    use(e, *ticket);
    ticket->lock_granted();
  }
}

void LockTable::ask(LockRange range, Entry& e) {
  if (e.asked != LockMode::kNone || e.waiting.empty() || members_ == 0 || !complete()) {
    return;
  }
  LockMode wanted = LockMode::kNone;
  for (const LockTicket* const ticket : e.waiting) {
    wanted = std::max(wanted, ticket->mode_);
  }
  e.asked = wanted;
  const std::uint8_t extra = std::exchange(e.extra, std::uint8_t{0});
  if (const NodeId arbiter = arbiter_of(range, e); arbiter != self_) {
    send(arbiter, {.verb = LockVerb::kRequest, .mode = wanted, .extra = extra, .range = range});
  } else {
    enqueue(range, e, {self_, wanted, extra});
  }
}

void LockTable::on_grant(LockRange range, Entry& e, const LockMessage& grant) {
  e.held = std::max(e.held, grant.mode);
  if (!grant.prefetched) {
    e.asked = LockMode::kNone;
  }
  // Those who wait now have their turn before the next node has its own.
  serve_waiting(e, usable(e));
  if (grant.release_when_done) {
    e.unasked = false;
    e.recall = e.recall.has_value() ? std::min(*e.recall, grant.keep) : grant.keep;
  }
  ask(range, e);
  let_go_if_done(range, e);
}

void LockTable::on_recall(LockRange range, Entry& e, LockMode keep) {
  if (e.held <= keep) {
    return;  // it met our release
  }
  e.unasked = false;
  e.recall = e.recall.has_value() ? std::min(*e.recall, keep) : keep;
  let_go_if_done(range, e);
}

void LockTable::let_go_if_done(LockRange range, Entry& e) {
  if (!e.recall.has_value() || e.settling != 0 || e.exclusive_users > 0 ||
      (*e.recall == LockMode::kNone && e.held == LockMode::kShared && e.shared_users > 0)) {
    return;
  }
  if (e.held == LockMode::kExclusive) {
    e.settling = ++last_settling_;
    user_.settle(range, e.settling);
  } else {
    drop(range, e);
  }
}

void LockTable::settled(LockRange range, std::uint64_t number) {
  Entry& e = entry(range);
  if (e.settling != number) {
    return;  // a view began, and it has recalled nothing yet
  }
  e.settling = 0;
  DUET_CHECK(e.recall.has_value() && e.exclusive_users == 0);
  drop(range, e);
}

// Keeps what was recalled to, or shared while that is still used.
void LockTable::drop(LockRange range, Entry& e) {
  const LockMode keep = e.shared_users > 0 ? LockMode::kShared : *e.recall;
  if (keep == *e.recall) {
    e.recall.reset();
    e.unasked = false;
  }
  if (keep < e.held) {
    e.held = keep;
    if (const NodeId arbiter = arbiter_of(range, e); arbiter == self_) {
      on_released(range, e, self_, keep);
    } else {
      send(arbiter, {.verb = LockVerb::kReleased, .mode = keep, .range = range});
    }
  }
  serve_waiting(e, usable(e));
  ask(range, e);
}

void LockTable::demote(LockRange range, LockMode keep) {
  Entry& e = entry(range);
  if (!complete() || e.held <= keep || e.settling != 0 || !e.waiting.empty() ||
      e.exclusive_users > 0 || (keep == LockMode::kNone && e.shared_users > 0) ||
      e.recall.has_value() || e.asked != LockMode::kNone) {
    return;  // asked: the answer may be under way, and would be taken for what is given up
  }
  e.recall = keep;
  e.unasked = true;
  let_go_if_done(range, e);
}

// ---- the arbiter ----

void LockTable::enqueue(LockRange range, Entry& e, const Request& request) {
  e.queue.push_back(request);
  pump(range, e);
}

void LockTable::on_released(LockRange range, Entry& e, NodeId from, LockMode mode) {
  if (e.exclusive == from && mode != LockMode::kExclusive) {
    e.exclusive.reset();
    e.recalled_exclusive &= ~only(from);
    if (mode == LockMode::kShared) {
      e.sharers |= only(from);
    }
  }
  if (mode == LockMode::kNone) {
    e.sharers &= ~only(from);
    e.recalled_all &= ~only(from);
  }
  pump(range, e);
}

void LockTable::pump(LockRange range, Entry& e) {
  e.pump_again = true;
  if (e.pumping) {
    return;
  }
  e.pumping = true;
  while (std::exchange(e.pump_again, false)) {
    while (complete() && !e.queue.empty() && arbiter_of(range, e) == self_) {
      const bool granted = pump_one(range, e);
      if (!granted) {
        break;
      }
    }
  }
  e.pumping = false;
}

// Grants the first request, or recalls what is in its way.
bool LockTable::pump_one(LockRange range, Entry& e) {
  const Request request = e.queue.front();
  if (request.mode == LockMode::kShared) {
    if (e.exclusive.has_value() && *e.exclusive != request.node) {
      recall(range, e, *e.exclusive, LockMode::kShared);
      return false;
    }
  } else {
    NodeSet others = e.sharers;
    if (e.exclusive.has_value()) {
      others |= only(*e.exclusive);
    }
    others &= ~only(request.node);
    if (others != 0) {
      for_each_node(others, [&](NodeId node) { recall(range, e, node, LockMode::kNone); });
      return false;
    }
  }
  e.queue.pop_front();
  grant(range, e, request, false);
  return true;
}

void LockTable::recall(LockRange range, Entry& e, NodeId node, LockMode keep) {
  const NodeSet told = e.recalled_all | (keep == LockMode::kShared ? e.recalled_exclusive : 0);
  if (contains(told, node)) {
    return;
  }
  (keep == LockMode::kNone ? e.recalled_all : e.recalled_exclusive) |= only(node);
  if (node == self_) {
    on_recall(range, e, keep);
  } else {
    send(node, {.verb = LockVerb::kRecall, .keep = keep, .range = range});
  }
}

// REQUIRES: nothing that others hold is in its way.
void LockTable::grant(LockRange range, Entry& e, const Request& request, bool prefetched) {
  const NodeId node = request.node;
  LockMessage message = {
      .verb = LockVerb::kGrant, .mode = request.mode, .prefetched = prefetched, .range = range};
  if (request.mode == LockMode::kExclusive) {
    e.exclusive = node;
    e.sharers &= ~only(node);
  } else if (e.exclusive != node) {
    e.sharers |= only(node);
  }
  // The first in the queue for whom this one will have to give way.
  for (const Request& next : e.queue) {
    if (next.node != node &&
        (request.mode == LockMode::kExclusive || next.mode == LockMode::kExclusive)) {
      message.release_when_done = true;
      message.keep = next.mode == LockMode::kShared ? LockMode::kShared : LockMode::kNone;
      (message.keep == LockMode::kNone ? e.recalled_all : e.recalled_exclusive) |= only(node);
      break;
    }
  }
  prefetch(range, request);
  if (node == self_) {
    on_grant(range, e, message);
    return;
  }
  if (two_nodes() && request.mode == LockMode::kExclusive) {
    // The role goes along.  What is in the queue is ours, and the message says it.
    DUET_CHECK(e.held == LockMode::kNone && e.queue.size() <= 1);
    e.arbiter = node;
    e.exclusive.reset();
    e.sharers = e.recalled_all = e.recalled_exclusive = 0;
    e.queue.clear();
  }
  send(node, message);
}

void LockTable::prefetch(LockRange range, const Request& request) {
  for (std::uint64_t i = 1; i <= request.extra; ++i) {
    const LockRange next{static_cast<std::uint64_t>(range) + i};
    Entry& e = entry(next);
    NodeSet others = request.mode == LockMode::kExclusive ? e.sharers : 0;
    if (e.exclusive.has_value()) {
      others |= only(*e.exclusive);
    }
    // To one that holds nothing: it cannot be giving up what this would add to.
    const bool has = e.exclusive == request.node || contains(e.sharers, request.node);
    if (arbiter_of(next, e) != self_ || !e.queue.empty() || e.pumping || has ||
        (others & ~only(request.node)) != 0) {
      continue;
    }
    ++counters_.prefetched;
    grant(next, e, {request.node, request.mode, 0}, true);
  }
}

}  // namespace duet::raid
