// Views: packets, who leads, and what every node does when the view changes.  What the leader does
// is in core_change.cpp.

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

// ---- packets ----

void Core::say(NodeId to, MessageKind kind, Generation generation, ConstBytes body) {
  if (!dying_) {
    outbox_.add(to, kind, generation, body);
  }
}

void Core::send(NodeId to, const LockMessage& message) {
  const LockBody body = encode_lock(message);
  say(to, MessageKind::kLock, view_, bytes_of(body));
}

void Core::say_hello(NodeId to, bool answer) {
  const HelloBody body = {.incarnation = incarnation_,
                          .memory_generation = static_cast<std::uint64_t>(memory_.generation()),
                          .memory_before = static_cast<std::uint64_t>(memory_.before()),
                          .active = active_     ? 1U
                                    : changing_ ? 2U
                                                : 0U,
                          .answer = answer ? 1U : 0U};
  say(to, MessageKind::kHello, view_, bytes_of(body));
}

void Core::report(bool even_if_nothing) {
  if (!active_ || dying_) {
    return;
  }
  const ReportBody body = {.failed = disks_.suspects(),
                           .renew = renewals_ != renewed_ ? 1U : 0U,
                           .leaving = contains(leaving_, self_) ? 1U : 0U,
                           .kept_out = disks_.kept_out(),
                           .wish = wishes_[number(self_)]};
  if (body.failed == 0 && body.kept_out == 0 && body.renew == 0 && body.leaving == 0 &&
      body.wish == Wish() && !even_if_nothing) {
    return;
  }
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kReport, view_, bytes_of(body)); });
}

void Core::on_session(NodeId node) {
  ++changes_;
  if (peers_.session(node) != 0 && !stopped_.has_value()) {
    say_hello(node, false);
    log_.send_all(node);
    renewals_ += active_ && contains(members_, node) ? 1 : 0;  // messages about locks may be lost
  }
  if (active_ && !dying_) {
    tell_present_view(members_);
  }
  wake();
}

void Core::on_packet(NodeId from, ConstBytes packet) {
  if (stopped_.has_value() || number(from) >= kNodesMax) {
    return;
  }
  const Peer& peer = peer_[number(from)];
  if (peer.session == peers_.session(from) && is_dead(from, peer.hello.incarnation)) {
    return;  // fenced, and does not know it
  }
  const bool whole = for_each_message(
      packet, [&](const MessageHead& head, ConstBytes body) { on_message(from, head, body); });
  static_cast<void>(whole);  // a damaged one is as one that was lost
}

// The sender has begun the view that this node is prepared for, and it has not: told again then.
bool Core::keep_for_later(NodeId from, const MessageHead& head, ConstBytes body) {
  const auto kind = static_cast<MessageKind>(head.kind);
  const Generation generation{head.generation};
  const bool news = kind == MessageKind::kReport || kind == MessageKind::kStep ||
                    kind == MessageKind::kMove || kind == MessageKind::kMissed;
  if (!news || generation != prepared_ || generation == view_) {
    return false;
  }
  early_news_.push_back({from, head, {body.begin(), body.end()}});
  return true;
}

void Core::on_message(NodeId from, const MessageHead& head, ConstBytes body) {
  const Generation generation{head.generation};
  if (keep_for_later(from, head, body)) {
    return;
  }
  switch (static_cast<MessageKind>(head.kind)) {
    case MessageKind::kLock:
      on_lock(from, head, body);
      break;
    case MessageKind::kHello:
      if (body.size() == sizeof(HelloBody)) {
        on_hello(from, generation, load<HelloBody>(body, 0));
      }
      break;
    case MessageKind::kPrepare:
      if (body.size() == sizeof(PrepareBody)) {
        on_prepare(from, generation, load<PrepareBody>(body, 0));
      }
      break;
    case MessageKind::kPrepared:
      if (body.size() == sizeof(PreparedBody) && generation == proposal_) {
        note_unsettled(load<PreparedBody>(body, 0).unsettled);
        prepared_by_ |= only(from);
        wake();
      }
      break;
    case MessageKind::kCommit:
      if (body.size() == sizeof(CommitBody)) {
        commit(generation, load<CommitBody>(body, 0));
      }
      break;
    case MessageKind::kReport:
      if (body.size() == sizeof(ReportBody) && generation == view_) {
        on_report(from, load<ReportBody>(body, 0));
      }
      break;
    case MessageKind::kStep:
      if (body.size() == sizeof(StepBody) && active_ && generation == view_ &&
          contains(members_, from)) {
        const auto step = load<StepBody>(body, 0);
        note_step(from, step.step, step.passed_by != 0);
      }
      break;
    case MessageKind::kMove:
      if (body.size() == sizeof(MoveBody) && active_ && generation == view_ &&
          contains(members_, from)) {
        note_move(from, load<MoveBody>(body, 0));
      }
      break;
    case MessageKind::kKnows:
      if (body.size() == sizeof(KnowsBody)) {
        note_known(from, load<KnowsBody>(body, 0));
      }
      break;
    case MessageKind::kMissed:
      if (body.size() == sizeof(MissedBody) && active_ && generation == view_ &&
          contains(members_, from)) {
        note_missed(load<MissedBody>(body, 0));
      }
      break;
    case MessageKind::kScrub:
      if (body.size() == sizeof(ScrubBody)) {
        on_scrub(load<ScrubBody>(body, 0));
      }
      break;
    case MessageKind::kScrubStep:
      if (body.size() == sizeof(ScrubStepBody)) {
        on_scrub_step(from, load<ScrubStepBody>(body, 0));
      }
      break;
  }
}

void Core::on_hello(NodeId from, Generation generation, const HelloBody& hello) {
  if (contains(members_, from) && hello.incarnation != incarnations_[number(from)]) {
    // A manager starts when no I/O of an older process of its node is under way.
    note_dead(from, incarnations_[number(from)]);
  }
  peer_[number(from)] = {peers_.session(from), false, hello, generation};
  if (!is_dead(from, hello.incarnation)) {
    fenced_ &= ~only(from);  // that was another; when this one is gone it must be told again
  }
  ++changes_;
  if (hello.answer != 0) {
    say_hello(from, false);
  }
  if (active_ && hello.active == 1 && generation < view_) {
    tell_present_view(only(from));  // it left, and has not heard that it may go
  }
  wake();
}

void Core::on_prepare(NodeId from, Generation generation, const PrepareBody& body) {
  if (sane(body, disks_.label())) {
    scope_.spawn(obey(from, generation, body));
  }
}

void Core::on_lock(NodeId from, const MessageHead& head, ConstBytes body) {
  const Result<LockMessage> message = decode_lock(body);
  if (!message.ok() || !sane(message.value(), disks_.label())) {
    return;
  }
  const Generation generation{head.generation};
  if (active_ && generation == view_ && contains(members_, from)) {
    follow(from, message.value());
  } else if (generation == prepared_ && generation != view_) {
    early_.push_back({from, generation, message.value()});
  }
}

// Whoever is contradicted cannot know who is right, and must not write any more.
void Core::follow(NodeId from, const LockMessage& message) {
  if (!locks_.on_message(from, message)) {
    stop(
        {Errc::kCorrupt, "another node contradicts this one about a lock of the redundancy group"});
  }
}

void Core::on_report(NodeId from, const ReportBody& body) {
  if (!contains(members_, from) || !sane(body, disks_.label())) {
    return;
  }
  for (std::uint32_t disk = 0; disk < geometry().disks; ++disk) {
    if ((body.failed & one(disk)) != 0) {
      disks_.suspect(disk);
    }
  }
  if (const ColumnSet kept_out = body.kept_out & first(geometry().disks);
      (kept_out & ~disks_.kept_out()) != 0) {
    disks_.keep_out(kept_out);
    ++changes_;
    wake();
  }
  if (wishes_[number(from)] != body.wish) {
    wishes_[number(from)] = body.wish;
    if (static_cast<WishVerb>(body.wish.verb) == WishVerb::kReturn) {
      disks_.forget_label(body.wish.id);  // what was read before it was wished may be old
    }
    ++changes_;
    wake();
    if (!knows_disks_of(body.wish)) {
      scope_.spawn(look_for_disks());
    }
  }
  renewals_ += body.renew;
  const NodeSet leaving = leaving_ | (body.leaving != 0 ? only(from) : 0);
  if (body.renew != 0 || leaving != leaving_ || (disks_.suspects() & ~reported_) != 0) {
    leaving_ = leaving;
    reported_ |= disks_.suspects();
    ++changes_;
    wake();
  }
}

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
  if (label.sequence >= disks_.label().sequence) {
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
