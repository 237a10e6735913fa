// The loop of a node: look at the partner and at the record, decide, act.

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

Task<void> PairNode::run() {
  for (;;) {
    entered_ = co_await enter();
    if (entered_ || halted_) {
      break;
    }
    say_waiting();
    co_await sleep(scheduler_, options_.retry);
  }
  entered_at_ = agreed_at_ = scheduler_.now();
  waits_for_ = {};
  for (Slot& slot : filers_) {
    slot.waits_for = {};
  }
  for (std::uint32_t node = 0; entered_ && node < mailbox::kNodes; ++node) {
    say_members(node);
  }
  beater_.start();
  if (groups_.groups != nullptr && !halted_) {
    scope_.spawn(begin_groups());
    scope_.spawn(watch_groups());
  }
  while (!halted_) {
    if (groups_.groups != nullptr && groups_.groups->ended() && !leaving_) {
      conflict();
    }
    co_await look();
    follow_late_disks();
    co_await follow_members();
    follow_differences();
    co_await follow_place();
    co_await follow_record();
    co_await prepare_for();
    consider_giveback();
    co_await act();
    describe();
    say_state();
    co_await sleep(scheduler_, options_.look);
  }
}

// Registers this process everywhere, and removes the older ones of this node.  It writes nothing of
// a filer before it owns one.
Task<bool> PairNode::enter() {
  step("enter");
  bool all = true;
  bool away = false;
  for (std::size_t i = 0; i < disks_.size() && !halted_; ++i) {
    shelf::LateDisk* const late = disks_[i].late;
    if (late != nullptr && !late->reachable() && !late->superseded()) {
      late->dismiss();
      away = true;
      continue;
    }
    if (is_away(i)) {
      const Status let_in = co_await let_in_late(i);
      all = all && let_in.ok();
    } else {
      const Status joined = co_await join(*disks_[i].disk);
      all = all && joined.ok();
    }
  }
  if (all && !halted_) {
    const Status joined = co_await join_group_disks();
    all = joined.ok();
  }
  if (!all || halted_) {
    waits_for_ = "a disk that this node cannot join";
    co_return false;
  }
  // Which disks count, and where the record is, before anything is believed of any of them.
  bool knows = false;
  if (away) {
    knows = co_await enter_by_word();
  } else {
    knows = co_await enter_by_reading();
  }
  if (!knows && waits_for_ == kStrangeMember) {
    // Its partner may know which disk that is now: one of a group has got another label.
    knows = co_await enter_by_word();
    waits_for_ = knows ? std::string_view() : kStrangeMember;
  }
  if (knows && !is_away(arbitration_) && !may_hold_record(arbitration_)) {
    waits_for_ = "a disk for the owner record whose target can compare and swap";
    co_return false;
  }
  co_return knows;
}

Task<bool> PairNode::enter_by_reading() {
  waits_for_ = {};
  for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
    const bool learned = co_await learn_members(node);
    if (!learned) {
      co_return false;
    }
  }
  co_return co_await find_place();
}

// Says over the link that the application lives, as long as its strands make progress.
Task<void> PairNode::beat_link() {
  while (!halted_) {
    if (!progress || progress()) {
      link_.beat();
    }
    watch_lease();
    co_await sleep(scheduler_, options_.beat.beat);
  }
}

// Beside the loop, which a disk that is away may hold up.
void PairNode::watch_lease() {
  const bool lapsed =
      hosts_any() && beater_.renewed() && !conflict_ && guard_.lapsed() > Duration(0);
  if (lapsed == lease_lapsed_) {
    return;
  }
  lease_lapsed_ = lapsed;
  if (lapsed) {
    step("lease lapsed");
    tell(Severity::kError, "the lease is over: no client is answered by this node",
         "repair this node's paths to its mailbox disks; meanwhile its partner may take over");
  } else if (hosts_any()) {
    tell(Severity::kInformation, "the lease holds again", "");
  }
}

// A disk that is away holds up no look: what it does not answer in time is not known in this look.
Task<void> PairNode::look() {
  while (looking_) {
    co_await sleep(scheduler_, std::chrono::milliseconds(1));
  }
  looking_ = true;
  co_await look_at_all();
  looking_ = false;
}

Task<void> PairNode::look_at_all() {
  ++looks_;
  looked_at_ = scheduler_.now();
  const Instant deadline = scheduler_.now() + options_.beat.beat;
  fresh_record_.reset();
  if (!record_reading_) {
    record_reading_ = true;
    scope_.spawn(read_record_beside());
  }
  co_await observer_.look(options_.beat.beat);
  co_await wait_for(record_reading_, deadline);
  record_readable_ = fresh_record_.has_value();
  if (record_readable_) {
    record_ = std::move(*fresh_record_);
  }
  if (link_up() && !observer_.stale()) {
    words_.reset();
    seen_marks_ = {};
    co_return;
  }
  if (!closer_reading_) {
    closer_reading_ = true;
    scope_.spawn(look_closer_beside());
  }
  co_await wait_for(closer_reading_, scheduler_.now() + options_.beat.beat);
}

// Short naps, as in Observer::look().
Task<void> PairNode::wait_for(const bool& running, Instant deadline) {
  Duration nap = std::chrono::microseconds(50);
  while (running && scheduler_.now() < deadline) {
    co_await sleep(scheduler_, nap);
    nap = std::min<Duration>(nap * 2, std::chrono::milliseconds(5));
  }
}

// What was asked for in an earlier look says nothing about this one.
Task<void> PairNode::read_record_beside() {
  const std::uint64_t of_look = looks_;
  Result<mailbox::OwnersRead> read = co_await arbiter_.read();
  record_reading_ = false;
  if (read.ok() && of_look == looks_) {
    fresh_record_ = std::move(read.value());
  }
}

// What is read only when the partner gives cause: its last words, and the marks of its filers.
Task<void> PairNode::look_closer_beside() {
  const std::optional<mailbox::WordsSector> words = co_await observer_.read_words();
  if (words && (!words_ || words_->dead_incarnation != words->dead_incarnation ||
                words_->restart_ms != words->restart_ms)) {
    words_seen_ = scheduler_.now();
    words_ = words;
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (record_ && record_->owners[filer].owner == peer_number()) {
      const mailbox::MarkReading seen = co_await marks_[filer]->read();
      seen_marks_[filer] = seen;
    }
  }
  closer_reading_ = false;
}

BeatEvidence PairNode::beat_evidence() const {
  const auto& beat = observer_.beat();
  const bool words_of_it = words_ && beat && words_->dead_incarnation == beat->header.incarnation;
  if (observer_.stale() || words_of_it || (beat && gone(beat->header.incarnation))) {
    return BeatEvidence::kStale;
  }
  const bool taking =
      beat && beat->state == static_cast<std::uint32_t>(mailbox::NodeState::kTaking);
  return taking && hosts_any() ? BeatEvidence::kClaims : BeatEvidence::kChanging;
}

// A mark of this node's own says that the partner's copy lacks something: that is no reason not to
// open the filer here.
bool PairNode::marked_by_partner(std::uint32_t filer) const {
  const auto& mark = seen_marks_[filer].mark;
  return mark && mark->header.node == peer_number();
}

// Dead, and not expected back by itself.
bool PairNode::gone(std::uint64_t incarnation) const {
  const bool said = words_ && words_->dead_incarnation == incarnation && words_->restart_ms == 0;
  return incarnation != 0 && (said || (partner_gone && partner_gone(incarnation)));
}

Evidence PairNode::evidence() const {
  Evidence result;
  const interconnect::LinkStatus link = link_.status();
  // A new process is expected to open what is its own; after a while it is like any other.
  const bool young = link.state == interconnect::LinkState::kReset &&
                     scheduler_.now() - link.since < options_.restart_window;
  result.link = !link_up() ? LinkEvidence::kLost : young ? LinkEvidence::kReset : LinkEvidence::kUp;
  result.mailbox = static_cast<MailboxEvidence>(observer_.readable());
  result.beat = beat_evidence();
  bool any_owner = false;
  bool all_dead = true;
  bool restarting = false;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!record_ || record_->owners[filer].owner != peer_number()) {
      continue;
    }
    const mailbox::OwnerEntry& entry = record_->owners[filer];
    if (marked_by_partner(filer)) {
      result.mirror = MirrorEvidence::kSolo;
    }
    const bool said = words_ && entry.incarnation == words_->dead_incarnation;
    const bool its_time =
        said && scheduler_.now() < words_seen_ + std::chrono::milliseconds(words_->restart_ms);
    any_owner = any_owner || entry.incarnation != 0;
    restarting = restarting || (its_time && !gone(entry.incarnation));
    all_dead = all_dead && (entry.incarnation == 0 || said || gone(entry.incarnation));
  }
  // Every owner must be dead: of two, one may be a newer process of the node.
  result.words = restarting              ? WordsEvidence::kRestarting
                 : any_owner && all_dead ? WordsEvidence::kDead
                                         : WordsEvidence::kNone;
  result.asked = asked_ && scheduler_.now() - asked_at_ < std::chrono::seconds(2);
  return result;
}

Task<void> PairNode::act() {
  const Verdict verdict = decide(evidence());
  if (verdict.alarm != verdict_.alarm) {
    alarm_since_ = scheduler_.now();
  }
  verdict_ = verdict;
  // A start or a planned move passes through many; an operator hears of what stays.
  if (verdict.alarm != alarm_told_ && scheduler_.now() - alarm_since_ >= options_.beat.lease) {
    alarm_told_ = verdict.alarm;
    alarm(verdict.alarm);
  }
  if (force_ && partner_shows_life()) {
    // What it holds alone is not lost: who asked believed that it was off.
    force_ = false;
    step("forced takeover is off");
    tell(Severity::kWarning, "the partner lives again: no takeover is forced any more",
         "ask for it again if the partner dies");
  }
  const bool forced = force_;
  if (forced || verdict.action == Action::kTakeOver) {
    // Silence where the partner does not write any more proves nothing.
    const bool known_dead = evidence().words == WordsEvidence::kDead;
    const bool heard = link_.status().session > 0;
    const bool graced = scheduler_.now() - entered_at_ >= options_.start_grace;
    const bool right = !members_behind() && !members_differ();
    const bool watched = known_dead || (right && (heard || graced));
    const bool due = scheduler_.now() >= may_take_at_ && !leaving_ && (watched || forced);
    if (due && (forced || options_.automatic_takeover) && !conflict_) {
      co_await take_over(forced);
    }
  }
  const bool apart = must_arbitrate();
  if (!apart) {
    apart_since_ = scheduler_.now();
  } else if (scheduler_.now() - apart_since_ >= options_.beat.lease * (1 + 2 * my_number()) &&
             scheduler_.now() >= may_take_at_ && options_.automatic_takeover) {
    co_await take_over(/*forced=*/false, /*arbitrated=*/true);
  }
  // kGoSolo and kResync are the log's own: it knows its link better than a look does.
  // kReadOwner: every look reads it.  kAwaitRestart: nothing to do.
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    // What passes by itself (a beat that is late) is waited for.
    const bool wait = scheduler_.now() < handover_until_[filer] && hard_veto(filer).has_value();
    if (!wait && std::exchange(handover_asked_[filer], false)) {
      const Status handed = co_await hand_over(filer);
      ++filers_[filer].handovers;
      filers_[filer].handover_error = handed.ok() ? "" : handed.error().context;
      if (!handed.ok()) {
        tell(Severity::kWarning, handed.error().context, "see duet failover check", filer);
      }
    }
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (std::exchange(rest_asked_[filer], false)) {
      co_await rest(filer);
    }
  }
  const bool paused = hosts_any() && guard_.lapsed() > 2 * options_.beat.lease;
  if (paused && link_up()) {
    static_cast<void>(send(PairVerb::kAskTakeover, 0, 0, 0, 0));
  }
}

// What the record says of this node: what was lost ends, what is mine and not open is opened.
Task<void> PairNode::follow_record() {
  if (!record_readable_ || conflict_) {
    co_return;
  }
  FilerSet to_open{};
  bool any = false;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    Slot& slot = filers_[filer];
    const mailbox::OwnerEntry entry = record_->owners[filer];
    const bool open = slot.state == FilerState::kServing || slot.state == FilerState::kHanding;
    if (open && (!is_mine(record_->owners, filer) || slot.failed)) {
      co_await lose(filer);
    }
    if (slot.state != FilerState::kAway) {
      continue;
    }
    if (entry.owner == peer_number()) {
      if (slot.admitted != entry.epoch && entry.incarnation != 0) {
        slot.host->admit_partner(entry.epoch);
        slot.admitted = entry.epoch;
      }
      if (slot.lined_up != entry.epoch && partner_serves(filer)) {
        slot.lined_up = entry.epoch;
        slot.refusals = 0;
        slot.host->line_up();
      }
      slot.waits_for = filer == my_number() ? "giveback" : "";
      continue;
    }
    const bool handed = slot.expected != 0 && entry.epoch == slot.expected &&
                        entry.incarnation == static_cast<std::uint64_t>(options_.self.incarnation);
    slot.expected = 0;
    if (handed && !leaving_) {
      const Status opened = co_await open_handed_over(filer);
      if (opened.ok()) {
        continue;
      }
    }
    if (!reaches_disks_of(filer)) {
      // To wait for it would hold up the loop, and with it what the other filer needs.
      slot.waits_for = !manages_groups_of(filer)
                           ? "its redundancy group, which waits for disks or for the partner"
                           : "a disk of it that this node reaches";
      if (!calling_) {
        calling_ = true;
        scope_.spawn(call_disks_of(filer));
      }
    } else if (scheduler_.now() >= slot.retry_at && slot.state == FilerState::kAway) {
      to_open[filer] = any = true;
    }
  }
  if (any && !leaving_) {
    co_await open_mine(to_open);
  }
}

// Who connects only when something is asked hears of it so; what it answers does not matter.
Task<void> PairNode::call_disks_of(std::uint32_t filer) {
  for (const PairDisk& each : disks_) {
    if (each.filer == filer && !each.disk->health().connected) {
      [[maybe_unused]] const Result<shelf::DiskState> answer = co_await each.disk->read_state();
    }
  }
  calling_ = false;
}

// As its owner in the record says in its beats; a dead owner's last beat says it for good.
bool PairNode::partner_serves(std::uint32_t filer) const {
  const auto& beat = observer_.beat();
  const mailbox::OwnerEntry& entry = record_->owners[filer];
  return beat && beat->header.incarnation == entry.incarnation &&
         (beat->serving >> filer & 1U) != 0 && beat->epochs[filer] == entry.epoch;
}

void PairNode::describe() {
  mailbox::BeatContent content;
  content.membership_generation = members_[my_number()].generation;
  bool serving = false;
  bool handing = false;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (filers_[filer].state == FilerState::kAway) {
      continue;
    }
    const bool serves = filers_[filer].state == FilerState::kServing;
    const bool hands = filers_[filer].state == FilerState::kHanding;
    content.serving |= serves || hands ? 1U << filer : 0U;
    content.epochs[filer] = filers_[filer].epoch;
    serving = serving || serves;
    handing = handing || hands;
  }
  content.state = taking_   ? mailbox::NodeState::kTaking
                  : handing ? mailbox::NodeState::kHanding
                  : serving ? mailbox::NodeState::kServing
                  : record_ ? mailbox::NodeState::kStandby
                            : mailbox::NodeState::kStarting;
  if (serving && guard_.lapsed() > options_.beat.lease) {
    content.state = mailbox::NodeState::kPaused;
  }
  beater_.describe(content);
}

void PairNode::say_state() {
  static_cast<void>(
      send(PairVerb::kState, 0, arbiter_.generation(), members_[my_number()].generation, 0));
  say_which_members();
}

void PairNode::alarm(Alarm alarm) {
  if (alarm == Alarm::kNone) {
    tell(Severity::kInformation, "the partner can be seen as it should", "");
    return;
  }
  const bool bad = alarm == Alarm::kSoloPartner || alarm == Alarm::kCannotProve;
  tell(bad ? Severity::kCritical : Severity::kWarning, name(alarm), remedy(alarm));
}

}  // namespace duet::failover
