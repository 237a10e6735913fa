// Views: who leads, and what every node does when the view changes.  What the leader does is in
// core_change.cpp.

#include "core.h"

namespace duet::raid {

namespace {

NodeId lowest(NodeSet set) { return NodeId{static_cast<std::uint8_t>(std::countr_zero(set))}; }

// What a label of the same group, or a later one, cannot say otherwise.
bool is_same_group(const GroupLabel& before, const GroupLabel& label) {
  return label.group == before.group && label.level == before.level &&
         label.chunk_blocks == before.chunk_blocks && label.stripes == before.stripes &&
         label.nodes == before.nodes && label.range_stripes == before.range_stripes &&
         label.step_stripes == before.step_stripes && label.disks >= before.disks &&
         capacity_of(label).disks >= capacity_of(before).disks;
}

}  // namespace

// ---- who leads, and whether something is to be done ----

NodeSet Core::connected() const {
  NodeSet set = 0;
  for (std::uint8_t i = 0; i < kNodesMax; ++i) {
    const NodeId node{i};
    const std::uint64_t session = peers_.session(node);
    set |= node != self_ && session != 0 && peer_[i].session == session ? only(node) : 0;
  }
  return set & disks_.label().nodes;
}

bool Core::gone(NodeId node) const { return is_dead(node, incarnations_[number(node)]); }

NodeSet Core::gone_members() const {
  NodeSet set = 0;
  for_each_node(members_ & ~only(self_), [&](NodeId node) { set |= gone(node) ? only(node) : 0; });
  return set;
}

// Connected, in no view, and no process that this group has done with.
NodeSet Core::newcomers() const {
  NodeSet set = 0;
  for_each_node(connected(), [&](NodeId node) {
    const HelloBody& hello = peer_[number(node)].hello;
    const bool member = contains(members_, node) && !gone(node);
    if (!member && hello.active == 0 && !is_dead(node, hello.incarnation)) {
      set |= only(node);
    }
  });
  return set;
}

bool Core::leads() const {
  return active_ ? leader_among(heirs()) == only(self_) : leads_from_cold();
}

// Of whom it is not known whether they are in a view by now.
NodeSet Core::unsure() const {
  NodeSet set = 0;
  for_each_node(connected(), [&](NodeId node) {
    const Peer& peer = peer_[number(node)];
    set |= peer.stale || peer.hello.active == 2 ? only(node) : 0;
  });
  return set;
}

Task<void> Core::ask_again() {
  co_await sleep(scheduler_, std::chrono::milliseconds(5));
  asking_again_ = false;
  if (!active_) {
    for_each_node(unsure(), [this](NodeId node) { say_hello(node, true); });
  }
}

// Nobody else is, or could be, at work.
bool Core::quiet() const {
  const NodeSet here = connected();
  bool all = true;
  for_each_node(disks_.label().nodes & ~only(self_), [&](NodeId node) {
    const Peer& peer = peer_[number(node)];
    const bool idle = contains(here, node) && !peer.stale && peer.hello.active == 0;
    all = all && (idle || (!contains(here, node) && contains(fenced_, node)));
  });
  return all;
}

bool Core::leads_from_cold() const {
  const GroupLabel& label = disks_.label();
  const NodeSet here = connected();
  const auto counts = [&label](NodeId node, std::uint64_t generation, std::uint64_t before) {
    return label.holders == 0 || (contains(label.holders, node) &&
                                  (generation == label.generation || before == label.generation));
  };
  NodeSet candidates = 0;
  for_each_node(here, [&](NodeId node) {
    const HelloBody& hello = peer_[number(node)].hello;
    candidates |= counts(node, hello.memory_generation, hello.memory_before) ? only(node) : 0;
  });
  if (counts(self_, static_cast<std::uint64_t>(memory_.generation()),
             static_cast<std::uint64_t>(memory_.before()))) {
    candidates |= only(self_);
  }
  return quiet() && candidates != 0 && lowest(candidates) == self_;
}

// For other reasons than that somebody wants to be let in.
bool Core::change_is_urgent() const {
  return gone_members() != 0 || (members_ & leaving_) != 0 || renewals_ != renewed_ ||
         disks_.suspects() != 0 || (disks_.failed() & ~failed_in_view_) != 0 ||
         arrangement_needed() || paused_;  // by a proposal that was abandoned
}

bool Core::change_needed() const { return !active_ || change_is_urgent() || newcomers() != 0; }

Task<void> Core::lead() {
  for (;;) {
    if (stopped_.has_value()) {
      co_return;
    }
    notice_end();
    if (!active_ && unsure() != 0 && !asking_again_) {
      asking_again_ = true;
      scope_.spawn(ask_again());
    }
    if (!active_ && !stopped_.has_value() && quiet() && looked_ != changes_) {
      looked_ = changes_;
      co_await look_at_labels();
      continue;
    }
    if (must_look_who_leads()) {
      co_await look_who_leads();
      continue;
    }
    if (looking_ > 0) {  // a disk that it does not know yet has not failed
      co_await changed_.wait();
      continue;
    }
    if (!stopped_.has_value() && giving_way_ == 0 && progress_due() && !change_is_urgent()) {
      changing_ = true;
      const Status written = co_await write_progress();
      changing_ = false;
      changed_.wake_all();
      if (!written.ok()) {
        notice_end();
      }
      continue;
    }
    if (!stopped_.has_value() && giving_way_ == 0 && leads() && change_needed()) {
      const std::uint64_t before = changes_;
      changing_ = true;
      const Status changed = co_await change_view();
      changing_ = false;
      changed_.wake_all();  // who obeys another leader waits for it
      if (!active_) {
        // Whoever heard that this node was leading a change may let it in now.
        for_each_node(connected(), [this](NodeId node) { say_hello(node, false); });
      }
      if (changed.ok() || before != changes_) {
        continue;
      }
      notice_end();
    }
    if (!stopped_.has_value()) {
      co_await changed_.wait();
    }
  }
}

// ---- a change, as every node of the new view does it ----

Status Core::wipe(NodeSet nodes) {
  Status done = Ok{};
  for_each_node(nodes, [&](NodeId node) {
    if (done.ok()) {
      done = memory_.wipe(node);
    }
  });
  return done;
}

// Comes back when this node leads no change; and it begins none while giving_way_.
Task<void> Core::end_own_change() {
  if (changing_) {
    ++changes_;
    wake();
  }
  while (changing_ && !stopped_.has_value()) {
    co_await changed_.wait();
  }
}

// Another leads.  A change of this node's own comes to its end first: two that write labels at the
// same time could take a newer one back.
Task<void> Core::obey(NodeId leader, Generation generation, PrepareBody body) {
  ++giving_way_;
  co_await end_own_change();
  scope_.spawn(prepare(leader, generation, body));
  --giving_way_;
  changed_.wake_all();
}

Task<void> Core::prepare(NodeId leader, Generation generation, PrepareBody body) {
  if (!contains(body.members, self_)) {
    co_return;
  }
  if (generation <= prepared_) {
    if (leader != self_) {
      say_hello(leader, false);  // it does not know what another proposed: its next one is higher
    }
    co_return;
  }
  const bool joins = contains(body.joiners, self_);
  if (joins ? active_ : !active_ || Generation{body.before} != view_) {
    co_return;  // of a group that went on without this node, or of one that knows it as it was
  }
  prepared_ = generation;
  prepared_body_ = body;
  prepared_renewals_ = renewals_;
  if (leader != self_) {
    for_each_node(body.members & ~only(self_),
                  [this](NodeId node) { peer_[number(node)].stale = true; });
    wake();
  }
  paused_ = true;
  early_.clear();
  early_news_.clear();
  DUET_CHECK(!joins || log_.size() == 0);
  const NodeSet keep = joins ? 0 : (members_ & body.members & ~body.joiners) | body.owed;
  Status done = wipe(disks_.label().nodes & ~keep);
  if (done.ok()) {
    done = memory_.set_generation(generation, Generation{body.before});
  }
  if (!done.ok()) {
    stop(done.error());
    co_return;
  }
  if (!joins) {
    // Those of the view that still counts, and new ones: all that is live, from the start.
    log_.set_targets(holders_ & ~new_holders(body) & ~only(self_));
    log_.set_targets((holders_ | body.holders) & ~only(self_));
  }
  for (;;) {
    const bool fit = fits(body, joins);
    if (prepared_ != generation || stopped_.has_value()) {
      co_return;
    }
    if (fit) {
      break;
    }
    co_await log_.changed().wait();
  }
  const PreparedBody answer = {.unsettled = unsettled()};
  if (leader == self_) {
    note_unsettled(answer.unsettled);
    prepared_by_ |= only(self_);
    changed_.wake_all();
  } else {
    say(leader, MessageKind::kPrepared, generation, bytes_of(answer));
  }
}

// Whether this node may be in the view that is proposed.
bool Core::fits(const PrepareBody& body, bool joins) const {
  const NodeSet here = connected();
  bool fit = true;
  // Who is new and who is not have met: so a hello of another incarnation is of a later one.
  for_each_node((joins ? body.members : body.joiners) & ~only(self_), [&](NodeId node) {
    fit = fit && contains(here, node) &&
          peer_[number(node)].hello.incarnation == body.incarnations[number(node)];
  });
  for_each_node(joins ? 0 : new_holders(body) & ~only(self_),
                [&](NodeId node) { fit = fit && log_.reached(node); });
  // What the dead had sent must have arrived, or never will, before their intents are shared.
  return fit && (joins || (body.owed & ~gone_members()) == 0);
}

void Core::commit(Generation generation, const CommitBody& body) {
  const Buffer block(1);
  encode_label(body.label, block.bytes());
  const Result<GroupLabel> decoded = decode_label(block.bytes());
  if (!decoded.ok()) {
    return;
  }
  const GroupLabel& label = decoded.value();
  const GroupLabel& before = disks_.label();
  if (!is_same_group(before, label) || label.generation != static_cast<std::uint64_t>(generation)) {
    return;
  }
  if (generation <= view_) {
    if (active_ && generation == view_) {
      adopt_in_view(label);
    }
    return;
  }
  if (!contains(label.managers, self_)) {
    if (contains(leaving_, self_)) {
      stop({Errc::kClosed, "the redundancy group was closed"});
    }
    return;
  }
  if (generation != prepared_ || label.managers != prepared_body_.members ||
      label.holders != prepared_body_.holders) {
    return;
  }
  outbox_.flush();  // what is of the earlier view goes as such
  for_each_node(members_ & ~only(self_), [&](NodeId node) {
    if (!contains(label.managers, node)) {
      note_dead(node, incarnations_[number(node)]);
    }
  });
  view_ = generation;
  members_ = label.managers;
  holders_ = label.holders;
  incarnations_ = body.incarnations;
  for_each_node(connected() & members_, [this](NodeId node) {
    const std::uint64_t present = peer_[number(node)].hello.incarnation;
    if (present != incarnations_[number(node)]) {
      note_dead(node, incarnations_[number(node)]);  // it came back, and the leader died
    }
  });
  leaving_ &= members_;
  fenced_ = 0;
  reported_ = 0;
  renewed_ = prepared_renewals_;
  active_ = true;
  ++changes_;
  const GroupLabel& own = disks_.label();
  if (label.sequence >= own.sequence || label.generation != own.generation) {
    disks_.adopt(label);  // else this node has read, or written, a newer one of this view
  }
  failed_in_view_ = disks_.failed();
  if (has_unsaid()) {
    failed_in_view_ = 0;  // nothing ends before a view in which the label says it
    ++renewals_;
  }
  missed_ = {};  // who waits for it asks again
  for (std::uint8_t i = 0; i < kNodesMax; ++i) {
    wishes_[i] = NodeId{i} == self_ ? wishes_[i] : Wish();  // they are said again
    seen_by_[i] = {};
  }
  log_.set_targets(holders_ & ~only(self_));
  locks_.begin_view(members_);
  for (const Early& early : std::exchange(early_, {})) {
    if (early.generation == generation && contains(members_, early.from)) {
      follow(early.from, early.message);
    }
  }
  paused_ = false;
  for_each_node(connected() & ~members_, [this](NodeId node) { say_hello(node, false); });
  report();
  say_seen();
  begin_rebuild();
  repeat_steps();
  expansion_.done.clear();  // a disk may have come that was not written then
  begin_expansion();
  say_what_is_known();
  for (const EarlyNews& early : std::exchange(early_news_, {})) {
    on_message(early.from, early.head, early.body);
  }
  tell_of_scrub();
  if (disks_.missing() != 0) {
    scope_.spawn(look_for_members());
  } else if (look_is_worth_it()) {
    scope_.spawn(look_for_disks());
  }
  wake();
}

// The leader has written a newer label, and the view is the same.  What failed by it is not
// answered for before the next view.
void Core::adopt_in_view(const GroupLabel& label) {
  if (supersedes(label, disks_.label())) {
    disks_.adopt(label);
  }
  // Even if it is not news: this node may have read it from a disk, and told nobody.
  begin_rebuild();
  begin_expansion();
  say_what_is_known();
}

}  // namespace duet::raid
