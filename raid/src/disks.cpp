#include "disks.h"

#include <algorithm>

namespace duet::raid {

Disks::Disks(const Assembly& assembly, const std::vector<BlockDevice*>& devices) {
  adopt(assembly.label);
  for (std::size_t i = 0; i < assembly.members.size(); ++i) {
    if (assembly.members[i].has_value()) {
      devices_[label_.members[i].id] = devices[*assembly.members[i]];
    } else if (assembly.returned[i].has_value()) {
      devices_[label_.members[i].id] = devices[*assembly.returned[i]];
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
    // Another disk, or known to have failed: the suspicion has come to its end.
    if (label.members[i].id != label_.members[i].id ||
        static_cast<DiskState>(label.members[i].state) == DiskState::kFailed) {
      suspects_ &= ~one(i);
      away_ &= ~one(i);
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

ColumnSet Disks::readable(const PlacedStripe& stripe) const {
  ColumnSet disks = 0;
  for (std::uint32_t i = 0; i < stripe.disks; ++i) {
    const bool holds = state(i) == DiskState::kInSync ||
                       (state(i) == DiskState::kRebuilding &&
                        static_cast<std::uint64_t>(stripe.stripe) < label_.members[i].watermark);
    disks |= holds ? one(i) : 0;
  }
  return columns_of(stripe, disks & ~(suspects_ | missing_));
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
