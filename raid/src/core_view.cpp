// Views.  The leader is the lowest node of the view that is not gone.
//
//   change needed: a node came, is gone or leaves; a session was lost; a disk failed
//     -> read the labels again (a leader that is gone may have written one)
//     -> PREPARE those who join: they forget all intents
//     -> PREPARE the others: nothing begins any more; they send the joiners what is live
//     -> share the intents of those that are gone: all members have the same of them
//     -> write the label: from here on the view counts, whoever crashes, and owes those intents
//     -> carry them out, and write that nothing is owed
//     -> COMMIT: locks are told again, everything goes on
//   From a cold start the lowest node whose memory counts begins, once every other node is
//   connected or fenced: a view of its own, which owes what all holders had begun.
//
// Why the label comes before an intent is carried out: nodes may differ in what they hold of
// intents that were just ending.  Whoever writes to the disks for one must be sure that nobody
// takes over after him who does not know it.
//
// Whatever changes during a proposal abandons it; the next has a higher generation.  What was
// prepared stays paused until then.

#include <algorithm>

#include "core.h"
#include "io_batch.h"

namespace duet::raid {

namespace {

constexpr std::uint64_t kShareBytes = 256U << 10U;  // of one store

NodeId lowest(NodeSet set) { return NodeId{static_cast<std::uint8_t>(std::countr_zero(set))}; }

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

void Core::report() {
  if (!active_) {
    return;
  }
  const ReportBody body = {.failed = disks_.suspects(),
                           .renew = renewals_ != renewed_ ? 1U : 0U,
                           .leaving = contains(leaving_, self_) ? 1U : 0U};
  if (body.failed == 0 && body.renew == 0 && body.leaving == 0) {
    return;
  }
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kReport, view_, bytes_of(body)); });
}

void Core::on_session(NodeId node) {
  peer_[number(node)].said_hello = false;
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
  const bool whole = for_each_message(
      packet, [&](const MessageHead& head, ConstBytes body) { on_message(from, head, body); });
  static_cast<void>(whole);  // a damaged one is as one that was lost
}

void Core::on_message(NodeId from, const MessageHead& head, ConstBytes body) {
  const Generation generation{head.generation};
  switch (static_cast<MessageKind>(head.kind)) {
    case MessageKind::kLock:
      on_lock(from, head, body);
      break;
    case MessageKind::kHello:
      if (body.size() == sizeof(HelloBody)) {
        peer_[number(from)] = {true, false, load<HelloBody>(body, 0), generation};
        ++changes_;
        if (peer_[number(from)].hello.answer != 0) {
          say_hello(from, false);
        }
        wake();
      }
      break;
    case MessageKind::kPrepare:
      if (body.size() == sizeof(PrepareBody)) {
        scope_.spawn(prepare(from, generation, load<PrepareBody>(body, 0)));
      }
      break;
    case MessageKind::kPrepared:
      if (generation == proposal_) {
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
  }
}

void Core::on_lock(NodeId from, const MessageHead& head, ConstBytes body) {
  const Result<LockMessage> message = decode_lock(body);
  if (!message.ok()) {
    return;
  }
  const Generation generation{head.generation};
  if (active_ && generation == view_ && contains(members_, from)) {
    locks_.on_message(from, message.value());
  } else if (generation == prepared_ && generation != view_) {
    early_.push_back({from, generation, message.value()});
  }
}

void Core::on_report(NodeId from, const ReportBody& body) {
  if (!contains(members_, from)) {
    return;
  }
  for (std::uint32_t disk = 0; disk < geometry().disks; ++disk) {
    if ((body.failed & one(disk)) != 0) {
      disks_.suspect(disk);
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
    set |= node != self_ && peer_[i].said_hello && peers_.session(node) != 0 ? only(node) : 0;
  }
  return set & disks_.label().nodes;
}

bool Core::gone(NodeId node) const {
  const std::uint64_t incarnation = incarnations_[number(node)];
  const Peer& peer = peer_[number(node)];
  // A manager starts when no I/O of an older process of its node is under way.
  return dead_[number(node)] == incarnation ||
         (peer.said_hello && peer.hello.incarnation != incarnation);
}

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
    if (!member && hello.active == 0 && hello.incarnation != dead_[number(node)]) {
      set |= only(node);
    }
  });
  return set;
}

bool Core::leads() const {
  if (!active_) {
    return leads_from_cold();
  }
  const NodeSet rest = members_ & ~gone_members();
  const NodeSet stay = rest & ~leaving_;
  return lowest(stay != 0 ? stay : rest) == self_;
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

bool Core::change_needed() const {
  if (!active_) {
    return true;
  }
  return gone_members() != 0 || (members_ & leaving_) != 0 || newcomers() != 0 ||
         renewals_ != renewed_ || disks_.suspects() != 0;
}

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
    if (!stopped_.has_value() && leads() && change_needed()) {
      const std::uint64_t before = changes_;
      changing_ = true;
      const Status changed = co_await change_view();
      changing_ = false;
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

// ---- a change, as the leader does it ----

Task<void> Core::look_at_labels() {
  for (BlockDevice* const device : devices_) {
    const Result<GroupLabel> label = co_await read_label(*device);
    if (label.ok() && label.value().group == options_.group &&
        label.value().sequence > disks_.label().sequence) {
      disks_.adopt(label.value());
    }
  }
}

// The newest label there is; and all disks that should have it, have it: it may be the work of a
// leader that did not get to its end, and the next label overwrites the one before it.
Task<Status> Core::read_labels() {
  co_await look_at_labels();
  const auto label = std::make_unique<GroupLabel>(disks_.label());
  const Status written = co_await write_labels(*label);
  if (!written.ok()) {
    co_return written;
  }
  disks_.adopt(*label);
  co_return Ok{};
}

// Carries out what these nodes had begun.  They are fenced, their locks are still theirs, and the
// label says that it is owed.
Task<Status> Core::recover(NodeSet origins) {
  std::vector<NodeId> nodes;
  for_each_node(origins, [&nodes](NodeId node) { nodes.push_back(node); });
  bool any = false;
  for (const NodeId node : nodes) {
    const std::vector<FoundIntent> found = memory_.scan(node, geometry());
    for (const FoundIntent& intent : found) {
      const Status done = co_await io_.recover(intent);
      if (!done.ok()) {
        co_return done;
      }
      any = true;
    }
  }
  if (any) {
    co_await io_.flush();
  }
  if (const std::optional<Error> error = ended()) {
    co_return *error;
  }
  co_return Ok{};
}

GroupLabel Core::next_label(Generation generation, NodeSet members) const {
  GroupLabel label = disks_.label();
  ++label.sequence;
  label.generation = static_cast<std::uint64_t>(generation);
  label.holders = members;
  label.owed = 0;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    if ((disks_.suspects() & one(i)) != 0) {
      label.members[i].state = static_cast<std::uint32_t>(DiskState::kFailed);
      label.members[i].since = label.sequence;
    }
  }
  return label;
}

// To every disk that has not failed; one that fails here has failed, and the label says so.
Task<Status> Core::write_labels(GroupLabel& label) {
  for (;;) {
    std::vector<Buffer> buffers;
    std::vector<std::pair<BlockDevice*, std::uint32_t>> targets;
    const auto add = [&](BlockDevice* device, std::uint32_t own, const DiskId& id) {
      GroupLabel copy = label;
      copy.own = own;
      copy.own_id = id;
      buffers.emplace_back(1);
      encode_label(copy, buffers.back().bytes());
      targets.emplace_back(device, own);
    };
    for (std::uint32_t i = 0; i < label.disks; ++i) {
      if (static_cast<DiskState>(label.members[i].state) != DiskState::kFailed &&
          disks_.device(i) != nullptr) {
        add(disks_.device(i), i, label.members[i].id);
      }
    }
    IoBatch writes;
    IoBatch flushes;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      writes.write(*targets[i].first, label_block(label.sequence), buffers[i].bytes(),
                   targets[i].second);
      flushes.flush(*targets[i].first, targets[i].second);
    }
    co_await writes.run();
    co_await flushes.run();
    for (const IoBatch* const batch : {&writes, &flushes}) {
      for (const IoBatch::Op& op : batch->ops()) {
        if (!op.result.ok()) {
          disks_.note_error(op.tag, op.result.error());
        }
      }
    }
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    bool failed = false;
    for (std::uint32_t i = 0; i < label.disks; ++i) {
      if ((disks_.suspects() & one(i)) != 0 &&
          static_cast<DiskState>(label.members[i].state) != DiskState::kFailed) {
        label.members[i].state = static_cast<std::uint32_t>(DiskState::kFailed);
        label.members[i].since = label.sequence + 1;
        failed = true;
      }
    }
    if (!failed) {
      co_return Ok{};
    }
    ++label.sequence;
  }
}

// False: something changed, the proposal is abandoned.
Task<bool> Core::prepare_all(Generation generation, PrepareBody body, NodeSet who) {
  const std::uint64_t changes = changes_;
  for_each_node(who & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kPrepare, generation, bytes_of(body)); });
  if (contains(who, self_)) {
    scope_.spawn(prepare(self_, generation, body));
  }
  for (;;) {
    if (changes != changes_ || stopped_.has_value()) {
      co_return false;
    }
    if ((who & ~prepared_by_) == 0) {
      co_return true;
    }
    co_await changed_.wait();
  }
}

Generation Core::next_proposal() {
  Generation newest = std::max({view_, prepared_, proposal_});
  newest = std::max(newest, Generation{disks_.label().generation});
  for (const Peer& peer : peer_) {
    newest = std::max({newest, peer.view, Generation{peer.hello.memory_generation}});
  }
  proposal_ = next_generation(newest, self_);
  prepared_by_ = 0;
  return proposal_;
}

// Carries out what the label says is owed, and writes that nothing is.
Task<Status> Core::pay_what_is_owed() {
  if (disks_.label().owed == 0) {
    co_return Ok{};
  }
  const Status recovered = co_await recover(disks_.label().owed);
  if (!recovered.ok()) {
    co_return recovered;
  }
  const auto label = std::make_unique<GroupLabel>(disks_.label());
  ++label->sequence;
  label->owed = 0;
  const Status written = co_await write_labels(*label);
  if (written.ok()) {
    disks_.adopt(*label);
  }
  co_return written;
}

// From a cold start.  First alone, so that what is carried out is in the memory of whoever may
// have to do it again; the others join in the next view.
Task<Status> Core::start_alone() {
  constexpr Error kAbandoned = {Errc::kTryAgain, "something changed meanwhile"};
  const std::uint64_t changes = changes_;
  const Status read = co_await read_labels();
  if (!read.ok()) {
    co_return read;
  }
  if (changes != changes_ || !leads_from_cold()) {
    co_return kAbandoned;
  }
  const NodeSet origins = disks_.label().holders | disks_.label().owed;
  prepared_ = next_proposal();
  prepared_body_ = PrepareBody();
  prepared_body_.members = only(self_);
  prepared_body_.incarnations[number(self_)] = incarnation_;
  const Status set = memory_.set_generation(prepared_, Generation{disks_.label().generation});
  if (!set.ok()) {
    stop(set.error());
    co_return set;
  }
  const auto label = std::make_unique<GroupLabel>(next_label(prepared_, only(self_)));
  label->owed = origins;
  const Status written = co_await write_labels(*label);
  if (!written.ok()) {
    co_return written;
  }
  disks_.adopt(*label);
  const Status paid = co_await pay_what_is_owed();
  if (!paid.ok()) {
    co_return paid;
  }
  const Status wiped = wipe(disks_.label().nodes);
  if (!wiped.ok()) {
    stop(wiped.error());
    co_return wiped;
  }
  announce(disks_.label(), prepared_body_);
  co_return Ok{};
}

// A leader that is gone may have written a view, and told perhaps nobody.
Task<Status> Core::finish_for_the_leader() {
  if (Generation{disks_.label().generation} != prepared_) {
    co_return Error{Errc::kRefused, "the redundancy group went on without this node"};
  }
  const Status paid = co_await pay_what_is_owed();
  if (!paid.ok()) {
    co_return paid;
  }
  announce(disks_.label(), prepared_body_);
  co_return Ok{};
}

// What this node's memory has of `origins`, into the memories of `members`: from now on each of
// them has all that is going to be carried out.  False: something changed.
Task<bool> Core::share(NodeSet origins, NodeSet members) {
  const std::uint64_t changes = changes_;
  const MemoryLayout& layout = memory_.layout();
  std::array<std::uint64_t, kNodesMax> sent{};
  for_each_node(members & ~only(self_), [&](NodeId to) {
    for_each_node(origins, [&](NodeId origin) {
      // Pages first: a slot never counts before its pages.
      const std::uint64_t pages = layout.page(origin, 0);
      const std::uint64_t end = layout.area(origin) + layout.area_bytes();
      for (std::uint64_t at = pages; at < end; at += kShareBytes) {
        store_from_memory(to, at, std::min<std::uint64_t>(kShareBytes, end - at));
      }
      sent[number(to)] = store_from_memory(to, layout.area(origin), layout.table_bytes());
    });
  });
  for (;;) {
    bool there = true;
    for_each_node(members & ~only(self_),
                  [&](NodeId to) { there = there && peers_.stored(to) >= sent[number(to)]; });
    if (changes != changes_ || stopped_.has_value()) {
      co_return false;
    }
    if (there) {
      co_return true;
    }
    co_await log_.changed().wait();
  }
}

std::uint64_t Core::store_from_memory(NodeId to, std::uint64_t offset, std::uint64_t bytes) {
  const std::array<ConstBytes, 1> parts = {memory_.memory().bytes().subspan(offset, bytes)};
  return peers_.store(to, offset, parts);
}

Task<Status> Core::change_view() {
  constexpr Error kAbandoned = {Errc::kTryAgain, "something changed meanwhile"};
  if (!active_) {
    const Status started = co_await start_alone();
    co_return started;
  }
  const std::uint64_t changes = changes_;
  const NodeSet gone_now = gone_members();
  const NodeSet dead = gone_now & ~leaving_;
  if (gone_now != 0) {
    const Status read = co_await read_labels();
    if (!read.ok()) {
      co_return read;
    }
    if (changes != changes_) {
      co_return kAbandoned;
    }
    if (Generation{disks_.label().generation} != view_) {
      const Status finished = co_await finish_for_the_leader();
      co_return finished;
    }
  }
  const NodeSet stay = members_ & ~gone_now & ~leaving_;
  // A node that came back joins when what it owed is paid.
  const NodeSet joiners = stay == 0 ? 0 : newcomers() & ~gone_now;
  const Generation proposal = next_proposal();
  const NodeSet members = stay | joiners;
  PrepareBody body = {.members = members, .joiners = joiners, .owed = dead};
  for_each_node(members, [&](NodeId node) {
    body.incarnations[number(node)] = node == self_ ? incarnation_
                                      : contains(joiners, node)
                                          ? peer_[number(node)].hello.incarnation
                                          : incarnations_[number(node)];
  });
  const bool joined = co_await prepare_all(proposal, body, joiners);
  if (!joined) {
    co_return kAbandoned;
  }
  body.before = disks_.label().generation;
  tell_present_view(stay);
  const bool ready = co_await prepare_all(proposal, body, stay);
  if (!ready) {
    co_return kAbandoned;
  }
  const bool shared = co_await share(dead, members);
  if (!shared) {
    co_return kAbandoned;
  }
  const auto label = std::make_unique<GroupLabel>(next_label(proposal, members));
  label->owed = dead;
  const Status written = co_await write_labels(*label);
  if (!written.ok()) {
    co_return written;
  }
  disks_.adopt(*label);
  const Status paid = co_await pay_what_is_owed();
  if (!paid.ok()) {
    co_return paid;
  }
  announce(disks_.label(), body);
  co_return Ok{};
}

// The view is in the label.
void Core::announce(const GroupLabel& label, const PrepareBody& body) {
  ++counters_.views;
  const CommitBody commit_body = {.incarnations = body.incarnations, .label = label};
  const Generation generation{label.generation};
  for_each_node((label.holders | (members_ & leaving_)) & ~only(self_), [&](NodeId node) {
    say(node, MessageKind::kCommit, generation, bytes_of(commit_body));
  });
  commit(generation, commit_body);
}

// A node that has missed the end of the last change, as its leader ended then, learns it now; and
// with it, in this order, what else was told in this view: it may be the one who leads.
void Core::tell_present_view(NodeSet whom) {
  const CommitBody body = {.incarnations = incarnations_, .label = disks_.label()};
  for_each_node(whom & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kCommit, view_, bytes_of(body)); });
  report();
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

Task<void> Core::prepare(NodeId leader, Generation generation, PrepareBody body) {
  if (generation <= prepared_ || !contains(body.members, self_)) {
    co_return;
  }
  const bool joins = contains(body.joiners, self_);
  if (!joins && (!active_ || Generation{body.before} != view_)) {
    co_return;  // of a group that went on without this node
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
  const NodeSet others = body.joiners & ~only(self_);
  if (!joins) {
    // Those of the view that still counts, and those who join: all that is live, from the start.
    log_.set_targets(members_ & ~others & ~only(self_));
    log_.set_targets((members_ | others) & ~only(self_));
    for (;;) {
      bool reached = true;
      for_each_node(others, [&](NodeId node) { reached = reached && log_.reached(node); });
      if (prepared_ != generation || stopped_.has_value()) {
        co_return;
      }
      if (reached) {
        break;
      }
      co_await log_.changed().wait();
    }
  }
  if (leader == self_) {
    prepared_by_ |= only(self_);
    changed_.wake_all();
  } else {
    say(leader, MessageKind::kPrepared, generation, {});
  }
}

void Core::commit(Generation generation, const CommitBody& body) {
  const Buffer block(1);
  encode_label(body.label, block.bytes());
  const Result<GroupLabel> decoded = decode_label(block.bytes());
  if (!decoded.ok()) {
    return;
  }
  const GroupLabel& label = decoded.value();
  if (geometry_of(label) != geometry() || label.group != options_.group ||
      label.generation != static_cast<std::uint64_t>(generation) || generation <= view_) {
    return;
  }
  if (!contains(label.holders, self_)) {
    if (contains(leaving_, self_)) {
      stop({Errc::kClosed, "the redundancy group was closed"});
    }
    return;
  }
  if (generation != prepared_) {
    return;
  }
  outbox_.flush();  // what is of the earlier view goes as such
  for_each_node(members_ & ~only(self_), [&](NodeId node) {
    if (!contains(label.holders, node)) {
      dead_[number(node)] = incarnations_[number(node)];
    }
  });
  view_ = generation;
  members_ = label.holders;
  incarnations_ = body.incarnations;
  leaving_ &= members_;
  fenced_ = 0;
  reported_ = 0;
  renewed_ = prepared_renewals_;
  active_ = true;
  ++changes_;
  disks_.adopt(label);
  log_.set_targets(members_ & ~only(self_));
  locks_.begin_view(members_);
  for (const Early& early : std::exchange(early_, {})) {
    if (early.generation == generation && contains(members_, early.from)) {
      locks_.on_message(early.from, early.message);
    }
  }
  paused_ = false;
  for_each_node(connected() & ~members_, [this](NodeId node) { say_hello(node, false); });
  report();
  wake();
}

}  // namespace duet::raid
