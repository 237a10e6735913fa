#include "mailbox/members.h"

#include <algorithm>

namespace duet::mailbox {

namespace {

bool sane(const MembersSector& sector) {
  return sector.count <= kMembersMax && sector.previous_count <= kMembersMax &&
         sector.previous_generation < std::max<std::uint64_t>(sector.generation, 1);
}

Membership membership(std::uint64_t generation, const std::array<DiskIdentity, kMembersMax>& disks,
                      std::uint32_t count) {
  Membership result;
  result.generation = generation;
  result.disks.assign(disks.begin(), disks.begin() + count);
  return result;
}

}  // namespace

std::optional<Membership> MembersRead::of(std::uint64_t generation) const {
  for (const MembersSector& each : sectors) {
    if (each.generation == generation && each.count > 0) {
      return membership(generation, each.disks, each.count);
    }
    if (each.previous_generation == generation && each.previous_count > 0) {
      return membership(generation, each.previous_disks, each.previous_count);
    }
  }
  return std::nullopt;
}

std::uint64_t MembersRead::highest() const {
  std::uint64_t result = 0;
  for (const MembersSector& each : sectors) {
    result = std::max(result, each.generation);
  }
  return result;
}

Task<MembersRead> read_members(std::array<std::uint64_t, 2> pair, Node node, MemberDisks disks) {
  MembersRead result;
  result.all = true;
  for (shelf::SharedDisk* const disk : disks) {
    const Result<MembersSector> found = co_await read_sector<MembersSector>(
        *disk, kMembersBlock + index_of(node), pair, index_of(node));
    if (found.ok() && sane(found.value())) {
      result.sectors.push_back(found.value());
      continue;
    }
    const Errc code = found.ok() ? Errc::kCorrupt : found.error().code;
    result.unknown += code == Errc::kNotFound ? 0 : 1;
    if (code == Errc::kIo || code == Errc::kClosed) {
      result.all = false;
    }
  }
  std::ranges::sort(result.sectors, [](const MembersSector& a, const MembersSector& b) {
    return std::pair(a.header.incarnation, a.header.sequence) >
           std::pair(b.header.incarnation, b.header.sequence);
  });
  co_return result;
}

MembersSector members_sector(const Membership& next, const Membership& now) {
  DUET_CHECK(!next.disks.empty() && next.disks.size() <= kMembersMax);
  DUET_CHECK(now.disks.size() <= kMembersMax && now.generation < next.generation);
  MembersSector sector;
  sector.generation = next.generation;
  sector.count = static_cast<std::uint32_t>(next.disks.size());
  std::ranges::copy(next.disks, sector.disks.begin());
  sector.previous_generation = now.generation;
  sector.previous_count = static_cast<std::uint32_t>(now.disks.size());
  std::ranges::copy(now.disks, sector.previous_disks.begin());
  return sector;
}

MembersWriter::Slot& MembersWriter::slot_of(shelf::SharedDisk& disk) {
  for (Slot& slot : slots_) {
    if (slot.disk == &disk) {
      return slot;
    }
  }
  slots_.push_back({.disk = &disk, .buffer = std::make_unique<SectorBuffer>()});
  return slots_.back();
}

Task<Status> MembersWriter::write(MembersSector sector, MemberDisks disks, std::size_t needed) {
  sector.header.pair = writer_.pair;
  sector.header.subject = index_of(writer_.node);
  sector.header.node = index_of(writer_.node);
  sector.header.incarnation = static_cast<std::uint64_t>(writer_.incarnation);
  sector.header.sequence = ++version_;
  wanted_ = sector;
  const std::uint64_t version = version_;
  std::vector<Slot*> slots;
  for (shelf::SharedDisk* const disk : disks) {
    Slot& slot = slot_of(*disk);
    slot.wanted = version;
    slots.push_back(&slot);
    if (!slot.running) {
      slot.running = true;
      scope_.spawn(bring(slot));
    }
  }
  for (;;) {
    const auto holding = static_cast<std::size_t>(std::ranges::count_if(
        slots, [version](const Slot* slot) { return slot->durable >= version; }));
    if (holding >= needed) {
      co_return Ok{};
    }
    if (std::ranges::all_of(slots, [version](const Slot* s) { return s->tried >= version; })) {
      break;
    }
    co_await changed_.wait();
  }
  Status result = Error{Errc::kIo, "too few mailbox members could be written"};
  for (const Slot* const slot : slots) {
    if (!slot->last.ok()) {
      result = slot->last;
    }
  }
  co_return result;
}

Task<void> MembersWriter::bring(Slot& slot) {
  while (slot.tried < slot.wanted) {
    const std::uint64_t version = version_;
    encode(wanted_, slot.buffer->bytes());
    slot.last = co_await slot.disk->write_durable(kMembersBlock + index_of(writer_.node),
                                                  slot.buffer->parts());
    slot.tried = version;
    if (slot.last.ok()) {
      slot.durable = version;
    }
    changed_.wake_all();
  }
  slot.running = false;
  changed_.wake_all();
}

Task<void> MembersWriter::quiet() {
  while (std::ranges::any_of(slots_, &Slot::running)) {
    co_await changed_.wait();
  }
}

}  // namespace duet::mailbox
