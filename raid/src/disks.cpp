#include "disks.h"

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
  suspects_ = assembly.absent;
}

void Disks::adopt(const GroupLabel& label) {
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    // Another disk, or known to have failed: the suspicion has come to its end.
    if (label.members[i].id != label_.members[i].id ||
        static_cast<DiskState>(label.members[i].state) == DiskState::kFailed) {
      suspects_ &= ~one(i);
    }
  }
  label_ = label;
  geometry_ = geometry_of(label);
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    if (!devices_.empty() && state(i) != DiskState::kFailed && device(i) == nullptr) {
      suspects_ |= one(i);
    }
  }
}

BlockDevice* Disks::device(std::uint32_t disk) const {
  const auto found = devices_.find(label_.members[disk].id);
  return found == devices_.end() ? nullptr : found->second;
}

BlockDevice* Disks::spare(std::uint32_t index) const {
  const auto found = devices_.find(label_.spares[index]);
  return found == devices_.end() ? nullptr : found->second;
}

ColumnSet Disks::failed() const {
  ColumnSet set = 0;
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    set |= state(i) == DiskState::kFailed ? one(i) : 0;
  }
  return set;
}

ColumnSet Disks::suspects() const { return suspects_ & ~failed(); }

ColumnSet Disks::written() const { return first(label_.disks) & ~failed() & ~suspects_; }

ColumnSet Disks::readable(Stripe stripe) const {
  ColumnSet columns = 0;
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    const bool holds = state(i) == DiskState::kInSync ||
                       (state(i) == DiskState::kRebuilding &&
                        static_cast<std::uint64_t>(stripe) < label_.members[i].watermark);
    if (holds && (suspects_ & one(i)) == 0) {
      columns |= one(geometry_.column_of(stripe, i));
    }
  }
  return columns;
}

ColumnSet Disks::columns_of(Stripe stripe, ColumnSet disks) const {
  ColumnSet columns = 0;
  for (std::uint32_t i = 0; i < label_.disks; ++i) {
    columns |= (disks & one(i)) != 0 ? one(geometry_.column_of(stripe, i)) : 0;
  }
  return columns;
}

ColumnSet Disks::writable(Stripe stripe) const { return columns_of(stripe, written()); }

ColumnSet Disks::expected(Stripe stripe) const {
  return columns_of(stripe, first(label_.disks) & ~failed());
}

void Disks::note_error(std::uint32_t disk, const Error& error) {
  if (error.code == Errc::kFenced) {
    fenced_ = true;
  } else {
    suspect(disk);
  }
}

}  // namespace duet::raid
