// Opening a filer (rule 3): at home after a restart, after a handover, and the second half of a
// takeover.
//
//   swap_in -> join_disks -> [last opening not finished: fence -> second_wait -> cut_partner]
//           -> raise_epochs -> read_again -> replay -> take_addresses -> serve

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

Task<void> PairNode::open_mine(FilerSet filers) {
  step("open at home");
  Claim claim;
  claim.filers = filers;
  claim.begun = scheduler_.now();
  const Status swapped = co_await swap_in(claim);
  if (!swapped.ok()) {
    co_return;
  }
  Status joined = co_await join_disks(claim);
  if (joined.ok()) {
    const Result<bool> finished = co_await last_opening_finished(claim);
    if (finished.ok() && !finished.value()) {
      claim.quiet = co_await partner_is_quiet(claim.filers);
      claim.hard = claim.always_wait = !claim.quiet;
    } else if (!finished.ok()) {
      joined = finished.error();
    }
  }
  if (joined.ok()) {
    co_await finish_opening(claim);
  } else {
    fail_all(claim, joined.error());
  }
  co_await give_up(claim);
}

Task<Status> PairNode::open_handed_over(std::uint32_t filer) {
  step("open what was handed over");
  Claim claim;
  claim.filers[filer] = true;
  claim.before = record_->owners;
  claim.begun = scheduler_.now();
  co_await gates_quiet(filer);
  filers_[filer].state = FilerState::kOpening;
  filers_[filer].epoch = record_->owners[filer].epoch;
  filers_[filer].failed = filers_[filer].lost = false;
  const Status joined = co_await join_disks(claim);
  if (joined.ok()) {
    co_await finish_opening(claim);
  } else {
    fail_all(claim, joined.error());
  }
  if (claim.failed[filer]) {
    co_await close(filer, claim.failed[filer]->context);
    co_return *claim.failed[filer];
  }
  co_return Ok{};
}

void PairNode::fail(Claim& claim, std::uint32_t filer, const Error& error) {
  claim.filers[filer] = false;
  claim.failed[filer] = error;
}

void PairNode::fail_all(Claim& claim, const Error& error) {
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer]) {
      fail(claim, filer, error);
    }
  }
}

// Owner, incarnation and epoch + 1 of the claimed filers, in one swap.
Task<Status> PairNode::swap_in(Claim& claim) {
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer]) {
      DUET_CHECK(filers_[filer].state == FilerState::kAway);
      co_await gates_quiet(filer);  // invariant (4)
    }
  }
  step("swap ownership");
  Result<mailbox::OwnersRead> read = co_await arbiter_.read();
  if (!read.ok()) {
    co_return read.error();
  }
  const std::uint32_t expected_owner = claim.takeover ? peer_number() : my_number();
  mailbox::Owners to = read.value().owners;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claim.filers[filer]) {
      continue;
    }
    mailbox::OwnerEntry& entry = to[filer];
    const bool changed = claim.takeover && entry != claim.before[filer];
    if (entry.owner != expected_owner || changed) {
      co_return Error{Errc::kOutOfSync, "the owner record changed"};
    }
    entry.previous = entry.owner == my_number() ? entry.previous : entry.owner;
    entry.owner = my_number();
    entry.incarnation = static_cast<std::uint64_t>(options_.self.incarnation);
    ++entry.epoch;
  }
  claim.before = read.value().owners;
  const Status swapped = co_await arbiter_.swap(read.value(), to);
  if (!swapped.ok()) {
    if (swapped.error().code == Errc::kFenced) {
      conflict();
    }
    co_return swapped;
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer]) {
      filers_[filer].state = FilerState::kOpening;
      filers_[filer].epoch = to[filer].epoch;
      filers_[filer].failed = filers_[filer].lost = false;
      filers_[filer].waits_for = "it is being opened";
      filers_[filer].by_operator = false;
    }
  }
  co_return Ok{};
}

// My key is there, those of my older incarnations are not, and nothing of theirs is under way.
Task<Status> PairNode::join_disks(const Claim& claim) {
  step("join disks");
  for (const PairDisk& each : disks_) {
    // A group's disk was joined at the start, and whose key was removed since then ends.
    if (!claim.filers[each.filer] || each.grouped) {
      continue;
    }
    const Status joined =
        co_await shelf::join_disk(*each.disk, shelf::Reservation::kWriteExclusive);
    if (!joined.ok()) {
      co_return joined;
    }
  }
  co_return Ok{};
}

// The root's epoch is the one that the record had before this claim: else an opening did not end
// with its CP, and whoever began it may still have writes under way.
Task<Result<bool>> PairNode::last_opening_finished(const Claim& claim) {
  bool finished = true;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claim.filers[filer]) {
      continue;
    }
    const Result<FilerFacts> facts = co_await filers_[filer].host->facts();
    if (!facts.ok()) {
      co_return facts.error();
    }
    finished = finished && facts.value().epoch == claim.before[filer].epoch;
  }
  co_return finished;
}

Task<Status> PairNode::raise_epochs(const Claim& claim) {
  step("raise epochs");
  for (const PairDisk& each : disks_) {
    if (!claim.filers[each.filer]) {
      continue;
    }
    if (each.grouped && !each.disk->health().connected) {
      continue;  // the filer lives without it; its marks count by quorum
    }
    const Status raised = co_await each.disk->raise_epoch(filers_[each.filer].epoch);
    if (!raised.ok() && raised.error().code == Errc::kFenced && each.grouped) {
      conflict();  // by a fence since it was joined, which the group need not have met
    }
    if (!raised.ok() && raised.error().code != Errc::kNotSupported) {
      co_return raised;
    }
  }
  co_return Ok{};
}

// What fails of one filer does not keep the other from being served.
Task<void> PairNode::finish_opening(Claim& claim) {
  Status ready = co_await shut_out(claim);
  if (ready.ok()) {
    ready = co_await read_again(claim);
  }
  if (!ready.ok()) {
    fail_all(claim, ready.error());
    co_return;
  }
  co_await groups_ready(claim);
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claim.filers[filer]) {
      continue;
    }
    bool copy_allowed = false;
    const Instant replaying = scheduler_.now();
    Status opened = co_await may_replay(claim, filer, copy_allowed);
    if (opened.ok()) {
      opened = co_await replay(claim, filer, copy_allowed);
    }
    const Instant announcing = scheduler_.now();
    claim.phases.replay += announcing - replaying;
    if (opened.ok()) {
      step("take addresses");
      opened = co_await filers_[filer].host->take_addresses();
    }
    claim.phases.address += scheduler_.now() - announcing;
    if (opened.ok()) {
      opened = serve(filer);
    }
    if (!opened.ok()) {
      fail(claim, filer, opened.error());
    }
  }
  claim.phases.serve = scheduler_.now() - claim.begun;
}

// From here on nobody else writes to the claimed filers' disks, nor answers from what is on them.
Task<Status> PairNode::shut_out(Claim& claim) {
  if (claim.hard) {
    const Status fenced = co_await fence(claim);
    if (!fenced.ok()) {
      co_return fenced;
    }
    co_await second_wait(claim);
    shut_out_of_groups(claim);
  }
  if (claim.hard || claim.quiet) {
    cut_partner(claim);
  }
  claim.phases.fence = scheduler_.now() - claim.begun;
  co_return co_await raise_epochs(claim);
}

Status PairNode::serve(std::uint32_t filer) {
  Slot& slot = filers_[filer];
  // Lost while it was opened: its gates have ended already.
  if (slot.state != FilerState::kOpening || slot.lost) {
    return Error{Errc::kFenced, "the filer was lost while it was opened"};
  }
  step("serve");
  slot.state = FilerState::kServing;
  slot.answering = true;
  slot.refusals = 0;
  slot.waits_for = "";
  slot.host->serve();
  return Ok{};
}

// Rule 8: behind the fence all is read again: owner record, mailbox, marks on every member, root.
Task<Status> PairNode::read_again(Claim& claim) {
  step("read again");
  Result<mailbox::OwnersRead> read = co_await arbiter_.read();
  if (!read.ok()) {
    co_return read.error();
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer] && !is_mine(read.value().owners, filer)) {
      fail(claim, filer, Error{Errc::kFenced, "another node claimed the filer"});
    }
  }
  record_ = std::move(read.value());
  co_return Ok{};
}

// Whether there is a log here that may be replayed: this node's own, or the copy, if no mark
// forbids it.
Task<Status> PairNode::may_replay(Claim& claim, std::uint32_t filer, bool& copy_allowed) {
  const mailbox::MarkReading marks = co_await marks_[filer]->read();
  copy_allowed = claim.forced || (marks.quorum && !marks.mark);
  const Result<FilerFacts> found = co_await filers_[filer].host->facts();
  if (!found.ok()) {
    co_return found.error();
  }
  const FilerFacts& facts = found.value();
  // Rule 2: other members than those that were watched, and asked for marks, count by now.
  if (!members_[filer].known || facts.membership_generation != members_[filer].generation) {
    relearn_ = relearn_ || filer == peer_number();
    co_return Error{claim.takeover ? Errc::kRefused : Errc::kTryAgain,
                    "the mailbox members are not those that this node knows"};
  }
  if (facts.own_log || facts.log_empty || (facts.copy && copy_allowed) || claim.forced) {
    co_return Ok{};
  }
  if (marks.mark) {
    co_return Error{Errc::kForeign, "a solo mark: only the previous owner has the last requests"};
  }
  if (!marks.quorum) {
    co_return Error{Errc::kIo, "too few members to know whether there is a solo mark"};
  }
  co_return Error{Errc::kForeign, "neither log of this filer here may be replayed"};
}

Task<Status> PairNode::replay(Claim& claim, std::uint32_t filer, bool copy_allowed) {
  step("replay");
  Slot& slot = filers_[filer];
  if (slot.state != FilerState::kOpening || slot.lost) {
    co_return Error{Errc::kFenced, "the filer was lost while it was opened"};
  }
  open_gates(filer, slot.epoch);
  Opening opening;
  opening.epoch = slot.epoch;
  opening.copy_allowed = copy_allowed;
  opening.forced = claim.forced;
  const Result<Opened> opened = co_await slot.host->open(opening);
  if (!opened.ok()) {
    co_return opened.error();
  }
  co_return Ok{};
}

// What could not be opened ends here.  A filer without a log is the partner's to open, if that
// lives; what a takeover could not open goes back in any case.
Task<void> PairNode::give_up(const Claim& claim) {
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claim.failed[filer]) {
      continue;
    }
    const Error error = *claim.failed[filer];
    const bool no_log = error.code == Errc::kForeign || error.code == Errc::kRefused;
    const bool partner_lives =
        !observer_.stale() && observer_.readable() != mailbox::Readable::kNone;
    if (claim.takeover || (no_log && partner_lives)) {
      co_await refuse(filer, error);
    } else {
      co_await close(filer, error.context);
    }
  }
}

// What was begun ends, and is begun anew after a while.
Task<void> PairNode::close(std::uint32_t filer, std::string_view why) {
  Slot& slot = filers_[filer];
  if (slot.state == FilerState::kAway) {
    co_return;
  }
  step("close");
  slot.answering = false;
  slot.state = FilerState::kEnding;
  end_gates(filer);
  co_await slot.host->abandon();
  co_await gates_quiet(filer);
  slot.state = FilerState::kAway;
  slot.epoch = 0;
  slot.lost = false;
  slot.retry_at = scheduler_.now() + options_.retry;
  slot.waits_for = why;
  tell(Severity::kError, why, "it is tried again; see duet status", filer);
}

}  // namespace duet::failover
