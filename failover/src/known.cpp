// A node that starts without every disk: what the partner tells it, and how a late disk gets in.
//
//   enter(): a disk is away -> read what can be read -> ask the partner -> take_word() -> go on
//                                 ^                          |
//                                 '---- not sure, no answer -'
//   later:   it is here -> identity -> join -> what stands there -> admit
//
// Why the word of a partner that has entered may stand in for a disk is argued in README.md, "A
// disk that is away at a start".

#include <algorithm>

#include "failover/pair_node.h"
#include "shelf/fence.h"

namespace duet::failover {

namespace {

constexpr Duration kAnswerWithin = std::chrono::milliseconds(500);
// A disk that does not say who it is within this is taken for who it was.
constexpr Duration kIdentifiedWithin = std::chrono::milliseconds(200);
constexpr mailbox::DiskIdentity kNobody{};

constexpr std::string_view kWaits =
    "a disk that this node does not reach, or a partner that tells what may be on it";
constexpr std::string_view kPartnerUnsure =
    "the partner, which does not know for sure where the owner record and the mailboxes are";
constexpr std::string_view kNewerMembers =
    "a disk that this node does not reach: it may name newer mailbox members of this node than the "
    "partner knows";
constexpr std::string_view kNewerRecord =
    "the partner, which knows an older owner record than a disk holds";
constexpr std::string_view kOtherDisks =
    "a disk that this node does not reach: the partner's configuration lists other disks, so its "
    "word does not help";

KnownMembers to_message(std::uint64_t generation, const std::vector<mailbox::DiskIdentity>& disks) {
  KnownMembers result;
  result.generation = generation;
  result.count = static_cast<std::uint32_t>(disks.size());
  std::ranges::copy(disks, result.disks.begin());
  return result;
}

}  // namespace

bool PairNode::is_away(std::size_t disk) const {
  return disks_[disk].late != nullptr && !disks_[disk].late->admitted();
}

// What the partner said or wrote of its members is newer than what this node knows.
bool PairNode::members_behind() const {
  const auto& beat = observer_.beat();
  const std::uint64_t seen = std::max(peer_members_, beat ? beat->membership_generation : 0);
  const Members& known = members_[peer_number()];
  return relearn_ || !known.known || seen > known.generation;
}

// ----------------------------------------------------------------------------- who is asked

// Whether what this node knows is all that counts, and stays so until the partner agrees to a
// change or is told of it.
bool PairNode::knows_all() const {
  const bool place = !proposal_ && !moving_ && !agreeing_;
  const bool members = !next_ && !replacing_ && !members_behind();
  return entered_ && place && members && !conflict_ && !halted_;
}

Task<void> PairNode::tell_partner(KnowledgeMessage asked) {
  co_await identify_anew();
  KnowledgeMessage answer;
  answer.verb = static_cast<std::uint32_t>(KnowledgeVerb::kLater);
  answer.to = asked.incarnation;
  answer.number = asked.number;
  if (knows_all() && disks_.size() <= kKnownDisksMax) {
    answer.verb = static_cast<std::uint32_t>(KnowledgeVerb::kKnown);
    answer.place = arbiter_.generation();
    answer.place_disk = disks_[arbitration_].identity;
    put_members(answer);
    answer.disk_count = static_cast<std::uint32_t>(disks_.size());
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      answer.disks[i] = disks_[i].identity;
    }
  }
  step("tell the partner");
  static_cast<void>(send(answer));
}

void PairNode::put_members(KnowledgeMessage& message) const {
  for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
    std::vector<mailbox::DiskIdentity> disks;
    for (const std::size_t i : members_[node].disks) {
      disks.push_back(disks_[i].identity);
    }
    message.members[node] = to_message(members_[node].generation, disks);
  }
}

// A redundancy group's disk gets or loses its label while this node runs, and whoever starts knows
// it by what is there now.  Other disks keep theirs: another one in such a place is a stranger.
Task<void> PairNode::identify_anew() {
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const bool here = !is_away(i) && disks_[i].disk->health().connected;
    if (disks_[i].grouped && here && identify && identified_.insert(i).second) {
      scope_.spawn(identify_disk(i));
    }
  }
  const Instant deadline = scheduler_.now() + kIdentifiedWithin;
  while (!identified_.empty() && scheduler_.now() < deadline) {
    co_await sleep(scheduler_, std::chrono::milliseconds(1));
  }
}

Task<void> PairNode::identify_disk(std::size_t disk) {
  const Result<mailbox::DiskIdentity> found = co_await identify(disk);
  identified_.erase(disk);
  if (found.ok()) {
    disks_[disk].identity = found.value();
  }
}

// ------------------------------------------------------------------------------- who asks

Status PairNode::send(const KnowledgeMessage& message) {
  KnowledgeMessage full = message;
  full.pair = options_.self.pair;
  full.incarnation = static_cast<std::uint64_t>(options_.self.incarnation);
  return link_.send(interconnect::Channel::kFailover, bytes_of(full));
}

void PairNode::ask_what_is_known() {
  KnowledgeMessage ask;
  ask.verb = static_cast<std::uint32_t>(KnowledgeVerb::kAsk);
  ask.number = asked_number_ = ++questions_;
  told_.reset();
  static_cast<void>(send(ask));
}

void PairNode::on_knowledge_message(ConstBytes bytes) {
  const auto message = load<KnowledgeMessage>(bytes, 0);
  if (message.magic != kKnowledgeMagic || message.version != kPairVersion ||
      message.pair != options_.self.pair) {
    return;
  }
  if (message.verb == static_cast<std::uint32_t>(KnowledgeVerb::kAsk)) {
    scope_.spawn(tell_partner(message));
  } else if (message.verb == static_cast<std::uint32_t>(KnowledgeVerb::kMembers)) {
    // As both are now: what one that is silent by then agreed to may get another label.
    peer_says_ = message;
    if (!members_differ()) {
      peer_says_.reset();
    }
  } else if (message.to == static_cast<std::uint64_t>(options_.self.incarnation) &&
             message.number == asked_number_) {
    told_ = message;
  }
}

// Read first, asked then: what the partner says is no older than what was read.
Task<bool> PairNode::enter_by_word() {
  co_await identify_anew();
  std::vector<std::size_t> mine;
  std::uint64_t record = 0;  // the greatest generation that a disk holds
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i].filer == my_number()) {
      mine.push_back(i);
    }
    const Result<mailbox::PlaceRead> there =
        co_await mailbox::read_place(options_.self.pair, *disks_[i].disk);
    if (!there.ok() && disks_[i].late != nullptr) {
      disks_[i].late->dismiss();
    }
    if (there.ok() && there.value().kind == mailbox::PlaceRead::Kind::kRecord) {
      record = std::max(record, there.value().generation);
    }
  }
  const mailbox::MembersRead read =
      co_await mailbox::read_members(options_.self.pair, me(), disks_at(mine));
  for (const std::size_t i : mine) {
    if (read.unknown > 0 && disks_[i].late != nullptr) {
      disks_[i].late->dismiss();  // whichever it is: it is looked at when it is let in
    }
  }
  const Result<FilerFacts> root = co_await filers_[my_number()].host->facts();
  ask_what_is_known();
  const Instant deadline = scheduler_.now() + kAnswerWithin;
  while (!told_ && scheduler_.now() < deadline) {
    co_await sleep(scheduler_, std::chrono::milliseconds(2));
  }
  if (!told_) {
    waits_for_ = kWaits;
    co_return false;
  }
  const std::optional<std::uint64_t> in_root =
      root.ok() ? std::optional(root.value().membership_generation) : std::nullopt;
  waits_for_ = take_word(*told_, record, read, in_root);
  told_.reset();
  co_return waits_for_.empty();
}

// Empty: what the partner said is what this node goes by.  Else why not; nothing was changed.
std::string_view PairNode::take_word(const KnowledgeMessage& told, std::uint64_t record,
                                     const mailbox::MembersRead& mine,
                                     std::optional<std::uint64_t> in_root) {
  if (told.verb != static_cast<std::uint32_t>(KnowledgeVerb::kKnown)) {
    return kPartnerUnsure;
  }
  if (told.disk_count != disks_.size()) {
    return kOtherDisks;
  }
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const bool twice = std::ranges::count(told.disks, told.disks[i]) > 1;
    const bool known = disks_[i].identity != kNobody;
    if (told.disks[i] == kNobody || twice || (known && disks_[i].identity != told.disks[i])) {
      return kOtherDisks;
    }
  }
  if (record > told.place) {
    return kNewerRecord;
  }
  // The partner watches these.  A newer membership in the root was written to each of its members
  // before: with fewer disks unknown than it has members, one of those would have shown it.
  const KnownMembers& watched = told.members[my_number()];
  const bool sure = in_root ? *in_root == watched.generation
                            : mine.highest() <= watched.generation && mine.unknown < watched.count;
  if (!sure) {
    return kNewerMembers;
  }
  const std::vector<PairDisk> before = disks_;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    disks_[i].identity = told.disks[i];
  }
  const std::optional<std::size_t> place = disk_of(told.place_disk);
  if (!place || !can_adopt(0, told.members[0]) || !can_adopt(1, told.members[1])) {
    disks_ = before;
    return kOtherDisks;
  }
  adopt_told(0, told.members[0]);
  adopt_told(1, told.members[1]);
  highest_ = std::max({highest_, watched.generation, mine.highest()});
  note_newest(mine);
  // A promise of this node of which its partner knows nothing any more came to nothing.
  note_.promised_generation = 0;
  if (*place != arbitration_) {
    old_places_.push_back(arbitration_);
  }
  arbitration_ = *place;
  arbiter_.use(*disks_[*place].disk, told.place);
  step("entered by the partner's word");
  tell(Severity::kWarning, "this node started without a disk, by what its partner told",
       "repair the disk, or replace it: duet failover show names it");
  return {};
}

bool PairNode::can_adopt(std::uint32_t node, const KnownMembers& told) const {
  if (told.count == 0 || told.count > mailbox::kMembersMax) {
    return false;
  }
  for (std::uint32_t i = 0; i < told.count; ++i) {
    const std::optional<std::size_t> disk = disk_of(told.disks[i]);
    const auto same =
        std::count(told.disks.begin(), told.disks.begin() + told.count, told.disks[i]);
    if (!disk || disks_[*disk].filer != node || same != 1) {
      return false;
    }
  }
  return true;
}

// REQUIRES: can_adopt().
void PairNode::adopt_told(std::uint32_t node, const KnownMembers& told) {
  Members next;
  next.known = true;
  next.generation = told.generation;
  for (std::uint32_t i = 0; i < told.count; ++i) {
    next.disks.push_back(*disk_of(told.disks[i]));
  }
  members_[node] = std::move(next);
  use_members(node);
}

// The partner changed its members, and the root that says which cannot be read: its word is as
// good.
bool PairNode::learn_from_partner() {
  const std::uint32_t peer = peer_number();
  const bool answered =
      told_ && told_->verb == static_cast<std::uint32_t>(KnowledgeVerb::kKnown) &&
      can_adopt(peer, told_->members[peer]) &&
      told_->members[peer].generation >= std::max(peer_members_, members_[peer].generation);
  if (answered && told_->members[peer].generation != members_[peer].generation) {
    adopt_told(peer, told_->members[peer]);
  }
  told_.reset();  // it counts for what was asked before it
  return answered;
}

void PairNode::note_newest(const mailbox::MembersRead& read) {
  const auto age = [](const mailbox::MembersSector& sector) {
    return std::pair(sector.header.incarnation, sector.header.sequence);
  };
  if (!read.sectors.empty() && age(note_) < age(read.sectors.front())) {
    note_ = read.sectors.front();
  }
}

// What it waits for is in status(); an operator hears of what lasts.
void PairNode::say_waiting() {
  for (Slot& slot : filers_) {
    slot.waits_for = waits_for_;
  }
  if (waits_for_.empty() || ++entries_ != 3) {
    return;
  }
  step("waits to enter");
  if (waits_for_ == kStrangeMember) {
    tell(Severity::kCritical,
         "this node cannot start: by what the disks say one that its configuration lacks is a "
         "mailbox member",
         "list that disk in its configuration again, as the partner has it; one that got another "
         "label is known by the partner: start that");
    return;
  }
  tell(
      Severity::kCritical, "this node cannot start without a disk, as nobody tells it enough",
      "repair the disk that duet failover show names, or start the partner; see OPERATIONS.md, \"A "
      "disk is gone for good\"");
}

// --------------------------------------------------------------------------- a late disk

// Beside the loop, which such a disk may not hold up; one at a time.
void PairNode::follow_late_disks() {
  if (letting_in_ || conflict_ || scheduler_.now() < let_in_at_) {
    return;
  }
  const auto comes = [](const shelf::LateDisk* late) {
    return late != nullptr && !late->admitted() && (late->here() || late->superseded());
  };
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const std::size_t disk = (let_in_next_ + i) % disks_.size();
    if (comes(disks_[disk].late)) {
      letting_in_ = true;
      let_in_next_ = disk + 1;
      scope_.spawn(let_in_beside(disk, /*of_group=*/false));
      return;
    }
  }
  for (std::size_t i = 0; i < groups_.disks.size(); ++i) {
    if (comes(groups_.disks[i].late)) {
      letting_in_ = true;
      scope_.spawn(let_in_beside(i, /*of_group=*/true));
      return;
    }
  }
}

// What is on a group's disk the group looks at, when it is told to use it.
Task<void> PairNode::let_in_beside(std::size_t disk, bool of_group) {
  Status let_in = Ok{};
  if (of_group) {
    let_in = co_await let_in_group_disk(disk);
  } else {
    let_in = co_await let_in_late(disk);
  }
  letting_in_ = false;
  let_in_at_ = scheduler_.now() + (let_in.ok() ? Duration(0) : options_.retry);
}

// This node's key is on the disk, and those of its older processes are not.  kFenced: a newer one
// is there, and this one has halted; kTryAgain: a partner is fencing, and goes first.
Task<Status> PairNode::join(shelf::SharedDisk& disk) {
  const Status joined = co_await shelf::join_disk(disk, shelf::Reservation::kWriteExclusive);
  if (!joined.ok() && joined.error().code == Errc::kFenced) {
    const Status again = co_await disk.register_key();
    if (!again.ok() && again.error().code == Errc::kFenced) {
      halt();
      co_return again;
    }
    co_return Error{Errc::kTryAgain, "a partner is fencing"};
  }
  co_return joined;
}

// Before this nothing was written to it.
Task<Status> PairNode::let_in_late(std::size_t disk) {
  const PairDisk& late = disks_[disk];
  mailbox::DiskIdentity identity = late.identity;
  if (late.late->here()) {
    const Result<mailbox::DiskIdentity> found = co_await identify(disk);
    if (!found.ok()) {
      co_return found.error();
    }
    identity = found.value();
  }
  if (entered_ && identity != late.identity) {
    co_return refuse_late("another disk than the partner knows stands where one was away",
                          "put the old disk back; if it is gone for good see OPERATIONS.md, \"A "
                          "disk is gone for good\"");
  }
  const Status joined = co_await join(*late.disk);
  if (!joined.ok()) {
    co_return joined;
  }
  if (entered_) {
    const Status looked = co_await look_at_late(disk);
    if (!looked.ok()) {
      co_return looked;
    }
  }
  disks_[disk].identity = identity;
  late.late->admit();
  late_refused_ = {};
  if (entered_ || late.late->failures() > 0) {
    step("late disk admitted");
    tell(Severity::kInformation, "a disk that was away is there", "", late.filer);
  }
  co_return Ok{};
}

// It may hold an owner record that counts no more, and the number of an attempt to change members.
Task<Status> PairNode::look_at_late(std::size_t disk) {
  const PairDisk& late = disks_[disk];
  const Result<mailbox::PlaceRead> there =
      co_await mailbox::read_place(options_.self.pair, *late.disk);
  if (!there.ok()) {
    co_return there.error();
  }
  const bool record = there.value().kind == mailbox::PlaceRead::Kind::kRecord;
  if (record && there.value().generation > arbiter_.generation() && !proposal_) {
    co_return refuse_late("a disk that was away holds a newer owner record than both nodes know",
                          "it is not used; find out which pair wrote to it");
  }
  if (late.filer == my_number()) {
    const std::vector<std::size_t> one{disk};
    const mailbox::MembersRead read =
        co_await mailbox::read_members(options_.self.pair, me(), disks_at(one));
    if (!read.all) {
      co_return Error{Errc::kIo, "its members sector cannot be read"};
    }
    highest_ = std::max(highest_, read.highest());
  }
  if (record && disk != arbitration_) {
    old_places_.push_back(disk);
  }
  co_return Ok{};
}

Status PairNode::refuse_late(std::string_view why, std::string_view remedy) {
  if (late_refused_ != why) {
    late_refused_ = why;
    step("late disk refused");
    tell(Severity::kCritical, why, remedy);
  }
  return Error{Errc::kRefused, why};
}

}  // namespace duet::failover
