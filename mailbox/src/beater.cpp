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
  use({std::move(members)});
}

void Beater::start() {
  started_ = true;
  for (Slot& slot : slots_) {
    scope_.spawn(beat_on(slot));
  }
}

void Beater::use(const MemberSets& sets) {
  sets_ = sets;
  for (Slot& slot : slots_) {
    slot.retired = true;
  }
  for (const MemberDisks& members : sets_) {
    DUET_CHECK(!members.empty() && members.size() <= kMembersMax);
    for (shelf::SharedDisk* const disk : members) {
      const auto there = std::ranges::find(slots_, disk, &Slot::disk);
      if (there != slots_.end()) {
        there->retired = false;
        continue;
      }
      slots_.push_back({.disk = disk, .buffer = std::make_unique<SectorBuffer>()});
      if (started_) {
        scope_.spawn(beat_on(slots_.back()));
      }
    }
  }
  if (!started_) {
    slots_.remove_if([](const Slot& slot) { return slot.retired; });
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
  return static_cast<std::size_t>(std::ranges::count_if(
      slots_, [](const Slot& slot) { return slot.arrived && !slot.retired; }));
}

Task<void> Beater::beat_on(Slot& slot) {
  for (;;) {
    while (held_) {
      co_await resumed_.wait();
    }
    if (slot.retired) {
      break;
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
  slots_.remove_if([&slot](const Slot& each) { return &each == &slot; });
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
  std::optional<Instant> counts;
  for (const MemberDisks& members : sets_) {
    const std::optional<Instant> reached = reached_by(members);
    if (!reached) {
      return;
    }
    counts = counts ? std::min(*counts, *reached) : *reached;
  }
  if (!renewed_ || *counts > *renewed_) {
    renewed_ = counts;
    if (on_renewed) {
      on_renewed();
    }
  }
}

// The newest start that the serving quorum of `members` holds.
std::optional<Instant> Beater::reached_by(const MemberDisks& members) const {
  std::vector<Instant> starts;
  for (const Slot& each : slots_) {
    if (each.last_started && std::ranges::find(members, each.disk) != members.end()) {
      starts.push_back(*each.last_started);
    }
  }
  const std::size_t quorum = serving_quorum(members.size());
  if (starts.size() < quorum) {
    return std::nullopt;
  }
  std::ranges::sort(starts, std::greater());
  return starts[quorum - 1];
}

}  // namespace duet::mailbox
