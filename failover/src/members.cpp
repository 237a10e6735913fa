// The mailbox members of both nodes: which disks they are, and how one is replaced (rule 2).
//
//   mine: veto? -> members sector of generation g' to all new members -> both sets count, the solo
//         mark is on the new one too -> root with g' -> only the new set counts
//   the partner's: its beat, the link or a root tells of another generation -> root and sectors
//         say which disks -> watched from now on
//
// The root decides: a sector whose generation is not in the root is an attempt that came to
// nothing. From the moment that the root may have g' until it is known, a renewal counts only if it
// reached the quorum of both sets, as the partner may be watching either.

#include <algorithm>

#include "failover/pair_node.h"

namespace duet::failover {

namespace {

constexpr Duration kRelearn = std::chrono::milliseconds(200);

}  // namespace

mailbox::MemberDisks PairNode::disks_at(const std::vector<std::size_t>& indices) const {
  mailbox::MemberDisks result;
  for (const std::size_t i : indices) {
    result.push_back(disks_[i].disk);
  }
  return result;
}

mailbox::MemberDisks PairNode::gates_at(const std::vector<std::size_t>& indices) const {
  mailbox::MemberDisks result;
  for (const std::size_t i : indices) {
    result.push_back(gates_[i].get());
  }
  return result;
}

std::optional<std::size_t> PairNode::disk_of(const mailbox::DiskIdentity& identity) const {
  for (std::size_t i = 0; identity != mailbox::DiskIdentity{} && i < disks_.size(); ++i) {
    if (disks_[i].identity == identity) {
      return i;
    }
  }
  return std::nullopt;
}

bool PairNode::is_member(std::size_t disk) const {
  const auto in = [disk](const std::vector<std::size_t>& disks) {
    return std::ranges::find(disks, disk) != disks.end();
  };
  return in(members_[0].disks) || in(members_[1].disks) || (next_ && in(next_->disks));
}

// Everybody who looks at the members of `node` looks at these from now on.
void PairNode::use_members(std::uint32_t node) {
  const Members& now = members_[node];
  mailbox::MemberSets beats{disks_at(now.disks)};
  mailbox::MemberSets marks{gates_at(now.disks)};
  if (node == my_number() && next_) {
    beats.push_back(disks_at(next_->disks));
    marks.push_back(gates_at(next_->disks));
  }
  marks_[node]->use(marks);
  if (node == my_number()) {
    beater_.use(beats);
  } else {
    observer_.use(beats.front());
  }
}

// False: a disk that is named is none of ours.
bool PairNode::adopt(std::uint32_t node, const mailbox::Membership& found) {
  Members next;
  next.known = true;
  next.generation = found.generation;
  for (const mailbox::DiskIdentity& identity : found.disks) {
    const std::optional<std::size_t> disk = disk_of(identity);
    if (!disk || disks_[*disk].filer != node) {
      return false;
    }
    next.disks.push_back(*disk);
  }
  const bool same = members_[node].known && members_[node].generation == next.generation;
  members_[node] = std::move(next);
  if (!same) {
    use_members(node);
  }
  return true;
}

// What the root and the disks of the node's filer say.  False: not known, ask again.
Task<bool> PairNode::learn_members(std::uint32_t node) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i].filer == node) {
      all.push_back(i);
    }
  }
  const Result<FilerFacts> facts = co_await filers_[node].host->facts();
  const Errc code = facts.ok() ? Errc::kIo : facts.error().code;
  if (!facts.ok() && code != Errc::kNotFound && code != Errc::kForeign && code != Errc::kCorrupt) {
    co_return false;
  }
  // Without a root there is no filer yet, or none to save.
  const std::uint64_t generation = facts.ok() ? facts.value().membership_generation : 0;
  const mailbox::MembersRead read = co_await mailbox::read_members(
      options_.self.pair, mailbox::Node{static_cast<std::uint8_t>(node)}, disks_at(all));
  if (node == my_number()) {
    // What was promised stands on the serving quorum: perhaps only where nothing could be read.
    if (!read.all) {
      co_return false;
    }
    highest_ = std::max({highest_, generation, read.highest()});
    note_newest(read);
  }
  if (const std::optional<mailbox::Membership> found = read.of(generation);
      found && generation > 0) {
    const bool adopted = adopt(node, *found);
    if (!adopted && !entered_) {
      // Its node beats on that disk: whoever watched others would take its silence for death.
      waits_for_ = kStrangeMember;
    }
    co_return adopted;
  }
  if (!read.all || (generation > 0 && members_[node].known)) {
    co_return false;
  }
  // Nobody ever wrote one; or all that did is damaged, of which both nodes know as much.
  mailbox::Membership configured;
  configured.generation = generation;
  for (const std::size_t i : all) {
    if (disks_[i].member) {
      configured.disks.push_back(disks_[i].identity);
    }
  }
  if (generation > 0) {
    tell(Severity::kCritical,
         "no disk says which are the mailbox members: the configuration is used",
         "replace a member to write them anew: duet failover member replace", node);
  }
  co_return adopt(node, configured);
}

// Whoever watches other disks than the partner beats on takes it for dead, so each tells what it
// goes by.
void PairNode::say_which_members() {
  if (!entered_ || !link_up()) {
    return;
  }
  KnowledgeMessage message;
  message.verb = static_cast<std::uint32_t>(KnowledgeVerb::kMembers);
  put_members(message);
  static_cast<void>(send(message));
}

// By what the partner's newest process said last, if that was something else than this node knew,
// and also if that is silent by now.  Of different generations the newer counts, and it is learned.
// One that says nothing is as it ever was.
bool PairNode::members_differ() const {
  if (!peer_says_ || peer_says_->incarnation != peer_incarnation_) {
    return false;
  }
  for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
    const Members& mine = members_[node];
    const KnownMembers& theirs = peer_says_->members[node];
    if (!mine.known || theirs.generation != mine.generation) {
      continue;
    }
    const bool same = std::ranges::all_of(mine.disks, [&](std::size_t disk) {
      return std::ranges::find(theirs.disks, disks_[disk].identity) != theirs.disks.end();
    });
    if (!same || theirs.count != mine.disks.size()) {
      return true;
    }
  }
  return false;
}

// A label that has changed is read again by both; what lasts is for the operator.
void PairNode::follow_differences() {
  if (!members_differ()) {
    agreed_at_ = scheduler_.now();
    if (std::exchange(differ_told_, false)) {
      tell(Severity::kInformation, "both nodes go by the same mailbox members again", "");
    }
    return;
  }
  if (identified_.empty()) {
    scope_.spawn(identify_anew());
  }
  if (!differ_told_ && scheduler_.now() - agreed_at_ >= 2 * options_.retry) {
    differ_told_ = true;
    step("members differ");
    tell(Severity::kCritical,
         "the nodes do not go by the same mailbox members: neither takes over by silence",
         "duet failover show at each node names them: make both configurations name the same "
         "disks, and restart the node whose configuration changed");
  }
}

void PairNode::say_members(std::uint32_t node) {
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const bool counts = std::ranges::find(members_[node].disks, i) != members_[node].disks.end();
    if (disks_[i].filer == node && disks_[i].member != counts) {
      tell(Severity::kWarning,
           "the mailbox members differ from the configuration; what is on the disks counts",
           "bring `mailbox: true` in the configuration up to date: duet failover show names them",
           node);
      return;
    }
  }
}

// The partner's members may have changed; and mine may have got into the root after all.
Task<void> PairNode::follow_members() {
  if (members_behind() && !conflict_ && scheduler_.now() >= relearn_at_) {
    const std::uint64_t before = members_[peer_number()].generation;
    bool learned = co_await learn_members(peer_number());
    if (!learned) {
      learned = learn_from_partner();
      ask_what_is_known();
    }
    relearn_at_ = scheduler_.now() + kRelearn;
    relearn_ = relearn_ && !learned;
    if (learned && members_[peer_number()].generation != before) {
      step("partner's members changed");
      tell(Severity::kInformation, "the partner's mailbox is on other disks now", "");
      refused_takeovers_ = 0;  // what may have been refused for this is worth another try
    }
  }
  co_await settle_members();
}

// A replacement that ended without an answer: the root says what became of it.
Task<void> PairNode::settle_members() {
  if (!next_ || replacing_ || conflict_) {
    co_return;
  }
  const Slot& slot = filers_[my_number()];
  if (slot.failed || slot.state == FilerState::kOpening || slot.state == FilerState::kEnding) {
    co_return;  // its last CP may be under way
  }
  const Result<FilerFacts> facts = co_await filers_[my_number()].host->facts();
  if (!facts.ok() || replacing_ || !next_) {
    co_return;
  }
  const std::uint64_t in_root = facts.value().membership_generation;
  if (in_root == next_->generation) {
    members_[my_number()] = *next_;
  }
  next_.reset();
  use_members(my_number());
  step(in_root == members_[my_number()].generation ? "members settled" : "members unknown");
}

std::optional<std::string_view> PairNode::replacement_veto(std::size_t from, std::size_t to) const {
  const std::uint32_t node = my_number();
  const auto in = [](const std::vector<std::size_t>& disks, std::size_t disk) {
    return std::ranges::find(disks, disk) != disks.end();
  };
  if (from >= disks_.size() || to >= disks_.size() || disks_[from].filer != node ||
      disks_[to].filer != node) {
    return "both disks must be of the filer whose home is this node; of a redundancy group only "
           "those can carry a mailbox that did at the start";
  }
  if (!in(members_[node].disks, from)) {
    return "the first disk is no mailbox member";
  }
  if (is_member(to)) {
    return "the second disk is a mailbox member already";
  }
  if (to == arbitration_ || (proposal_ && proposal_->disk == to)) {
    return "the second disk holds the owner record: the loss of one disk must not cost both";
  }
  if (filers_[node].state != FilerState::kServing) {
    return "the filer is not served at home, so nobody here may write its root";
  }
  if (conflict_ || !guard_.may_answer()) {
    return "this node is paused by its disks";
  }
  if (replacing_ || next_) {
    return "a member is being replaced already";
  }
  if (moving_ || proposal_) {
    return "the owner record is on its way to another disk";
  }
  return std::nullopt;
}

Status PairNode::start_replacement(std::size_t from, std::size_t to) {
  if (const std::optional<std::string_view> veto = replacement_veto(from, to)) {
    return Error{Errc::kRefused, *veto};
  }
  replacing_ = true;
  scope_.spawn(replace_member(from, to));
  return Ok{};
}

Task<void> PairNode::replace_member(std::size_t from, std::size_t to) {
  step("replace a member");
  Members next = members_[my_number()];
  std::ranges::replace(next.disks, from, to);
  next.generation = ++highest_;
  const Status done = co_await replace(std::move(next));
  replacing_ = false;
  ++replacements_;
  replacement_error_ = done.ok() ? "" : done.error().context;
  if (done.ok()) {
    step("member replaced");
    tell(Severity::kInformation, "a mailbox member was replaced",
         "bring `mailbox: true` in the configuration up to date", my_number());
    describe();
    say_state();
  } else {
    step("member not replaced");
    tell(Severity::kError, done.error().context, "see duet failover show, and try again",
         my_number());
  }
}

Task<Status> PairNode::replace(Members next) {
  const std::uint32_t node = my_number();
  const Slot& slot = filers_[node];
  const std::uint64_t epoch = slot.epoch;
  const auto still = [&] {
    return slot.state == FilerState::kServing && slot.epoch == epoch && !conflict_;
  };
  constexpr Error kLost{Errc::kTryAgain,
                        "the filer was lost or paused while a member was replaced"};
  mailbox::Membership to;
  to.generation = next.generation;
  mailbox::Membership now;
  now.generation = members_[node].generation;
  for (const std::size_t i : next.disks) {
    to.disks.push_back(disks_[i].identity);
  }
  for (const std::size_t i : members_[node].disks) {
    now.disks.push_back(disks_[i].identity);
  }
  const mailbox::MembersSector before = note_;
  note_ = mailbox::members_sector(to, now);
  const Status noted = co_await note_writer_.write(note_, disks_at(next.disks), next.disks.size());
  if (!noted.ok() || !still()) {
    note_ = before;
    if (!noted.ok() && noted.error().code == Errc::kFenced) {
      conflict();
    }
    co_return noted.ok() ? Status(kLost)
                         : Status(Error{noted.error().code, "a new member cannot be written"});
  }
  next_ = std::move(next);
  use_members(node);
  const Status carried = co_await marks_[node]->carry();
  if (!carried.ok() || !still()) {
    // The root cannot have it.
    note_ = before;
    next_.reset();
    use_members(node);
    co_return carried.ok() ? Status(kLost)
                           : Status(Error{Errc::kIo, "a member cannot take the solo mark"});
  }
  step("members into the root");
  const Status recorded = co_await slot.host->record_membership(to.generation);
  if (!recorded.ok()) {
    co_return Error{recorded.error().code,
                    "the root was not written: it will say which members count"};
  }
  members_[node] = *next_;
  next_.reset();
  use_members(node);
  co_return Ok{};
}

// The promise of the moment, on my members.
Task<Status> PairNode::write_note(bool all) {
  const std::vector<std::size_t>& disks = members_[my_number()].disks;
  note_.promised_generation = proposal_ ? proposal_->place.generation : 0;
  note_.promised_disk = proposal_ ? proposal_->place.disk : mailbox::DiskIdentity{};
  const std::size_t needed = all ? disks.size() : mailbox::serving_quorum(disks.size());
  const Status written = co_await note_writer_.write(note_, disks_at(disks), needed);
  if (!written.ok() && written.error().code == Errc::kFenced) {
    conflict();
  }
  co_return written;
}

}  // namespace duet::failover
