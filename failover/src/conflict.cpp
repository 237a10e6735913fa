// A reservation conflict (rule 10), and what is left to do when a filer is lost.
//
//   refused --> hold answers, beats, writes --> own I/O ends --> read the record
//     --> mine still: register, read again, go on      --> another's: lose()

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

void PairNode::conflict() {
  if (conflict_ || halted_) {
    return;
  }
  conflict_ = true;
  guard_.hold();
  beater_.hold();
  for (const auto& gate : gates_) {
    gate->hold();
  }
  for (const auto& gate : virtual_gates_) {
    gate->hold();
  }
  scope_.spawn(resolve_conflict());
}

Task<void> PairNode::resolve_conflict() {
  co_await yield(scheduler_);  // not inside the completion that found it
  step("conflict");
  tell(Severity::kWarning, "a disk refused this node: its key was removed",
       "none if a takeover is under way; else look who else uses these disks");
  if (groups_.groups != nullptr) {
    // Whoever removed it carries out what this process meant to write, and what it still writes
    // must not come behind that: there is no way back but a new process.
    halt();
    conflict_ = false;
    conflict_over_.wake_all();
    co_return;
  }
  co_await beater_.quiet();
  co_await note_writer_.quiet();
  for (const auto& gate : gates_) {
    if (!gate->is_open()) {
      co_await gate->quiet();
    }
  }
  mailbox::OwnersRead record = co_await read_record_surely();
  bool lost = false;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (filers_[filer].state != FilerState::kAway && !is_mine(record.owners, filer)) {
      co_await lose(filer);
      lost = true;
    }
  }
  if (hosts_any()) {
    const bool registered = co_await register_again(true);
    if (registered) {
      record = co_await read_record_surely();
      for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
        if (filers_[filer].state != FilerState::kAway && !is_mine(record.owners, filer)) {
          co_await lose(filer);
          lost = true;
        }
      }
    }
  }
  if (!hosts_any() || lost) {
    // Whoever fences verifies that no key but its own is there: not in its way.
    co_await sleep(scheduler_, 2 * options_.beat.lease);
  }
  for (;;) {
    const bool registered = co_await register_again(false);
    if (registered || halted_) {
      break;
    }
    co_await sleep(scheduler_, options_.retry);
  }
  conflict_ = false;
  if (halted_) {
    conflict_over_.wake_all();
    co_return;
  }
  step("conflict over");
  for (const auto& gate : gates_) {
    gate->resume();
  }
  beater_.resume();
  guard_.release();
  conflict_over_.wake_all();
}

Task<mailbox::OwnersRead> PairNode::read_record_surely() {
  for (;;) {
    Result<mailbox::OwnersRead> read = co_await arbiter_.read();
    if (read.ok()) {
      co_return std::move(read.value());
    }
    co_await sleep(scheduler_, options_.look);
  }
}

// A disk that is away is left out: who writes there when it is back is refused, and comes here
// again. False: a disk could not be reached.  REQUIRES: nothing of this node is under way.
Task<bool> PairNode::register_again(bool kept_only) {
  bool all = true;
  for (const PairDisk& each : disks_) {
    const bool kept = filers_[each.filer].state != FilerState::kAway;
    if ((kept_only && !kept) || !each.disk->health().connected) {
      continue;
    }
    const Status registered = co_await each.disk->register_key();
    if (!registered.ok() && registered.error().code == Errc::kFenced) {
      halt();
      co_return false;
    }
    all = all && registered.ok();
  }
  co_return all;
}

// The record names another, or the filer failed.  No flush: what is in memory is nobody's image
// now.
Task<void> PairNode::lose(std::uint32_t filer) {
  step("lose");
  Slot& slot = filers_[filer];
  slot.answering = false;
  end_gates(filer);
  if (slot.state == FilerState::kOpening || slot.state == FilerState::kEnding) {
    slot.lost = true;
    co_return;  // who opens or ends it finds its disks ended
  }
  slot.state = FilerState::kEnding;
  co_await slot.host->abandon();
  co_await gates_quiet(filer);
  slot.state = FilerState::kAway;
  slot.epoch = 0;
  slot.failed = false;
  slot.waits_for = "it was lost";
  tell(Severity::kError, "this node does not serve the filer any more",
       "see duet failover show; giveback when this node is well", filer);
}

// A newer process of this node is there; this one is the past.
void PairNode::halt() {
  if (halted_) {
    return;
  }
  step("halt");
  halted_ = true;
  guard_.hold();
  beater_.hold();
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    filers_[filer].answering = false;
    end_gates(filer);
  }
  tell(Severity::kCritical,
       conflict_ ? "this process was shut out of its disks: it ends, and another begins"
                 : "a newer process of this node is there: this one ends",
       "");
  if (on_halt) {
    on_halt();
  }
}

}  // namespace duet::failover
