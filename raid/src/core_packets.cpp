// What a manager says to the others, and hears of them: whatever comes is looked at here first, and
// goes to whom it is for.

#include "core.h"

namespace duet::raid {

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

// Who has lost too many disks tells nobody: they may be there for the others, who go on.
void Core::report(bool even_if_nothing) {
  if (!active_ || dying_ || disks_.too_many_failed()) {
    return;
  }
  const ReportBody body = {.failed = disks_.suspects(),
                           .renew = renewals_ != renewed_ ? 1U : 0U,
                           .leaving = contains(leaving_, self_) ? 1U : 0U,
                           .wish = wishes_[number(self_)],
                           .seen = seen_by_[number(self_)]};
  if (body.failed == 0 && body.renew == 0 && body.leaving == 0 && body.wish == Wish() &&
      body.seen == Seen() && !even_if_nothing) {
    return;
  }
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kReport, view_, bytes_of(body)); });
}

void Core::on_session(NodeId node) {
  ++changes_;
  wishes_[number(node)] =
      {};  // that it is over may not have arrived; who still wants says so again
  seen_by_[number(node)] = {};
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
  if (seen_by_[number(from)] != body.seen) {
    seen_by_[number(from)] = body.seen;
    ++changes_;
    wake();
  }
  if (wishes_[number(from)] != body.wish) {
    wishes_[number(from)] = body.wish;
    if (is_return(body.wish)) {
      disks_.forget_label(body.wish.id);  // what was read before it was wished may be old
    }
    ++changes_;
    wake();
    if (!knows_disks_of(body.wish)) {
      scope_.spawn(look_for_disks());
    }
    say_seen();
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

}  // namespace duet::raid
