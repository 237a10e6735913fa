// A change of view, as the leader does it: the lowest holder of the view that is not gone.
//
//   change needed: a node came, is gone or leaves; a session was lost; a disk failed
//     -> read the labels again (a leader that is gone may have written one)
//     -> PREPARE those who join: they forget all intents
//     -> PREPARE the others: nothing begins any more; they send new holders what is live
//     -> share the intents of those that are gone: all holders have the same of them
//     -> write the label: from here on the view counts, whoever crashes, and owes those intents
//     -> carry them out, and write that nothing is owed
//     -> COMMIT: locks are told again, everything goes on
//   From a cold start the lowest node whose memory counts begins, once every other node is
//   connected or fenced: a view of its own, which owes what all members had begun.
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

}  // namespace

// A disk that has failed may have been used elsewhere since: what counts is on others, too.
Task<void> Core::look_at_labels() {
  const std::vector<BlockDevice*> devices = devices_;
  for (BlockDevice* const device : devices) {
    const Result<GroupLabel> label = co_await read_label(*device);
    if (!label.ok() || label.value().group != options_.group) {
      continue;
    }
    const LabelDisk* const own = member(disks_.label(), label.value().own_id);
    if (own != nullptr && !has_failed(*own) && supersedes(label.value(), disks_.label())) {
      disks_.adopt(label.value());
    }
  }
  if (disks_.missing() != 0) {
    co_await look_for_disks();
  }
  disks_.suspect_missing();
}

// The newest label there is; and all disks that should have it, have it: it may be the work of a
// leader that did not get to its end, and the next label overwrites the one before it.
Task<Status> Core::read_labels() {
  co_await look_at_labels();
  co_await look_at_failed();
  term_ = disks_.label().term + 1;
  const auto label = std::make_unique<GroupLabel>(disks_.label());
  // In a view that only the leader who is gone has begun what was not settled before, and what is
  // owed, was told to him.
  unsettled_known_ = !active_ || Generation{label->generation} == view_;
  const Status written = co_await write_labels(*label);
  unsettled_known_ = true;
  co_return written;
}

// Carries out what these nodes had begun.  They are fenced, their locks are still theirs, and the
// label says that it is owed.  `moved`: stripes below it were moved by an expansion, at least.
Task<Status> Core::recover(NodeSet origins, std::uint64_t& moved) {
  std::vector<NodeId> nodes;
  for_each_node(origins, [&nodes](NodeId node) { nodes.push_back(node); });
  bool any = false;
  for (const NodeId node : nodes) {
    const std::vector<FoundIntent> found = memory_.scan(node, disks_.label());
    for (const FoundIntent& intent : found) {
      const Status done = co_await io_.recover(intent);
      if (!done.ok()) {
        co_return done;
      }
      any = true;
      if (intent.intent.kind == IntentKind::kMove) {
        moved = std::max(moved, static_cast<std::uint64_t>(intent.intent.stripe) + 1);
      }
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

GroupLabel Core::next_label(Generation generation, NodeSet members, NodeSet holders) const {
  GroupLabel label = disks_.label();
  ++label.sequence;
  label.generation = static_cast<std::uint64_t>(generation);
  label.managers = static_cast<std::uint16_t>(members);
  label.holders = static_cast<std::uint16_t>(holders);
  label.owed = 0;
  label.term = std::max(label.term, term_);
  mark_suspects(label);
  grant_keeping_out(label);
  say_missed(label, unsettled_);  // before a disk comes back
  say_missed(label, missed_);
  arrange(label);
  return label;
}

// Whether there are any that it did not know.  Another disk may have the place of one by now.
bool Core::mark_suspects(GroupLabel& label) const {
  ColumnSet same = 0;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    same |= label.members[i].id == disks_.label().members[i].id ? one(i) : 0;
  }
  return mark_failed(label, disks_.suspects() & same, disks_.away());
}

bool Core::mark_failed(GroupLabel& label, ColumnSet disks, ColumnSet away) const {
  bool any = false;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    if ((disks & one(i)) != 0 &&
        static_cast<DiskState>(label.members[i].state) != DiskState::kFailed) {
      raid::mark_failed(label, i, (away & one(i)) != 0, unsettled_known_);
      any = true;
    }
  }
  return any;
}

// To every disk that has not failed; one that fails here has failed, and the label says so.  This
// node goes by it from then on.
Task<Status> Core::write_labels(GroupLabel& label) {
  for (;;) {
    if (lost(label) > geometry().check_columns()) {
      stop({Errc::kIo, "more disks of the redundancy group failed than it can lose"});
      co_return *stopped_;
    }
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
      BlockDevice* const device = disks_.device_called(label.members[i].id);
      if (static_cast<DiskState>(label.members[i].state) != DiskState::kFailed &&
          device != nullptr) {
        add(device, i, label.members[i].id);
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
    ColumnSet bad = 0;
    for (const IoBatch* const batch : {&writes, &flushes}) {
      for (const IoBatch::Op& op : batch->ops()) {
        if (!op.result.ok()) {
          bad |= op.result.error().code == Errc::kFenced ? 0 : one(op.tag);
          disks_.note_error(op.tag, op.device, op.result.error());
        }
      }
    }
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    ++label.sequence;
    const bool failed_here = mark_failed(label, bad, 0);
    const bool failed = mark_suspects(label);
    if (!failed_here && !failed) {
      --label.sequence;
      disks_.adopt(label);
      disks_.suspect_missing();
      co_return Ok{};
    }
    label.term = std::max(label.term, term_);
    say_missed(label, unsettled_);
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
  Generation newest = std::max({view_, prepared_, proposal_, memory_.generation()});
  newest = std::max(newest, Generation{disks_.label().generation});
  for (const Peer& peer : peer_) {
    newest = std::max({newest, peer.view, Generation{peer.hello.memory_generation}});
  }
  proposal_ = next_generation(newest, self_);
  prepared_by_ = 0;
  unsettled_ = {};
  return proposal_;
}

// Carries out what the label says is owed, and writes that nothing is.
Task<Status> Core::pay_what_is_owed() {
  if (disks_.label().owed == 0) {
    co_return Ok{};
  }
  std::uint64_t moved = 0;
  const Status recovered = co_await recover(disks_.label().owed, moved);
  if (!recovered.ok()) {
    co_return recovered;
  }
  const auto label = std::make_unique<GroupLabel>(disks_.label());
  ++label->sequence;
  label->owed = 0;
  advance(*label, moved);
  mark_suspects(*label);  // a disk that missed what was carried out: in the label that ends it
  say_missed(*label, unsettled_);
  const Status written = co_await write_labels(*label);
  co_return written;
}

// The label that makes a view count, and owes what its dead had begun; then that is paid.
Task<Status> Core::put_view(Generation generation, const PrepareBody& body) {
  note_owed(body.owed);
  const auto label =
      std::make_unique<GroupLabel>(next_label(generation, body.members, body.holders));
  label->owed = body.owed;
  const Status written = co_await write_labels(*label);
  if (!written.ok()) {
    co_return written;
  }
  const Status paid = co_await pay_what_is_owed();
  co_return paid;
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
  const NodeSet origins = disks_.label().managers | disks_.label().owed;
  // What counted in an earlier life must not count again in the view that begins.
  const Status cleared = wipe(disks_.label().nodes & ~origins);
  if (!cleared.ok()) {
    stop(cleared.error());
    co_return cleared;
  }
  prepared_ = next_proposal();
  prepared_body_ = PrepareBody();
  prepared_body_.members = prepared_body_.holders = only(self_);
  prepared_body_.owed = origins;
  prepared_body_.incarnations[number(self_)] = incarnation_;
  const Status set = memory_.set_generation(prepared_, Generation{disks_.label().generation});
  if (!set.ok()) {
    stop(set.error());
    co_return set;
  }
  const Status put = co_await put_view(prepared_, prepared_body_);
  if (!put.ok()) {
    co_return put;
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
  if (contains(leaving_, self_) && !contains(disks_.label().managers, self_)) {
    stop({Errc::kClosed, "the redundancy group was closed"});  // and the message was lost
    co_return *stopped_;
  }
  if (Generation{disks_.label().generation} != prepared_) {
    co_return Error{Errc::kRefused, "the redundancy group went on without this node"};
  }
  // What the others have not settled was told to the leader before.
  unsettled_known_ = false;
  const Status paid = co_await pay_what_is_owed();
  unsettled_known_ = true;
  if (!paid.ok()) {
    co_return paid;
  }
  announce(disks_.label(), prepared_body_);
  co_return Ok{};
}

// What this node's memory has of `origins`, into the memories of `holders`: from now on each of
// them has all that is going to be carried out.  False: something changed.
Task<bool> Core::share(NodeSet origins, NodeSet holders) {
  const std::uint64_t changes = changes_;
  const MemoryLayout& layout = memory_.layout();
  std::array<std::uint64_t, kNodesMax> sent{};
  for_each_node(holders & ~only(self_), [&](NodeId to) {
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
    for_each_node(holders & ~only(self_),
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
  // While something is owed nobody leaves: a label without holders says that nothing is.
  const NodeSet stay = members_ & ~gone_now & ~(dead == 0 ? leaving_ : 0);
  // A node that came back joins when what it owed is paid; and nobody else waits for one that wants
  // to join, which not all may be able to reach.
  const NodeSet joiners = stay == 0 || change_is_urgent() ? 0 : newcomers();
  const Generation proposal = next_proposal();
  const NodeSet members = stay | joiners;
  PrepareBody body = {
      .members = members, .joiners = joiners, .owed = dead, .holders = choose_holders(members)};
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
  const bool shared = co_await share(dead, body.holders);
  if (!shared) {
    co_return kAbandoned;
  }
  const Status put = co_await put_view(proposal, body);
  if (!put.ok()) {
    co_return put;
  }
  announce(disks_.label(), body);
  co_return Ok{};
}

// The view is in the label.
void Core::announce(const GroupLabel& label, const PrepareBody& body) {
  ++counters_.views;
  const CommitBody commit_body = {.incarnations = body.incarnations, .label = label};
  const Generation generation{label.generation};
  for_each_node((label.managers | (members_ & leaving_)) & ~only(self_), [&](NodeId node) {
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

}  // namespace duet::raid
