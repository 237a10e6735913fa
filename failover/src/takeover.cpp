// Takeover (rule 8), step by step; finish_opening() in opening.cpp is its second half.

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

namespace {

constexpr int kFenceTries = 20;
constexpr std::uint64_t kBackOffMax = 5;  // 2^5 times the first wait: about a minute

}  // namespace

// Of no filer, in a pair with redundancy groups: a partner that serves none is shut out of them.
Task<void> PairNode::take_over(bool forced, bool arbitrated) {
  if (!record_) {
    co_return;
  }
  Claim claim;
  claim.takeover = claim.hard = true;
  claim.forced = forced;
  claim.arbitrated = arbitrated;
  claim.always_wait = forced || arbitrated;
  bool any = false;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    const bool its = record_->owners[filer].owner == peer_number();
    claim.filers[filer] = its && filers_[filer].state == FilerState::kAway;
    any = any || claim.filers[filer];
  }
  if (!any && !groups_need_partner()) {
    co_return;
  }
  taking_ = true;
  describe();
  claim.begun = scheduler_.now();
  const Instant last_sign = observer_.changed();
  const bool over = co_await wait_out_lease(claim);
  if (!over) {
    taking_ = false;
    co_return;
  }
  if (!any) {
    co_await exclude(claim);
    taking_ = false;
    co_return;
  }
  const Status swapped = co_await swap_in(claim);
  if (!swapped.ok()) {
    taking_ = false;
    may_take_at_ = scheduler_.now() + options_.retry;
    co_return;
  }
  tell(Severity::kCritical, "takeover of the partner's filers", "");
  claim.phases.filers = claim.filers;
  claim.begun = scheduler_.now();
  claim.phases.detect = claim.begun - last_sign;
  co_await finish_opening(claim);
  co_await give_up(claim);
  taking_ = false;
  may_take_at_ = scheduler_.now() + 2 * options_.retry;
  if (claim.filers == FilerSet{}) {
    // Each disturbs a partner that may live, and what spoke against it seldom passes by itself.
    may_take_at_ = scheduler_.now() + 2 * back_off(refused_takeovers_);
    ++refused_takeovers_;
    co_return;
  }
  refused_takeovers_ = 0;
  force_ = force_ && !forced;
  claim.phases.filers = claim.filers;
  last_takeover_ = claim.phases;
  tell(Severity::kWarning, "the partner's filers are served here",
       "repair the partner, start it, then duet giveback");
}

// Nothing is opened; but what this node writes waits for it no more.
Task<void> PairNode::exclude(Claim& claim) {
  claim.beat = observer_.snapshot();
  const Status shut = co_await fence(claim);
  if (!shut.ok()) {
    may_take_at_ = scheduler_.now() + 2 * back_off(refused_takeovers_);
    ++refused_takeovers_;
    tell(Severity::kCritical, shut.error().context,
         "duet failover show names the disks out of reach, the trace (redundancy_group) "
         "says what a group lacks; it is tried again");
    co_return;
  }
  co_await second_wait(claim);
  shut_out_of_groups(claim);
  may_take_at_ = scheduler_.now() + 2 * options_.retry;
  refused_takeovers_ = 0;
  tell(Severity::kWarning, "the partner is shut out of the redundancy groups",
       "repair the partner and start it");
}

// Until the partner's mailbox did not change for its lease and a tenth.  False: it lives, or the
// evidence is gone.
Task<bool> PairNode::wait_out_lease(Claim& claim) {
  claim.beat = observer_.snapshot();
  claim.before = record_->owners;
  if (claim.arbitrated) {
    step("arbitrate");
    co_return true;  // it lives: second_wait() waits for the end of what it may answer
  }
  step("wait out the lease");
  Duration waited{};
  for (;;) {
    const Evidence now = evidence();
    const bool dead = now.words == WordsEvidence::kDead;
    const bool blind = claim.forced && waited > 2 * observer_.wait_time();
    claim.known_dead = dead;
    for (const mailbox::OwnerEntry& entry : record_->owners) {
      const bool its = entry.owner == peer_number();
      claim.known_dead = claim.known_dead && (!its || gone(entry.incarnation));
    }
    if (dead || observer_.lease_is_over() || blind) {
      co_return !conflict_ && (claim.forced || decide(now).action == Action::kTakeOver);
    }
    co_await sleep(scheduler_, options_.look);
    waited += options_.look;
    co_await look();
    const bool still =
        claim.forced ? !partner_shows_life() : decide(evidence()).action == Action::kTakeOver;
    if (!still || conflict_ || halted_) {
      co_return false;
    }
  }
}

// A takeover shuts the partner out of every shared disk that it can reach; an opening at home out
// of the filer's.  What must not fail are the disks of what is claimed, each for its own filer, and
// the owner record's: from a filer that is served here the partner was shut out when that was
// opened.
Task<Status> PairNode::fence(Claim& claim) {
  while (fencing_) {
    co_await sleep(scheduler_, std::chrono::milliseconds(2));
  }
  fencing_ = true;
  const Status fenced = co_await fence_disks(claim);
  fencing_ = false;
  co_return fenced;
}

Task<Status> PairNode::fence_disks(Claim& claim) {
  step("fence");
  const FilerSet claimed = claim.filers;
  const bool several = claimed[0] && claimed[1];
  Status last = Ok{};
  claim.partner = newest_partner();
  claim.left.clear();
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const std::uint32_t filer = disks_[i].filer;
    const bool record = claim.takeover && claimed != FilerSet{} && i == arbitration_;
    if (disks_[i].grouped && !record) {
      const Status fenced = co_await fence_for_group(*disks_[i].disk, claim.left);
      if (!fenced.ok()) {
        co_return fenced;
      }
      continue;
    }
    if (!claim.takeover && !claimed[filer]) {
      continue;
    }
    const bool away = !disks_[i].disk->health().connected;
    Status fenced = Error{Errc::kIo, "a disk of the filer cannot be reached, so not be fenced"};
    // One filer's disk that is away holds up no other filer.
    if (!away || record || (claim.filers[filer] && !several)) {
      fenced = co_await fence_one(*disks_[i].disk);
    }
    if (fenced.ok() || (!record && !claim.filers[filer])) {
      continue;
    }
    if (record || fenced.error().code == Errc::kFenced) {
      co_return fenced;
    }
    fail(claim, filer, fenced.error());
    last = fenced;
  }
  for (const GroupDisk& each : groups_.disks) {
    const Status fenced = co_await fence_for_group(*each.disk, claim.left);
    if (!fenced.ok()) {
      co_return fenced;
    }
  }
  if (claim.filers == FilerSet{} && claimed != FilerSet{}) {
    co_return last;
  }
  if (!claim.forced && !claim.known_dead && reaches_lease_of_partner(claim.left)) {
    co_return Error{Errc::kIo, "the partner may renew its lease on a disk that cannot be reached"};
  }
  const bool ends = claim.takeover || groups_.groups != nullptr;
  if (ends && fence_partner && !claim.known_dead) {
    const Status ended = fence_partner();
    if (!ended.ok()) {
      co_return ended;
    }
  }
  co_return Ok{};
}

// One that is away is left, and the group goes on without it, if it can.  kFenced: this node was
// shut out itself.
Task<Status> PairNode::fence_for_group(shelf::SharedDisk& disk,
                                       std::vector<shelf::SharedDisk*>& left) {
  Status fenced = Error{Errc::kIo, "a disk of a redundancy group cannot be reached"};
  if (disk.health().connected) {
    fenced = co_await fence_one(disk);
  }
  if (!fenced.ok() && fenced.error().code != Errc::kFenced) {
    left.push_back(&disk);
    co_return Ok{};
  }
  co_return fenced;
}

Task<Status> PairNode::fence_one(shelf::SharedDisk& disk) {
  Status fenced = Error{Errc::kTryAgain, ""};
  for (int i = 0; i < kFenceTries; ++i) {
    fenced = co_await shelf::fence_disk(disk, shelf::Reservation::kWriteExclusive,
                                        options_.second_fence);
    if (fenced.ok()) {
      break;
    }
    if (fenced.error().code == Errc::kFenced) {
      // A claimant that lost removed this node's key, or this one lost: rule 10 finds out.
      conflict();
      while (conflict_) {
        co_await conflict_over_.wait();
      }
      if (halted_) {
        break;
      }
    } else if (fenced.error().code != Errc::kTryAgain) {
      break;
    }
    co_await sleep(scheduler_, std::chrono::milliseconds(10));
  }
  co_return fenced;
}

// Whatever the partner answered under a lease that it renewed after the wait began is over before
// its log is looked at.  Of a process that is known to be dead nothing is left; a newer one of its
// node, whose beats move, owns nothing.
Task<void> PairNode::second_wait(Claim& claim) {
  claim.fenced = scheduler_.now();
  if (claim.known_dead && !claim.always_wait) {
    co_return;
  }
  co_await observer_.look(options_.beat.lease);
  if (claim.always_wait || observer_.moved_since(claim.beat)) {
    step("second wait");
    co_await Sleep(scheduler_, claim.fenced + observer_.wait_time());
  }
}

// Now, and not before: until its lease ended the partner told clients of records that a copy taken
// earlier would lack.
void PairNode::cut_partner(const Claim& claim) {
  step("cut the partner off the log");
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer]) {
      filers_[filer].host->cut_partner();
      filers_[filer].admitted = 0;
    }
  }
}

Duration PairNode::back_off(std::uint64_t refusals) const {
  return options_.retry * (1U << std::min(refusals, kBackOffMax));
}

// Ownership goes back to the previous owner, who alone may have what is missing here.  Not to the
// filer's home: that may be this node.
Task<void> PairNode::refuse(std::uint32_t filer, const Error& why) {
  step("refuse");
  const std::uint64_t epoch = filers_[filer].epoch;
  co_await close(filer, why.context);
  // It may come back at once, from a partner that cannot open it either.
  filers_[filer].retry_at = scheduler_.now() + back_off(filers_[filer].refusals);
  ++filers_[filer].refusals;
  Result<mailbox::OwnersRead> read = co_await arbiter_.read();
  if (read.ok()) {
    mailbox::Owners to = read.value().owners;
    mailbox::OwnerEntry& entry = to[filer];
    if (entry.owner == my_number() && entry.epoch == epoch) {
      entry.owner = peer_number();
      entry.previous = my_number();
      entry.incarnation = 0;
      ++entry.epoch;
      // If this fails the filer stays with this node, which opens it again and finds out again.
      const Status given_back = co_await arbiter_.swap(read.value(), to);
      step(given_back.ok() ? "gave ownership back" : "kept ownership");
    }
  }
  tell(Severity::kCritical, why.context,
       why.code == Errc::kIo ? "repair its disks or the paths to them (duet failover show names "
                               "them): it is tried again"
                             : "start the previous owner again, or see duet takeover --force",
       filer);
}

}  // namespace duet::failover
