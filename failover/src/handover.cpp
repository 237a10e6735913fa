// Giveback and planned takeover (rules 11, 12): one handover, from the owner to the partner; and
// the messages of the pair.
//
//   owner:   vetoes -> stop answering, drain, CP -> kPrepare -> kPrepared -> one swap -> let go
//   partner: kPrepare: keys, root readable -> kPrepared ... the record names it -> opening.cpp
//
// Until the swap the owner serves on whatever fails; after it the partner serves, or takeover
// returns.

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

namespace {

constexpr Error kPartnerLives{Errc::kRefused, "the partner lives: ask it to hand over instead"};

}  // namespace

std::vector<Veto> PairNode::handover_vetoes(std::uint32_t filer) const {
  std::vector<Veto> result;
  const auto veto = [&result](bool hard, std::string_view reason, std::string_view remedy) {
    result.push_back({.hard = hard, .reason = reason, .remedy = remedy});
  };
  if (filers_[filer].state != FilerState::kServing) {
    veto(true, "the filer is not served here", "run the command at the node that serves it");
  }
  if (conflict_ || !guard_.may_answer()) {
    veto(true, "this node is paused by its disks", "repair its paths to the mailbox disks");
  }
  if (!record_readable_) {
    veto(true, "the owner record cannot be read", "repair the path to the arbitration disk");
  }
  if (proposal_ || moving_) {
    veto(true, "the owner record is on its way to another disk", "wait a moment");
  }
  if (replacing_ || next_) {
    veto(true, "a mailbox member is being replaced", "wait a moment");
  }
  if (!link_up()) {
    veto(true, "the partner does not answer over the link", "start the partner, repair the link");
  } else if ((peer_flags_ & kMayTake) == 0) {
    veto(true, "the partner is not ready to take a filer",
         "wait until it has started; see its trace");
  } else if ((peer_flags_ & (kSeesAllDisks | sees_filer(filer))) == 0) {
    veto(true, "the partner does not reach all disks", "repair the partner's paths to the disks");
  } else if ((peer_flags_ & kSeesAllDisks) == 0) {
    veto(false, "the partner does not reach all disks, but those of this filer",
         "repair or replace the disk; duet failover show names it");
  }
  if (observer_.stale() || observer_.readable() == mailbox::Readable::kNone) {
    veto(true, "the partner's mailbox does not change", "repair the mailbox disks of the partner");
  } else if (observer_.readable() == mailbox::Readable::kOne) {
    veto(false, "a mailbox member of the partner cannot be read", "repair or replace that disk");
  }
  if (filers_[filer].state == FilerState::kServing && !filers_[filer].host->mirrored()) {
    veto(false, "the partner does not hold the log", "wait until it is mirrored");
  }
  if (link_up() && link_.status().beat_changed == Instant{}) {
    veto(false, "the partner has only just come", "wait for its first beats");
  }
  return result;
}

std::vector<Veto> PairNode::takeover_vetoes() const {
  std::vector<Veto> result;
  if (!entered_ && !waits_for_.empty()) {
    result.push_back(
        {.reason = "this node waits for a disk that it does not reach, or for the word "
                   "of its partner",
         .remedy = "repair the disk that duet failover show names, or start the partner"});
  }
  if (!options_.automatic_takeover) {
    result.push_back({.hard = false,
                      .reason = "automatic takeover is switched off",
                      .remedy = "switch it on in the configuration"});
  }
  if (!record_readable_) {
    result.push_back({.reason = "the owner record cannot be read",
                      .remedy =
                          "repair the path to the arbitration disk; while both nodes live it "
                          "moves to another disk by itself, or by duet failover arbitration"});
  }
  if (proposal_) {
    result.push_back({.reason = "the owner record is on its way to another disk",
                      .remedy = "wait a moment; if it lasts, repair the disk that was named"});
  }
  if (!members_[peer_number()].known || peer_members_ > members_[peer_number()].generation) {
    result.push_back({.reason = "this node does not know the partner's mailbox members",
                      .remedy = "repair this node's paths to the partner's disks"});
  }
  if (members_differ()) {
    result.push_back({.reason = "the nodes do not go by the same mailbox members",
                      .remedy = "make both configurations name the same disks: duet failover show "
                                "at each node names those that it goes by"});
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    const bool its = !record_ || record_->owners[filer].owner == peer_number();
    if (its && !reaches_disks_of(filer)) {
      result.push_back({.reason = "a disk of a filer that the partner serves cannot be reached, so "
                                  "that filer could not be taken over",
                        .remedy = "repair this node's path to it; duet failover show names it"});
    }
  }
  if (observer_.readable() != mailbox::Readable::kBoth) {
    result.push_back({.reason = "a mailbox member of the partner cannot be read",
                      .remedy = remedy(Alarm::kMemberLost)});
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (marked_by_partner(filer)) {
      result.push_back({.reason = "the partner acknowledged requests that this node does not hold",
                        .remedy = remedy(Alarm::kSoloPartner)});
    }
  }
  const auto forgets = [](const auto& each) { return !each.disk->features().survives_power_loss; };
  if (!options_.second_fence &&
      (std::ranges::any_of(disks_, forgets) || std::ranges::any_of(groups_.disks, forgets))) {
    result.push_back({.reason = "a disk's target forgets reservations and is the only fence",
                      .remedy = "configure a second fence, or use another target"});
  }
  if (groups_.groups != nullptr && groups_.groups->state() == GroupsState::kWaiting) {
    result.push_back(
        {.reason = "a redundancy group is not managed by this node",
         .remedy = "duet failover show names the disks out of reach, the trace (redundancy_group) "
                   "says what a group lacks; start the partner if it ran alone last"});
  }
  return result;
}

std::optional<std::string_view> PairNode::hard_veto(std::uint32_t filer) const {
  for (const Veto& veto : handover_vetoes(filer)) {
    if (veto.hard) {
      return veto.reason;
    }
  }
  return std::nullopt;
}

Status PairNode::start_handover(std::uint32_t filer) {
  if (filers_[filer].state != FilerState::kServing) {
    return Error{Errc::kRefused, "the filer is not served here"};
  }
  ask_handover(filer);
  return Ok{};
}

void PairNode::ask_handover(std::uint32_t filer) {
  handover_asked_[filer] = true;
  handover_until_[filer] = scheduler_.now() + options_.handover_patience;
}

Task<Status> PairNode::hand_over(std::uint32_t filer) {
  if (const std::optional<std::string_view> veto = hard_veto(filer)) {
    co_return Error{Errc::kRefused, *veto};
  }
  Slot& slot = filers_[filer];
  step("make ready");
  co_await slot.host->make_ready();
  if (slot.state != FilerState::kServing) {
    co_return Error{Errc::kFenced, "the filer was lost before it was handed over"};
  }
  const Instant silent = scheduler_.now();
  slot.state = FilerState::kHanding;
  slot.waits_for = "it is being handed over";
  describe();
  Status done = co_await settle(filer);
  if (done.ok()) {
    done = co_await ask_to_prepare(filer);
  }
  if (done.ok()) {
    done = co_await commit(filer);
  }
  if (!done.ok() && slot.state == FilerState::kHanding) {
    co_await serve_on(filer);
  }
  slot.handover_silence = scheduler_.now() - silent;
  co_return done;
}

Task<void> PairNode::rest(std::uint32_t filer) {
  Slot& slot = filers_[filer];
  if (slot.state != FilerState::kServing) {
    co_return;
  }
  slot.state = FilerState::kHanding;
  slot.waits_for = "this node stops";
  describe();
  // A node that may not answer now may not be able to write either: what is logged is enough.
  const bool may = guard_.may_answer() && !conflict_;
  Status rested = Error{Errc::kTryAgain, "this node is paused by its disks"};
  if (may) {
    rested = co_await settle(filer);
  }
  if (!rested.ok()) {
    tell(Severity::kWarning, rested.error().context,
         "the log holds what the last consistency point lacks; the next opening replays it", filer);
  }
  if (slot.state == FilerState::kHanding) {
    co_await lose(filer);
  }
}

Task<Status> PairNode::settle(std::uint32_t filer) {
  step("settle");
  Slot& slot = filers_[filer];
  slot.answering = false;
  slot.host->stop_answering();
  const Instant deadline = scheduler_.now() + options_.handover_patience;
  const Status settled = co_await slot.host->settle(deadline);
  if (slot.state != FilerState::kHanding) {
    co_return Error{Errc::kFenced, "the filer was lost while it was handed over"};
  }
  co_return settled;
}

Task<Status> PairNode::ask_to_prepare(std::uint32_t filer) {
  step("ask to prepare");
  prepared_.reset();
  const std::uint64_t number = ++questions_;
  const Status sent = send(PairVerb::kPrepare, filer, filers_[filer].epoch, number, 0);
  if (!sent.ok()) {
    co_return sent;
  }
  const Instant deadline = scheduler_.now() + options_.handover_patience;
  for (;;) {
    if (prepared_ && prepared_->number == number) {
      break;
    }
    const bool lost = filers_[filer].state != FilerState::kHanding;
    if (lost || conflict_ || scheduler_.now() >= deadline) {
      co_return Error{lost ? Errc::kFenced : Errc::kTryAgain, "the partner did not get ready"};
    }
    co_await sleep(scheduler_, std::chrono::milliseconds(2));
  }
  if (prepared_->answer != 0) {
    co_return Error{Errc::kRefused, "the partner refused to take the filer"};
  }
  co_return Ok{};
}

Task<Status> PairNode::commit(std::uint32_t filer) {
  step("commit");
  Slot& slot = filers_[filer];
  const std::uint64_t to_incarnation = prepared_->incarnation;
  Result<mailbox::OwnersRead> read = co_await arbiter_.read();
  if (!read.ok()) {
    co_return read.error();
  }
  if (slot.state != FilerState::kHanding || conflict_ || !is_mine(read.value().owners, filer)) {
    co_return Error{Errc::kTryAgain, "the owner record changed"};
  }
  mailbox::Owners to = read.value().owners;
  to[filer].owner = peer_number();
  to[filer].previous = my_number();
  to[filer].incarnation = to_incarnation;
  ++to[filer].epoch;
  const Status swapped = co_await arbiter_.swap(read.value(), to);
  if (!swapped.ok()) {
    if (swapped.error().code == Errc::kFenced) {
      conflict();
    }
    co_return swapped;
  }
  step("handed over");
  if (slot.state == FilerState::kHanding) {
    co_await lose(filer);
  }
  static_cast<void>(send(PairVerb::kCommitted, filer, to[filer].epoch, 0, 0));
  co_return Ok{};
}

// It was not handed over, or nobody knows: the record says, and until it does nobody answers.
Task<void> PairNode::serve_on(std::uint32_t filer) {
  const mailbox::OwnersRead record = co_await read_record_surely();
  Slot& slot = filers_[filer];
  while (conflict_) {
    co_await conflict_over_.wait();
  }
  if (slot.state != FilerState::kHanding) {
    co_return;
  }
  if (!is_mine(record.owners, filer)) {
    co_await lose(filer);
    co_return;
  }
  step("serve on");
  const Status resumed = co_await slot.host->resume();
  if (slot.state != FilerState::kHanding) {
    co_return;
  }
  slot.state = FilerState::kServing;
  slot.waits_for = "";
  slot.answering = resumed.ok();
  slot.failed = !resumed.ok();
}

Status PairNode::ask_for(std::uint32_t filer) {
  return send(PairVerb::kAskHandover, filer, 0, ++questions_, 0);
}

Result<PairNode::Confirmation> PairNode::prepare_forced_takeover() {
  if (partner_shows_life()) {
    return kPartnerLives;
  }
  force_number_ = static_cast<std::uint64_t>(scheduler_.now().since_start.count()) | 1U;
  return Confirmation{
      .number = force_number_,
      .warning =
          "Requests that the partner acknowledged alone are lost for good, and clients must "
          "mount the filer anew.  Make sure that the partner is powered off and stays so."};
}

Status PairNode::force_takeover(std::uint64_t confirmation) {
  if (force_number_ == 0 || confirmation != std::exchange(force_number_, 0)) {
    return Error{Errc::kRefused, "a forced takeover is asked for twice"};
  }
  if (partner_shows_life()) {
    return kPartnerLives;
  }
  force_ = true;
  return Ok{};
}

// The partner has settled a filer for this node.
Task<void> PairNode::prepare_for() {
  if (!prepare_) {
    co_return;
  }
  const PairMessage asked = *std::exchange(prepare_, std::nullopt);
  Slot& slot = filers_[asked.filer];
  bool ready =
      !conflict_ && !leaving_ && slot.state == FilerState::kAway && !gates_under_way(asked.filer);
  ready = ready && manages_groups_of(asked.filer);
  for (const PairDisk& each : disks_) {
    if (!ready || each.filer != asked.filer || each.grouped) {
      continue;
    }
    const Status joined =
        co_await shelf::join_disk(*each.disk, shelf::Reservation::kWriteExclusive);
    ready = joined.ok();
  }
  if (ready) {
    const Result<FilerFacts> facts = co_await slot.host->facts();
    ready = facts.ok() && facts.value().epoch == asked.epoch && facts.value().log_empty;
    if (ready && facts.value().membership_generation != members_[asked.filer].generation) {
      relearn_ = relearn_ || asked.filer == peer_number();
      ready = false;
    }
  }
  // Who leaves has not been told to give this filer away.
  slot.by_operator = (asked.flags & kMayTake) != 0;
  slot.expected = ready ? asked.epoch + 1 : 0;
  static_cast<void>(
      send(PairVerb::kPrepared, asked.filer, asked.epoch, asked.number, ready ? 0 : 1));
}

Status PairNode::send(PairVerb verb, std::uint32_t filer, std::uint64_t epoch, std::uint64_t number,
                      std::uint32_t answer) {
  PairMessage message;
  message.verb = static_cast<std::uint32_t>(verb);
  message.filer = filer;
  message.pair = options_.self.pair;
  message.incarnation = static_cast<std::uint64_t>(options_.self.incarnation);
  message.epoch = epoch;
  message.number = number;
  message.answer = answer;
  const bool sees = record_readable_ && !conflict_ && beater_.renewed().has_value();
  const bool sees_all = sees && observer_.readable() == mailbox::Readable::kBoth;
  const bool may_take = record_ && !halted_ && !leaving_;
  message.flags = (sees_all ? kSeesAllDisks : 0U) | (may_take ? kMayTake : 0U);
  for (std::uint32_t each = 0; each < kFilers; ++each) {
    message.flags |= sees && reaches_disks_of(each) ? sees_filer(each) : 0U;
  }
  return link_.send(interconnect::Channel::kFailover, bytes_of(message));
}

void PairNode::on_message(ConstBytes bytes) {
  if (bytes.size() == sizeof(PlaceMessage)) {
    on_place_message(bytes);
    return;
  }
  if (bytes.size() == sizeof(KnowledgeMessage)) {
    on_knowledge_message(bytes);
    return;
  }
  if (bytes.size() != sizeof(PairMessage)) {
    return;
  }
  const auto message = load<PairMessage>(bytes, 0);
  if (message.magic != kPairMagic || message.version != kPairVersion ||
      message.pair != options_.self.pair || message.filer >= kFilers) {
    return;
  }
  peer_flags_ = message.flags;
  peer_incarnation_ = message.incarnation;
  switch (PairVerb{message.verb}) {
    case PairVerb::kState:
      peer_place_ = message.epoch;
      peer_members_ = message.number;
      break;
    case PairVerb::kCommitted:  // the next look finds it
      break;
    case PairVerb::kAskHandover:
      ask_handover(message.filer);
      break;
    case PairVerb::kAskTakeover:
      asked_ = true;
      asked_at_ = scheduler_.now();
      break;
    case PairVerb::kPrepare:
      prepare_ = message;
      break;
    case PairVerb::kPrepared:
      prepared_ = message;
      break;
    case PairVerb::kAskQuiet:
      tell_whether_quiet(message);
      break;
    case PairVerb::kQuiet:
      quiet_ = message;
      break;
    default:
      break;
  }
}

void PairNode::on_link(const interconnect::LinkStatus& status) {
  if (!interconnect::connected(status.state)) {
    peer_flags_ = 0;
  }
}

}  // namespace duet::failover
