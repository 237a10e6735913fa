#include "mailbox/marks.h"

namespace duet::mailbox {

namespace {

constexpr Duration kRetry = std::chrono::milliseconds(20);

}  // namespace

Marks::Marks(Scheduler& scheduler, const Writer& writer, std::uint32_t filer, MemberDisks members)
    : scheduler_(scheduler),
      writer_(writer),
      filer_(filer),
      changed_(scheduler),
      scope_(scheduler) {
  DUET_CHECK(filer < kFilers && !members.empty() && members.size() <= kMembersMax);
  for (shelf::SharedDisk* const disk : members) {
    slots_.push_back({.disk = disk, .buffer = std::make_unique<SectorBuffer>()});
  }
}

void Marks::want(bool set, std::uint64_t epoch, std::uint64_t first) {
  wanted_ = MarkSector();
  wanted_.header.pair = writer_.pair;
  wanted_.header.subject = filer_;
  wanted_.header.node = index_of(writer_.node);
  wanted_.header.incarnation = static_cast<std::uint64_t>(writer_.incarnation);
  wanted_.header.sequence = ++version_;
  wanted_.set = set ? 1 : 0;
  wanted_.epoch = epoch;
  wanted_.first_unmirrored = first;
  for (Slot& slot : slots_) {
    slot.last = Ok{};
    if (!slot.running) {
      slot.running = true;
      scope_.spawn(bring(slot));
    }
  }
}

// Until the member holds what is wanted, or refuses us.
Task<void> Marks::bring(Slot& slot) {
  while (slot.durable != version_) {
    const std::uint64_t version = version_;
    encode(wanted_, slot.buffer->bytes());
    const Status written =
        co_await slot.disk->write_durable(kMarkBlock + filer_, slot.buffer->parts());
    if (written.ok()) {
      slot.durable = version;
      changed_.wake_all();
      continue;
    }
    if (version != version_) {
      continue;  // something else is wanted by now
    }
    slot.last = written;
    changed_.wake_all();
    if (written.error().code == Errc::kFenced) {
      break;
    }
    co_await sleep(scheduler_, kRetry);
  }
  slot.running = false;
}

std::size_t Marks::holding() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(slots_, [this](const Slot& slot) { return slot.durable == version_; }));
}

Task<Status> Marks::set(std::uint64_t epoch, std::uint64_t first_unmirrored) {
  want(true, epoch, first_unmirrored);
  while (holding() < serving_quorum(slots_.size())) {
    for (const Slot& slot : slots_) {
      if (!slot.last.ok() && slot.last.error().code == Errc::kFenced) {
        co_return slot.last;
      }
    }
    co_await changed_.wait();
  }
  co_return Ok{};
}

Task<Status> Marks::clear(std::uint64_t epoch) {
  want(false, epoch, 0);
  while (holding() < slots_.size()) {
    for (const Slot& slot : slots_) {
      if (slot.durable != version_ && !slot.last.ok()) {
        co_return slot.last;
      }
    }
    co_await changed_.wait();
  }
  co_return Ok{};
}

Task<MarkReading> Marks::read() {
  MarkReading result;
  for (const Slot& slot : slots_) {
    const Result<MarkSector> found =
        co_await read_sector<MarkSector>(*slot.disk, kMarkBlock + filer_, writer_.pair, filer_);
    if (!found.ok() && found.error().code != Errc::kNotFound) {
      continue;
    }
    ++result.readable;
    if (found.ok() && found.value().set != 0 &&
        (!result.mark || result.mark->epoch < found.value().epoch)) {
      result.mark = found.value();
    }
  }
  result.quorum = result.readable >= reading_quorum(slots_.size());
  co_return result;
}

}  // namespace duet::mailbox
