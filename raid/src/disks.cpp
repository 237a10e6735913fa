#include "disks.h"

#include <algorithm>

namespace duet::raid {

Disks::Disks(const Assembly& assembly, const std::vector<BlockDevice*>& devices) {
  adopt(assembly.label);
  for (std::size_t i = 0; i < assembly.members.size(); ++i) {
    if (assembly.members[i].has_value()) {
      devices_[label_.members[i].id] = devices[*assembly.members[i]];
    }
  }
  for (std::size_t i = 0; i < assembly.spares.size(); ++i) {
    if (assembly.spares[i].has_value()) {
      devices_[label_.spares[i]] = devices[*assembly.spares[i]];
    }
  }
  find_missing();
  suspects_ = away_ = assembly.absent;
}

void Disks::found(const GroupLabel& own, BlockDevice* device) {
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    if (label_.members[i].id == own.own_id && state(i) == DiskState::kFailed) {
      devices_.erase(own.own_id);  // it may be there under another name now
    }
  }
  know(own.own_id, device);
  if (device_called(own.own_id) == device) {
    constexpr std::uint64_t kOfNoMoment = ~std::uint64_t{0};
    found_[own.own_id] = is_of_before(label_, own) ? own.sequence : kOfNoMoment;
    device->begin_anew();
  }
}

std::optional<std::uint64_t> Disks::found_with(const DiskId& id) const {
  const auto found = found_.find(id);
  return found == found_.end() ? std::optional<std::uint64_t>() : found->second;
}

void Disks::know(const DiskId& id, BlockDevice* device) {
  if (devices_.contains(id)) {
    return;  // a duplicate
  }
  std::erase_if(devices_, [&](const auto& entry) { return entry.second == device; });
  devices_.emplace(id, device);
  find_missing();
}

std::optional<DiskId> Disks::id_of(const BlockDevice* device) const {
  const auto found =
      std::ranges::find_if(devices_, [&](const auto& entry) { return entry.second == device; });
  return found == devices_.end() ? std::optional<DiskId>() : found->first;
}

BlockDevice* Disks::device_called(const DiskId& id) const {
  const auto found = devices_.find(id);
  return found == devices_.end() ? nullptr : found->second;
}

void Disks::find_missing() {
  missing_ = 0;
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    missing_ |= state(i) != DiskState::kFailed && device(i) == nullptr ? one(i) : 0;
  }
}

void Disks::adopt(const GroupLabel& label) {
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    const LabelDisk& before = label_.members[i];
    const LabelDisk& disk = label.members[i];
    // Another disk, or known to have failed, or back: the suspicion has come to its end.
    const bool has_failed = static_cast<DiskState>(disk.state) == DiskState::kFailed;
    const bool had_failed = static_cast<DiskState>(before.state) == DiskState::kFailed;
    if (disk.id != before.id || has_failed || had_failed) {
      suspects_ &= ~one(i);
      away_ &= ~one(i);
    }
    returns_ += had_failed && !has_failed ? 1 : 0;
    if (has_failed && disk != before) {
      found_.erase(disk.id);  // what was read of it is of the time before
    }
    if (static_cast<DiskState>(disk.state) == DiskState::kRebuilding &&
        (disk.id != before.id || disk.since != before.since)) {
      if (BlockDevice* const device = device_called(disk.id); device != nullptr) {
        device->begin_anew();  // what it lost of earlier writes is written again
      }
    }
  }
  label_ = label;
  geometry_ = geometry_of(label);
  find_missing();
}

BlockDevice* Disks::device(std::uint32_t disk) const {
  return device_called(label_.members[disk].id);
}

ColumnSet Disks::in_state(DiskState wanted) const {
  ColumnSet set = 0;
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    set |= state(i) == wanted ? one(i) : 0;
  }
  return set;
}

ColumnSet Disks::rebuilding() const { return in_state(DiskState::kRebuilding) & written(); }

std::uint64_t Disks::watermark() const {
  std::uint64_t lowest = label_.stripes;
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    if (state(i) == DiskState::kRebuilding) {
      lowest = std::min(lowest, label_.members[i].watermark);
    }
  }
  return lowest;
}

ColumnSet Disks::suspects() const { return suspects_ & ~failed(); }

ColumnSet Disks::written() const {
  return first(label_.disks) & ~failed() & ~suspects_ & ~missing_;
}

bool Disks::holds(std::uint32_t disk, Stripe stripe) const {
  const LabelDisk& member = label_.members[disk];
  switch (state(disk)) {
    case DiskState::kInSync:
      return true;
    case DiskState::kRebuilding:
      return static_cast<std::uint64_t>(stripe) < member.watermark ||
             ((member.flags & kRecorded) != 0 && !is_missed(label_, stripe));
    case DiskState::kFailed:
      break;
  }
  return false;
}

ColumnSet Disks::readable(const PlacedStripe& stripe) const {
  ColumnSet disks = 0;
  for (std::uint32_t i = 0; i < stripe.disks; ++i) {
    disks |= holds(i, stripe.stripe) ? one(i) : 0;
  }
  return columns_of(stripe, disks & ~(suspects_ | missing_));
}

bool Disks::lacked_by_any(const PlacedStripe& stripe) const {
  for (std::uint32_t i = 0; i < stripe.disks; ++i) {
    if (state(i) == DiskState::kRebuilding && !holds(i, stripe.stripe)) {
      return true;
    }
  }
  return false;
}

ColumnSet Disks::columns_of(const PlacedStripe& stripe, ColumnSet disks) const {
  const Geometry placed = geometry(stripe);
  ColumnSet columns = 0;
  for (std::uint32_t i = 0; i < stripe.disks; ++i) {
    columns |= (disks & one(i)) != 0 ? one(placed.column_of(stripe.stripe, i)) : 0;
  }
  return columns;
}

ColumnSet Disks::writable(const PlacedStripe& stripe) const {
  return columns_of(stripe, written());
}

ColumnSet Disks::expected(const PlacedStripe& stripe) const {
  return columns_of(stripe, first(label_.disks) & ~failed());
}

void Disks::note_error(std::uint32_t disk, const BlockDevice& on, const Error& error) {
  if (error.code == Errc::kFenced) {
    fenced_ = true;
  } else if (device(disk) == &on) {
    suspect(disk);
  }
}

}  // namespace duet::raid
