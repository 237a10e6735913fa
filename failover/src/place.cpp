// Where the owner record is, and how it moves to another disk (rule 3; mailbox/place.h).
//
//   proposer: veto? -> promise -> ask -> agreed -> record of the next generation -> use it
//   partner:  asked -> promise -> agree -> [the record is there] -> use it
//   either:   [no record there and the move hangs] -> give it up there -> as before
//
// A node between its promise and its end swaps nothing (mailbox/arbiter.h), so nobody takes over
// meanwhile: that is a fraction of a second, or as long as the disk that was named is away.

#include <algorithm>

#include "failover/pair_node.h"

namespace duet::failover {

namespace {

constexpr Duration kAnswerWithin = std::chrono::seconds(1);
// A move that was promised and hangs is given up after this.
constexpr Duration kGiveUpAfter = std::chrono::seconds(2);
constexpr Duration kRetireEvery = std::chrono::seconds(2);
constexpr Duration kMoveAgain = std::chrono::seconds(5);

using mailbox::PlaceRead;

std::array<PlaceOwner, 2> to_message(const mailbox::Owners& owners) {
  std::array<PlaceOwner, 2> result;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    result[i] = {owners[i].owner, owners[i].previous, owners[i].incarnation, owners[i].epoch};
  }
  return result;
}

bool from_message(const std::array<PlaceOwner, 2>& owners, mailbox::Owners& result) {
  for (std::size_t i = 0; i < owners.size(); ++i) {
    result[i] = {owners[i].owner, owners[i].previous, owners[i].incarnation, owners[i].epoch};
    if (owners[i].owner >= mailbox::kNodes || owners[i].previous >= mailbox::kNodes) {
      return false;
    }
  }
  return true;
}

}  // namespace

// Every disk is asked, as one that is not could hold a newer record.  False: ask again.
Task<bool> PairNode::find_place() {
  std::vector<shelf::SharedDisk*> all;
  for (const PairDisk& each : disks_) {
    all.push_back(each.disk);
  }
  const Result<mailbox::FoundPlace> found = co_await mailbox::find_record(options_.self.pair, all);
  if (!found.ok() && found.error().code != Errc::kNotFound) {
    co_return false;
  }
  if (found.ok()) {
    if (found.value().disk != arbitration_) {
      old_places_.push_back(arbitration_);
      tell(
          Severity::kWarning, "the owner record is on another disk than the configuration says",
          "bring `arbitration: true` in the configuration up to date: duet failover show names it");
    }
    arbitration_ = found.value().disk;
    arbiter_.use(*disks_[arbitration_].disk, found.value().read.generation);
  }
  if (note_.promised_generation > arbiter_.generation()) {
    const std::optional<std::size_t> disk = disk_of(note_.promised_disk);
    if (disk) {
      proposal_ = {
          {note_.promised_generation, note_.promised_disk}, *disk, scheduler_.now(), false};
      arbiter_.bind(*disks_[*disk].disk, note_.promised_generation);
      step("promise found");
    }
  }
  co_return true;
}

// The arbiter has found, or been told, that the record is where it was promised.
void PairNode::record_moved() {
  step("record moved");
  old_places_.push_back(arbitration_);
  arbitration_ = proposal_->disk;
  proposal_.reset();
  record_seen_ = scheduler_.now();
  record_readable_ = false;  // until it was read there
  tell(Severity::kWarning, "the owner record is on another disk now",
       "bring `arbitration: true` in the configuration up to date; repair the disk where it was");
}

Task<void> PairNode::follow_place() {
  if (record_readable_) {
    record_seen_ = scheduler_.now();
  }
  if (conflict_) {
    co_return;
  }
  if (proposal_ && !moving_ && !agreeing_) {
    co_await settle_proposal();
  }
  if (!proposal_ && note_.promised_generation != 0 && !moving_ && !agreeing_) {
    // It stands there until something else is written; whoever reads it finds out as here.
    note_.promised_generation = 0;
  }
  co_await retire_old_places();
  consider_move();
}

Task<void> PairNode::drop_proposal() {
  step("move given up");
  proposal_.reset();
  arbiter_.release();
  const Status written = co_await write_note(false);
  step(written.ok() ? "promise dropped" : "promise stays on disk");
}

// Promised, and nobody here works at it: the record came to be there, or it never will.
Task<void> PairNode::settle_proposal() {
  const Proposal proposal = *proposal_;
  shelf::SharedDisk& disk = *disks_[proposal.disk].disk;
  if (disk.health().operations > 0 && !disk.health().connected) {
    co_return;  // it would make us wait
  }
  Result<PlaceRead> there = co_await mailbox::read_place(options_.self.pair, disk);
  if (!there.ok() || !proposal_ || proposal_->place != proposal.place || conflict_) {
    co_return;
  }
  const bool same = there.value().generation >= proposal.place.generation;
  if (same && there.value().kind == PlaceRead::Kind::kRecord) {
    arbiter_.use(disk, there.value().generation);
    record_moved();
  } else if (same && there.value().kind == PlaceRead::Kind::kGivenUp) {
    co_await drop_proposal();
  } else if (!link_up() || proposal.hangs || scheduler_.now() - proposal.since > kGiveUpAfter) {
    step("give the move up");
    const Status given_up = co_await mailbox::give_up(options_.self, disk, std::move(there.value()),
                                                      proposal.place.generation);
    const bool still = proposal_ && proposal_->place == proposal.place;
    if (given_up.ok() && still) {
      co_await drop_proposal();
    } else if (!given_up.ok() && given_up.error().code == Errc::kFenced) {
      conflict();
    }
  }
}

// A disk that was away comes back with the record that it had.  Nobody believes it; and whoever
// looks at that disk alone is told where to look.
Task<void> PairNode::retire_old_places() {
  if (old_places_.empty() || scheduler_.now() < retire_at_ || proposal_) {
    co_return;
  }
  retire_at_ = scheduler_.now() + kRetireEvery;
  const std::size_t old = old_places_.front();
  shelf::SharedDisk& disk = *disks_[old].disk;
  if (old == arbitration_ || !disk.health().connected) {
    if (old == arbitration_) {
      old_places_.erase(old_places_.begin());
    }
    co_return;
  }
  Result<PlaceRead> there = co_await mailbox::read_place(options_.self.pair, disk);
  if (!there.ok() || conflict_ || proposal_ || old == arbitration_) {
    co_return;
  }
  const mailbox::Place now{arbiter_.generation(), disks_[arbitration_].identity};
  if (there.value().kind == PlaceRead::Kind::kRecord && there.value().generation < now.generation) {
    const Status pointed =
        co_await mailbox::point_to(options_.self, disk, std::move(there.value()), now);
    if (!pointed.ok()) {
      if (pointed.error().code == Errc::kFenced) {
        conflict();
      }
      co_return;
    }
    step("old record retired");
  }
  std::erase(old_places_, old);
}

std::optional<std::string_view> PairNode::move_veto(std::size_t to) const {
  if (to >= disks_.size()) {
    // The others are not known here.
    return "of a redundancy group only disks that carried a mailbox or the owner record at the "
           "start can have it";
  }
  if (to == arbitration_) {
    return "the owner record is on that disk already";
  }
  if (is_member(to)) {
    return "the disk is a mailbox member: the loss of one disk must not cost both";
  }
  if (!may_hold_record(to)) {
    return "the disk's target cannot compare and swap, which redundancy groups need";
  }
  if (conflict_ || halted_ || leaving_ || !record_) {
    return "this node is paused by its disks, or stops";
  }
  if (!link_up()) {
    return "the partner does not answer over the link: the record moves by agreement only";
  }
  if (moving_ || agreeing_ || proposal_) {
    return "the owner record is on its way to another disk already";
  }
  if (replacing_ || next_) {
    return "a mailbox member is being replaced";
  }
  return std::nullopt;
}

Status PairNode::start_move(std::size_t to) {
  if (const std::optional<std::string_view> veto = move_veto(to)) {
    return Error{Errc::kRefused, *veto};
  }
  moving_ = true;
  scope_.spawn(move_record(to));
  return Ok{};
}

// The record's disk has failed, as far as can be seen from here.  Node b leaves node a the first
// try: of two proposals at once neither comes to be.
void PairNode::consider_move() {
  const Duration patience = options_.record_patience * (2 + my_number()) / 2;
  const bool lost = !record_readable_ && scheduler_.now() - record_seen_ > patience;
  if (!lost || scheduler_.now() < move_at_ || proposal_ || moving_) {
    return;
  }
  move_at_ = scheduler_.now() + kMoveAgain;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const std::size_t to = (moves_tried_ + i) % disks_.size();
    if (!move_veto(to) && disks_[to].disk->health().connected) {
      moves_tried_ = to + 1;
      moving_ = true;
      scope_.spawn(move_record(to));
      return;
    }
  }
  tell(Severity::kCritical, "the owner record cannot be read, and there is no disk to move it to",
       "repair its disk; a disk that is no mailbox member, which both nodes reach, and a partner "
       "that answers are needed to move it");
}

Task<void> PairNode::move_record(std::size_t to) {
  step("move the record");
  const Status done = co_await move_to(to);
  moving_ = false;
  ++moves_;
  move_error_ = done.ok() ? "" : done.error().context;
  if (done.ok()) {
    say_state();
  } else {
    tell(Severity::kError, move_error_,
         "see duet failover show; it is tried again while the "
         "record cannot be read");
  }
}

Task<Status> PairNode::move_to(std::size_t to) {
  shelf::SharedDisk& disk = *disks_[to].disk;
  const Result<PlaceRead> there = co_await mailbox::read_place(options_.self.pair, disk);
  if (!there.ok()) {
    co_return Error{Errc::kIo, "the disk that the owner record would move to cannot be read"};
  }
  if (conflict_ || proposal_ || !link_up()) {
    co_return Error{Errc::kTryAgain, "the pair was disturbed while the record was to move"};
  }
  const std::uint64_t generation = std::max({arbiter_.generation(), there.value().generation,
                                             note_.promised_generation, peer_place_}) +
                                   1;
  const std::uint64_t from = arbiter_.generation();
  proposal_ = {{generation, disks_[to].identity}, to, scheduler_.now(), false};
  arbiter_.bind(disk, generation);
  const Status promised = co_await write_note(false);
  if (!promised.ok()) {
    if (proposal_) {
      proposal_->hangs = true;
    }
    co_return Error{promised.error().code, "the promise to move the record cannot be written"};
  }
  PlaceMessage ask;
  ask.verb = static_cast<std::uint32_t>(PlaceVerb::kAsk);
  ask.number = ++questions_;
  ask.from = from;
  ask.generation = generation;
  ask.disk = disks_[to].identity;
  place_answer_.reset();
  step("ask to move the record");
  const Status sent = send(ask);
  const Instant deadline = scheduler_.now() + kAnswerWithin;
  while (sent.ok() && proposal_ && scheduler_.now() < deadline &&
         !(place_answer_ && place_answer_->number == ask.number)) {
    co_await sleep(scheduler_, std::chrono::milliseconds(2));
  }
  if (!proposal_) {
    co_return Error{Errc::kTryAgain, "the partner gave the move up"};
  }
  const bool answered = place_answer_ && place_answer_->number == ask.number;
  mailbox::Claims theirs;
  const bool agreed = answered &&
                      place_answer_->verb == static_cast<std::uint32_t>(PlaceVerb::kAgreed) &&
                      from_message(place_answer_->known, theirs.known) &&
                      from_message(place_answer_->maybe, theirs.maybe);
  if (!agreed || conflict_) {
    // follow_place() gives it up, unless the partner did.
    proposal_->hangs = true;
    co_return Error{Errc::kTryAgain, "the partner did not agree to move the owner record"};
  }
  co_return co_await commit_move(there.value(), theirs);
}

// Both have promised: what either of them knows is all that was ever swapped.
Task<Status> PairNode::commit_move(const PlaceRead& there, const mailbox::Claims& theirs) {
  const Proposal proposal = *proposal_;
  shelf::SharedDisk& disk = *disks_[proposal.disk].disk;
  const mailbox::Owners owners = mailbox::merge(arbiter_.claims(), theirs);
  step("put the record");
  const Status put =
      co_await mailbox::put_record(options_.self, disk, there, owners, proposal.place.generation);
  const bool still = proposal_ && proposal_->place == proposal.place;
  if (put.ok() && still) {
    arbiter_.use(disk, proposal.place.generation);
    record_moved();
  }
  if (!put.ok() && put.error().code == Errc::kFenced) {
    conflict();
  }
  // Otherwise follow_place() finds out what became of it.
  co_return put.ok() ? Status(Ok{})
                     : Status(Error{put.error().code, "the owner record was not written"});
}

Task<void> PairNode::agree_to_move(PlaceMessage asked) {
  PlaceMessage answer;
  answer.verb = static_cast<std::uint32_t>(PlaceVerb::kRefused);
  answer.number = asked.number;
  answer.from = arbiter_.generation();
  answer.generation = asked.generation;
  answer.disk = asked.disk;
  const std::optional<std::size_t> to = disk_of(asked.disk);
  bool agreed = to && !move_veto(*to) && asked.from == arbiter_.generation() &&
                asked.generation > arbiter_.generation() && record_.has_value();
  if (agreed) {
    agreeing_ = true;
    shelf::SharedDisk& disk = *disks_[*to].disk;
    const Result<PlaceRead> there = co_await mailbox::read_place(options_.self.pair, disk);
    agreed = there.ok() && there.value().generation < asked.generation && !conflict_ && !leaving_ &&
             !moving_ && !proposal_ && asked.from == arbiter_.generation();
    if (agreed) {
      step("agree to move the record");
      proposal_ = {{asked.generation, asked.disk}, *to, scheduler_.now(), false};
      arbiter_.bind(disk, asked.generation);
      const Status promised = co_await write_note(false);
      agreed = promised.ok() && proposal_;
    }
    agreeing_ = false;
  }
  if (agreed) {
    answer.verb = static_cast<std::uint32_t>(PlaceVerb::kAgreed);
    answer.known = to_message(arbiter_.claims().known);
    answer.maybe = to_message(arbiter_.claims().maybe);
  }
  static_cast<void>(send(answer));
}

Status PairNode::send(const PlaceMessage& message) {
  PlaceMessage full = message;
  full.pair = options_.self.pair;
  full.incarnation = static_cast<std::uint64_t>(options_.self.incarnation);
  return link_.send(interconnect::Channel::kFailover, bytes_of(full));
}

void PairNode::on_place_message(ConstBytes bytes) {
  const auto message = load<PlaceMessage>(bytes, 0);
  if (message.magic != kPlaceMagic || message.version != kPairVersion ||
      message.pair != options_.self.pair) {
    return;
  }
  if (message.verb == static_cast<std::uint32_t>(PlaceVerb::kAsk)) {
    scope_.spawn(agree_to_move(message));
  } else {
    place_answer_ = message;
  }
}

}  // namespace duet::failover
