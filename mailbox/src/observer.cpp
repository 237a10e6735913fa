#include "mailbox/observer.h"

namespace duet::mailbox {

namespace {

// Beyond these a record is no record of ours, whatever its checksum.
constexpr std::uint32_t kLeaseMsMax = 600'000;

}  // namespace

Observer::Observer(Scheduler& scheduler, const std::array<std::uint64_t, 2>& pair, Node peer,
                   MemberDisks members, const BeatOptions& assumed)
    : scheduler_(scheduler),
      pair_(pair),
      peer_(peer),
      assumed_(assumed),
      changed_(scheduler.now()),
      look_begun_(scheduler.now()),
      looked_since_(look_begun_),
      scope_(scheduler) {
  use(members);
}

void Observer::use(const MemberDisks& members) {
  DUET_CHECK(!members.empty() && members.size() <= kMembersMax);
  slots_.clear();
  for (shelf::SharedDisk* const disk : members) {
    slots_.push_back(std::make_shared<Slot>());
    slots_.back()->disk = disk;
  }
  changed_ = scheduler_.now();
}

Task<void> Observer::look(Duration patience) {
  look_begun_ = scheduler_.now();
  const Instant deadline = look_begun_ + patience;
  for (const std::shared_ptr<Slot>& slot : slots_) {
    slot->answered = false;
    if (!slot->reading) {
      slot->reading = true;
      scope_.spawn(read(slot));
    }
  }
  const auto done = [this] {
    return std::ranges::all_of(slots_, [](const auto& slot) { return slot->answered; });
  };
  const auto pending = [this] {
    return std::ranges::any_of(slots_, [](const auto& slot) { return slot->reading; });
  };
  // Short naps instead of a wait for either of two things; a look is a few disk reads long.
  Duration nap = std::chrono::microseconds(50);
  while (!done() && pending() && scheduler_.now() < deadline) {
    co_await sleep(scheduler_, nap);
    nap = std::min<Duration>(nap * 2, std::chrono::milliseconds(5));
  }
  looked_since_ = look_begun_;
  for (const std::shared_ptr<Slot>& slot : slots_) {
    slot->readable = slot->answered;
  }
}

Task<void> Observer::read(std::shared_ptr<Slot> slot) {
  const Instant begun = look_begun_;
  const Status status =
      co_await slot->disk->read(kBeatBlock + index_of(peer_), slot->buffer.parts());
  slot->reading = false;
  // What was asked for in an earlier look says nothing about this one, nor does a former member.
  if (begun == look_begun_ && std::ranges::find(slots_, slot) != slots_.end()) {
    take(*slot, status);
  }
}

void Observer::take(Slot& slot, const Status& status) {
  if (!status.ok()) {
    return;
  }
  const Result<BeatSector> found =
      decode<BeatSector>(std::as_const(slot.buffer).bytes(), pair_, index_of(peer_));
  BeatSnapshot::Beat beat;
  if (found.ok()) {
    beat = {found.value().header.incarnation, found.value().header.sequence};
  } else if (found.error().code != Errc::kNotFound) {
    return;
  }
  slot.answered = true;
  slot.readable = slot.readable || looked_since_ == look_begun_;  // late, but before the next look
  if (slot.last != beat) {
    slot.last = beat;
    changed_ = scheduler_.now();
  }
  if (found.ok() && (!newest_ || newest_->header.incarnation <= beat.incarnation)) {
    newest_ = found.value();
  }
}

Readable Observer::readable() const {
  const auto count = static_cast<std::size_t>(
      std::ranges::count_if(slots_, [](const auto& slot) { return slot->readable; }));
  if (count >= reading_quorum(slots_.size())) {
    return Readable::kBoth;
  }
  return count == 0 ? Readable::kNone : Readable::kOne;
}

Duration Observer::unchanged_for() const {
  if (readable() != Readable::kBoth || looked_since_ < changed_) {
    return Duration(0);
  }
  return looked_since_ - changed_;
}

Duration Observer::lease() const {
  if (!newest_ || newest_->lease_ms == 0 || newest_->lease_ms > kLeaseMsMax) {
    return assumed_.lease;
  }
  return std::chrono::milliseconds(newest_->lease_ms);
}

// The tenth is for clocks that do not go at one rate.
Duration Observer::wait_time() const { return lease() + lease() / 10; }

bool Observer::stale() const {
  const Duration beat = newest_ && newest_->beat_ms > 0 && newest_->beat_ms <= kLeaseMsMax
                            ? std::chrono::milliseconds(newest_->beat_ms)
                            : assumed_.beat;
  return unchanged_for() > beat * 5 / 2;
}

BeatSnapshot Observer::snapshot() const {
  BeatSnapshot result;
  for (const std::shared_ptr<Slot>& slot : slots_) {
    result.members.push_back(slot->readable ? slot->last : std::nullopt);
  }
  return result;
}

bool Observer::moved_since(const BeatSnapshot& before) const {
  DUET_CHECK(before.members.size() == slots_.size());
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i]->readable || !before.members[i] || slots_[i]->last != before.members[i]) {
      return true;
    }
  }
  return false;
}

Task<std::optional<WordsSector>> Observer::read_words() {
  std::optional<WordsSector> newest;
  const std::vector<std::shared_ptr<Slot>> slots = slots_;
  for (const std::shared_ptr<Slot>& slot : slots) {
    if (!slot->readable) {
      continue;  // it would make us wait
    }
    const Result<WordsSector> found = co_await read_sector<WordsSector>(
        *slot->disk, kWordsBlock + index_of(peer_), pair_, index_of(peer_));
    if (found.ok() && (!newest || newest->dead_incarnation < found.value().dead_incarnation)) {
      newest = found.value();
    }
  }
  co_return newest;
}

Task<Status> write_words(Writer writer, MemberDisks members, Incarnation dead, Cause cause,
                         Duration restart, std::uint64_t crashes) {
  WordsSector sector;
  sector.header.pair = writer.pair;
  sector.header.subject = index_of(writer.node);
  sector.header.node = index_of(writer.node);
  sector.header.incarnation = static_cast<std::uint64_t>(writer.incarnation);
  sector.header.sequence = 1;
  sector.dead_incarnation = static_cast<std::uint64_t>(dead);
  sector.cause = static_cast<std::uint32_t>(cause);
  sector.restart_ms =
      static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::milliseconds>(restart).count());
  sector.crashes = crashes;
  const auto buffer = std::make_unique<SectorBuffer>();
  encode(sector, buffer->bytes());
  Status result = Error{Errc::kIo, "no mailbox member"};
  bool any = false;
  for (shelf::SharedDisk* const disk : members) {
    result = co_await disk->write_durable(kWordsBlock + index_of(writer.node), buffer->parts());
    any = any || result.ok();
  }
  co_return any ? Status(Ok{}) : result;
}

}  // namespace duet::mailbox
