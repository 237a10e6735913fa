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
  Status opened = co_await join_disks(claim);
  if (opened.ok()) {
    const Result<bool> finished = co_await last_opening_finished(claim);
    if (finished.ok()) {
      claim.hard = claim.always_wait = !finished.value();
      opened = co_await finish_opening(claim);
    } else {
      opened = finished.error();
    }
  }
  if (opened.ok()) {
    co_return;
  }
  const bool no_log = opened.error().code == Errc::kForeign;
  if (no_log && !observer_.stale() && observer_.readable() != mailbox::Readable::kNone) {
    co_await refuse(claim, opened.error().context);
  } else {
    co_await close(claim, opened.error().context);
  }
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
  Status opened = co_await join_disks(claim);
  if (opened.ok()) {
    opened = co_await finish_opening(claim);
  }
  if (!opened.ok()) {
    co_await close(claim, opened.error().context);
  }
  co_return opened;
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
      filers_[filer].failed = false;
      filers_[filer].waits_for = "it is being opened";
    }
  }
  co_return Ok{};
}

// My key is there, those of my older incarnations are not, and nothing of theirs is under way.
Task<Status> PairNode::join_disks(const Claim& claim) {
  step("join disks");
  for (const PairDisk& each : disks_) {
    if (!claim.filers[each.filer]) {
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
    const Status raised = co_await each.disk->raise_epoch(filers_[each.filer].epoch);
    if (!raised.ok() && raised.error().code != Errc::kNotSupported) {
      co_return raised;
    }
  }
  co_return Ok{};
}

Task<Status> PairNode::finish_opening(Claim& claim) {
  if (claim.hard) {
    const Status fenced = co_await fence(claim);
    if (!fenced.ok()) {
      co_return fenced;
    }
    co_await second_wait(claim);
    cut_partner(claim);
  }
  claim.phases.fence = scheduler_.now() - claim.begun;
  const Status raised = co_await raise_epochs(claim);
  if (!raised.ok()) {
    co_return raised;
  }
  std::array<bool, kFilers> copy_allowed{};
  const Status again = co_await read_again(claim, copy_allowed);
  if (!again.ok()) {
    co_return again;
  }
  const Instant replaying = scheduler_.now();
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer]) {
      const Status replayed = co_await replay(claim, filer, copy_allowed[filer]);
      if (!replayed.ok()) {
        co_return replayed;
      }
    }
  }
  const Instant opened = scheduler_.now();
  claim.phases.replay = opened - replaying;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer]) {
      step("take addresses");
      const Status taken = co_await filers_[filer].host->take_addresses();
      if (!taken.ok()) {
        co_return taken;
      }
    }
  }
  const Instant announced = scheduler_.now();
  claim.phases.address = announced - opened;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    Slot& slot = filers_[filer];
    if (claim.filers[filer]) {
      // Lost while it was opened: the gate is ended, and the next look would find it.
      if (slot.state != FilerState::kOpening) {
        co_return Error{Errc::kFenced, "the filer was lost while it was opened"};
      }
      step("serve");
      slot.state = FilerState::kServing;
      slot.answering = true;
      slot.waits_for = "";
      slot.host->serve();
    }
  }
  claim.phases.serve = scheduler_.now() - announced;
  co_return Ok{};
}

// Rule 8: behind the fence all is read again: owner record, mailbox, marks on every member, root.
Task<Status> PairNode::read_again(Claim& claim, std::array<bool, kFilers>& copy_allowed) {
  step("read again");
  Result<mailbox::OwnersRead> read = co_await arbiter_.read();
  if (!read.ok()) {
    co_return read.error();
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (claim.filers[filer] && !is_mine(read.value().owners, filer)) {
      co_return Error{Errc::kFenced, "another node claimed the filer"};
    }
  }
  record_ = std::move(read.value());
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claim.filers[filer]) {
      continue;
    }
    const mailbox::MarkReading marks = co_await marks_[filer]->read();
    copy_allowed[filer] = claim.forced || (marks.quorum && !marks.mark);
    const Result<FilerFacts> found = co_await filers_[filer].host->facts();
    if (!found.ok()) {
      co_return found.error();
    }
    const FilerFacts& facts = found.value();
    if (claim.takeover && facts.membership_generation > options_.membership_generation) {
      co_return Error{Errc::kRefused, "the partner has newer mailbox members"};
    }
    if (facts.own_log || facts.log_empty || (facts.copy && copy_allowed[filer]) || claim.forced) {
      continue;
    }
    if (marks.mark) {
      co_return Error{Errc::kForeign, "a solo mark: only the previous owner has the last requests"};
    }
    if (!marks.quorum) {
      co_return Error{Errc::kIo, "too few members to know whether there is a solo mark"};
    }
    co_return Error{Errc::kForeign, "neither log of this filer here may be replayed"};
  }
  co_return Ok{};
}

Task<Status> PairNode::replay(Claim& claim, std::uint32_t filer, bool copy_allowed) {
  step("replay");
  Slot& slot = filers_[filer];
  if (slot.state != FilerState::kOpening) {
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

// The claim failed; what it began ends, and is begun anew after a while.
Task<void> PairNode::close(const Claim& claim, std::string_view why) {
  step("close");
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claim.filers[filer] || filers_[filer].state == FilerState::kAway) {
      continue;
    }
    Slot& slot = filers_[filer];
    slot.answering = false;
    slot.state = FilerState::kEnding;
    end_gates(filer);
    co_await slot.host->abandon();
    co_await gates_quiet(filer);
    slot.state = FilerState::kAway;
    slot.epoch = 0;
    slot.retry_at = scheduler_.now() + options_.retry;
    slot.waits_for = why;
    tell(Severity::kError, why, "it is tried again; see duet status", filer);
  }
}

}  // namespace duet::failover
