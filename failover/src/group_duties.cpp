// What differs in a pair that has redundancy groups (shared_groups.h says why).
//
//   a dead partner is fenced also when it serves nothing     take_over() of no filer
//   ... or when the loop itself waits for a group, or no      watch_groups() -> exclude()
//       takeover is possible; and one that does not manage
//   no log goes solo before that                             may_go_solo()
//   both live and do not hear each other: one goes on        must_arbitrate() -> take_over()
//   a fence is one for the groups, too                       shut_out_of_groups() -> groups_ready()
//   ... so none where asking is enough                       partner_is_quiet()

#include <algorithm>

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

namespace {

// Intents of the dead are carried out within a fraction of a second.
constexpr Duration kGroupsReadyWithin = std::chrono::seconds(5);
// A partner that lives manages a group within this, or is not waited for.
constexpr Duration kManagesWithin = std::chrono::seconds(30);

// Silent everywhere for its lease and longer; not only unreachable.
bool is_dead(const Evidence& partner) {
  const bool silent =
      partner.mailbox == MailboxEvidence::kBoth && partner.beat == BeatEvidence::kStale;
  return partner.link == LinkEvidence::kLost && (silent || partner.words == WordsEvidence::kDead);
}

}  // namespace

bool PairNode::groups_need_partner() const {
  return groups_.groups != nullptr && groups_.groups->state() != GroupsState::kAlone;
}

// Node a is a few beats ahead of node b.  Who has lost the disks, too, is silent there and not
// asked.
bool PairNode::must_arbitrate() const {
  if (groups_.groups == nullptr) {
    return false;
  }
  const GroupsState state = groups_.groups->state();
  const bool waits = state == GroupsState::kWaiting && groups_.groups->was_last_alone();
  if (state != GroupsState::kShared && !waits) {
    return false;
  }
  const Evidence now = evidence();
  return now.link == LinkEvidence::kLost && now.mailbox == MailboxEvidence::kBoth &&
         now.beat == BeatEvidence::kChanging && now.mirror == MirrorEvidence::kSynced &&
         record_readable_ && guard_.may_answer() && !conflict_ && !leaving_ && !members_differ();
}

// Incarnations of a node grow.  One that has not beaten has not begun to manage the groups (see
// begin_groups()): it finds out itself that a fence removed keys while it joined the disks.
std::uint64_t PairNode::newest_partner() const {
  std::uint64_t newest = 0;
  if (observer_.beat()) {
    newest = std::max(newest, observer_.beat()->header.incarnation);
  }
  if (words_) {
    newest = std::max(newest, words_->dead_incarnation);
  }
  for (const mailbox::OwnerEntry& entry : record_ ? record_->owners : mailbox::Owners{}) {
    newest = std::max(newest, entry.owner == peer_number() ? entry.incarnation : 0);
  }
  return newest;
}

// A partner that is heard of may serve on, and the log is mirrored again; one that is not is fenced
// first.
bool PairNode::may_go_solo() const { return !groups_need_partner() || link_up() || halted_; }

// Where the target does not compare and swap, a swap removes the partner's key: with groups that
// would end its process.
bool PairNode::may_hold_record(std::size_t disk) const {
  return groups_.groups == nullptr || disks_[disk].disk->features().compare_and_swap;
}

bool PairNode::manages_groups_of(std::uint32_t filer) const {
  return groups_.groups == nullptr || groups_.groups->ready(filer);
}

Task<Status> PairNode::join_group_disks() {
  for (std::size_t i = 0; i < groups_.disks.size() && !halted_; ++i) {
    shelf::LateDisk* const late = groups_.disks[i].late;
    if (late != nullptr && !late->reachable() && !late->superseded()) {
      late->dismiss();
      continue;
    }
    const Status joined = co_await let_in_group_disk(i);
    if (!joined.ok()) {
      co_return joined;
    }
  }
  co_return Ok{};
}

Task<Status> PairNode::let_in_group_disk(std::size_t disk) {
  const GroupDisk& let_in = groups_.disks[disk];
  const Status joined = co_await join(*let_in.disk);
  if (joined.ok() && let_in.late != nullptr) {
    let_in.late->admit();
  }
  co_return joined;
}

// Behind the second wait: a partner that lives answers hosts from its disks until its lease ends.
void PairNode::shut_out_of_groups(const Claim& claim) {
  if (groups_.groups != nullptr) {
    step("shut out of the groups");
    groups_.groups->partner_fenced(claim.partner, claim.left);
    left_ = claim.left;
    ++exclusions_;
    if (!left_.empty()) {
      scope_.spawn(fence_those_left(claim.partner, exclusions_));
    }
  }
}

// Disks that were out of reach come back.  The partner may have a newer process there by then,
// which stays.
Task<void> PairNode::fence_those_left(std::uint64_t incarnation, std::uint64_t exclusion) {
  while (!left_.empty()) {
    co_await sleep(scheduler_, options_.retry);
    const std::vector<shelf::SharedDisk*> disks = left_;
    for (shelf::SharedDisk* const disk : disks) {
      if (halted_ || exclusion != exclusions_) {
        co_return;  // a later one counts
      }
      if (!disk->health().connected) {
        continue;
      }
      const Status excluded = co_await shelf::exclude_processes(
          *disk, static_cast<std::uint8_t>(peer_number()), incarnation, options_.second_fence);
      if (excluded.ok() && exclusion == exclusions_) {
        std::erase(left_, disk);
        step("shut out of a disk that is back");
        groups_.groups->shut_out_of(*disk);
      }
    }
  }
}

// On a member of its mailbox that was left.
bool PairNode::reaches_lease_of_partner(const std::vector<shelf::SharedDisk*>& left) const {
  return std::ranges::any_of(members_[peer_number()].disks, [&](std::size_t disk) {
    return std::ranges::find(left, disks_[disk].disk) != left.end();
  });
}

bool PairNode::partner_is_missed() const {
  return link_up() && groups_.groups->lacks(static_cast<std::uint64_t>(link_.status().peer));
}

// A member of the groups' view that died before its first beat could not be named by a fence, and
// be waited for without end.
Task<void> PairNode::begin_groups() {
  while (!beater_.renewed() && !halted_) {
    co_await sleep(scheduler_, std::chrono::milliseconds(2));
  }
  if (!halted_) {
    step("begin the groups");
    groups_.groups->begin();
  }
}

// Beside the loop: what that waits for may be a group, which waits for the end of the partner.
// Nothing changes hands here, so it is done whatever keeps this node from a takeover.
Task<void> PairNode::watch_groups() {
  Instant lived = scheduler_.now();
  Instant managed = scheduler_.now();
  while (!halted_) {
    co_await sleep(scheduler_, options_.look);
    const bool held_up = scheduler_.now() - looked_at_ > 2 * options_.beat.lease;
    if (held_up) {
      co_await look();
    }
    const Instant now = scheduler_.now();
    const Evidence partner = evidence();
    const bool graced = now - entered_at_ >= options_.start_grace;
    const bool right = !members_behind() && !members_differ();
    const bool silent = is_dead(partner) && groups_need_partner() && right && graced;
    lived = silent ? lived : now;
    managed = partner_is_missed() ? managed : now;
    // Where the loop can act, it comes first: it takes over what the partner served, too.
    const bool loop_acts =
        !held_up && options_.automatic_takeover && decide(partner).action == Action::kTakeOver;
    const bool dead = now - lived >= (loop_acts ? 8 : 2) * options_.beat.lease;
    const bool missed = now - managed >= kManagesWithin * (1 + my_number());
    if ((!dead && !missed) || conflict_ || now < may_take_at_) {
      continue;
    }
    step(dead ? "exclude the dead" : "exclude who does not manage");
    Claim claim;
    claim.takeover = true;
    claim.always_wait = !dead;
    claim.known_dead = partner.words == WordsEvidence::kDead;
    co_await exclude(claim);
    lived = managed = scheduler_.now();
  }
}

// What this node manages now it can read; of what it does not, nothing is opened.
Task<void> PairNode::groups_ready(Claim& claim) {
  const Instant deadline = scheduler_.now() + kGroupsReadyWithin;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    while (claim.filers[filer] && !manages_groups_of(filer)) {
      if (scheduler_.now() >= deadline || filers_[filer].lost || halted_) {
        fail(claim, filer,
             Error{Errc::kRefused, "this node cannot manage the filer's redundancy group"});
        break;
      }
      co_await sleep(scheduler_, std::chrono::milliseconds(2));
    }
  }
}

// Who began the last opening, which did not finish, may have been the partner.  Its process of now
// removed the older ones of its node from all disks, and it hosts the filer again only by a swap
// that finds this node's.  To fence it would end it, and with that the filer that it serves.
Task<bool> PairNode::partner_is_quiet(FilerSet filers) {
  if (groups_.groups == nullptr) {
    co_return false;
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!filers[filer]) {
      continue;
    }
    step("ask whether all is quiet");
    quiet_.reset();
    const std::uint64_t number = ++questions_;
    static_cast<void>(send(PairVerb::kAskQuiet, filer, filers_[filer].epoch, number, 0));
    const Instant deadline = scheduler_.now() + options_.beat.lease;
    while (!(quiet_ && quiet_->number == number)) {
      if (scheduler_.now() >= deadline || !link_up()) {
        co_return false;
      }
      co_await sleep(scheduler_, std::chrono::milliseconds(2));
    }
    if (quiet_->answer != 0) {
      co_return false;
    }
  }
  co_return true;
}

void PairNode::tell_whether_quiet(const PairMessage& asked) {
  const Slot& slot = filers_[asked.filer];
  const bool quiet = entered_ && !halted_ && !conflict_ && slot.state == FilerState::kAway &&
                     !gates_under_way(asked.filer);
  static_cast<void>(send(PairVerb::kQuiet, asked.filer, asked.epoch, asked.number, quiet ? 0 : 1));
}

}  // namespace duet::failover
