#include "mailbox/marks.h"

#include <algorithm>

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
  DUET_CHECK(filer < kFilers);
  use({std::move(members)});
}

void Marks::use(const MemberSets& sets) {
  sets_ = sets;
  for (Slot& slot : slots_) {
    // Who was no member for a while may have been written by the other node.
    slot.durable = slot.retired ? 0 : slot.durable;
    slot.retired = true;
  }
  for (const MemberDisks& members : sets_) {
    DUET_CHECK(!members.empty() && members.size() <= kMembersMax);
    for (shelf::SharedDisk* const disk : members) {
      const auto there = std::ranges::find(slots_, disk, &Slot::disk);
      if (there != slots_.end()) {
        there->retired = false;
        begin(*there);
        continue;
      }
      slots_.push_back({.disk = disk, .buffer = std::make_unique<SectorBuffer>()});
      begin(slots_.back());
    }
  }
  changed_.wake_all();
}

// What is wanted gets to the member, if it is not there already.
void Marks::begin(Slot& slot) {
  if (slot.durable != version_ && !slot.running) {
    slot.last = Ok{};
    slot.running = true;
    scope_.spawn(bring(slot));
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
    if (!slot.retired) {
      begin(slot);
    }
  }
}

// Until the member holds what is wanted, or refuses us.
Task<void> Marks::bring(Slot& slot) {
  while (slot.durable != version_ && !slot.retired) {
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

std::size_t Marks::holding(const MemberDisks& members) const {
  return static_cast<std::size_t>(std::ranges::count_if(slots_, [&](const Slot& slot) {
    return slot.durable == version_ && std::ranges::find(members, slot.disk) != members.end();
  }));
}

bool Marks::serving_quorum_holds() const {
  return std::ranges::all_of(sets_, [this](const MemberDisks& members) {
    return holding(members) >= serving_quorum(members.size());
  });
}

Task<Status> Marks::set(std::uint64_t epoch, std::uint64_t first_unmirrored) {
  want(true, epoch, first_unmirrored);
  while (!serving_quorum_holds()) {
    for (const Slot& slot : slots_) {
      if (!slot.retired && !slot.last.ok() && slot.last.error().code == Errc::kFenced) {
        co_return slot.last;
      }
    }
    co_await changed_.wait();
  }
  co_return Ok{};
}

Task<Status> Marks::clear(std::uint64_t epoch) {
  want(false, epoch, 0);
  co_return co_await everywhere();
}

Task<Status> Marks::everywhere() {
  for (;;) {
    bool all = true;
    for (const Slot& slot : slots_) {
      if (slot.retired || slot.durable == version_) {
        continue;
      }
      if (!slot.last.ok()) {
        co_return slot.last;
      }
      all = false;
    }
    if (all) {
      break;
    }
    co_await changed_.wait();
  }
  co_return Ok{};
}

Task<Status> Marks::carry() {
  if (version_ == 0) {
    const MarkReading found = co_await read(writer_.pair, filer_, sets_.front());
    if (!found.quorum) {
      co_return Error{Errc::kIo, "too few members to know whether there is a solo mark"};
    }
    if (version_ == 0) {  // else something was set meanwhile
      const bool set = found.mark.has_value();
      want(set, set ? found.mark->epoch : 0, set ? found.mark->first_unmirrored : 0);
    }
  }
  co_return co_await everywhere();
}

Task<MarkReading> Marks::read() {
  const MemberSets sets = sets_;
  MarkReading result;
  result.quorum = true;
  for (const MemberDisks& members : sets) {
    const MarkReading seen = co_await read(writer_.pair, filer_, members);
    result.readable = std::max(result.readable, seen.readable);
    result.quorum = result.quorum && seen.quorum;
    if (seen.mark && (!result.mark || result.mark->epoch < seen.mark->epoch)) {
      result.mark = seen.mark;
    }
  }
  co_return result;
}

Task<MarkReading> Marks::read(std::array<std::uint64_t, 2> pair, std::uint32_t filer,
                              MemberDisks members) {
  MarkReading result;
  for (shelf::SharedDisk* const disk : members) {
    const Result<MarkSector> found =
        co_await read_sector<MarkSector>(*disk, kMarkBlock + filer, pair, filer);
    if (!found.ok() && found.error().code != Errc::kNotFound) {
      continue;
    }
    ++result.readable;
    if (found.ok() && found.value().set != 0 &&
        (!result.mark || result.mark->epoch < found.value().epoch)) {
      result.mark = found.value();
    }
  }
  result.quorum = result.readable >= reading_quorum(members.size());
  co_return result;
}

}  // namespace duet::mailbox
