#include "mailbox/beater.h"

namespace duet::mailbox {

Beater::Beater(Scheduler& scheduler, const BootClock& clock, const Writer& writer,
               MemberDisks members, const BeatOptions& options)
    : scheduler_(scheduler),
      clock_(clock),
      writer_(writer),
      options_(options),
      resumed_(scheduler),
      ended_(scheduler),
      scope_(scheduler) {
  DUET_CHECK(!members.empty() && members.size() <= kMembersMax);
  for (shelf::SharedDisk* const disk : members) {
    slots_.push_back({.disk = disk, .buffer = std::make_unique<SectorBuffer>()});
  }
}

void Beater::start() {
  for (Slot& slot : slots_) {
    scope_.spawn(beat_on(slot));
  }
}

void Beater::resume() {
  held_ = false;
  resumed_.wake_all();
}

Task<void> Beater::quiet() {
  DUET_CHECK(held_);
  while (std::ranges::any_of(slots_, &Slot::under_way)) {
    co_await ended_.wait();
  }
}

std::size_t Beater::reached() const {
  return static_cast<std::size_t>(std::ranges::count_if(slots_, &Slot::arrived));
}

Task<void> Beater::beat_on(Slot& slot) {
  for (;;) {
    while (held_) {
      co_await resumed_.wait();
    }
    const Instant next = scheduler_.now() + options_.beat;
    if (!progress || progress()) {
      write_sector(slot);
      const Instant started = clock_.now();
      slot.under_way = true;
      const Status written =
          co_await slot.disk->write(kBeatBlock + index_of(writer_.node), slot.buffer->parts());
      slot.under_way = false;
      slot.arrived = written.ok();
      ended_.wake_all();
      if (written.ok()) {
        arrived(slot, started);
      } else if (written.error().code == Errc::kFenced && on_fenced) {
        on_fenced();
      }
    }
    co_await Sleep(scheduler_, next);
  }
}

void Beater::write_sector(Slot& slot) const {
  BeatSector sector;
  sector.header.pair = writer_.pair;
  sector.header.subject = index_of(writer_.node);
  sector.header.node = index_of(writer_.node);
  sector.header.incarnation = static_cast<std::uint64_t>(writer_.incarnation);
  sector.header.sequence = ++slot.sequence;
  const auto ms = [](Duration d) {
    return static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::milliseconds>(d).count());
  };
  sector.lease_ms = ms(options_.lease);
  sector.beat_ms = ms(options_.beat);
  sector.state = static_cast<std::uint32_t>(content_.state);
  sector.serving = content_.serving;
  sector.membership_generation = content_.membership_generation;
  sector.epochs = content_.epochs;
  encode(sector, slot.buffer->bytes());
}

void Beater::arrived(Slot& slot, Instant started) {
  slot.last_started = started;
  std::vector<Instant> starts;
  for (const Slot& each : slots_) {
    if (each.last_started) {
      starts.push_back(*each.last_started);
    }
  }
  const std::size_t quorum = serving_quorum(slots_.size());
  if (starts.size() < quorum) {
    return;
  }
  std::ranges::sort(starts, std::greater());
  if (const Instant counts = starts[quorum - 1]; !renewed_ || counts > *renewed_) {
    renewed_ = counts;
    if (on_renewed) {
      on_renewed();
    }
  }
}

}  // namespace duet::mailbox
