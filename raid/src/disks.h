// Disks: the members of a group, as the label and this node's own experience tell.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <bit>
#include <map>
#include <optional>
#include <vector>

#include "platform/block_device.h"
#include "raid/codec.h"
#include "raid/label.h"

namespace duet::raid {

class Disks {
 public:
  Disks(const Assembly& assembly, const std::vector<BlockDevice*>& devices);

  // Members that it names and that are not known here: missing(), until somebody says know() or
  // suspect_missing().
  void adopt(const GroupLabel& label);
  // The label of `device` says that it is `id`.
  void know(const DiskId& id, BlockDevice* device);
  // And that label was read just now, from one that is no member, or has failed.
  void found(const GroupLabel& own, BlockDevice* device);
  // The sequence of the label of a disk that was found since it failed, or at all.
  [[nodiscard]] std::optional<std::uint64_t> found_with(const DiskId& id) const;
  // Its label is to be read again: another may be in its place by now.
  void forget_label(const DiskId& id) { found_.erase(id); }
  [[nodiscard]] bool knows(const DiskId& id) const { return devices_.contains(id); }
  [[nodiscard]] std::optional<DiskId> id_of(const BlockDevice* device) const;
  // Null: not known.
  [[nodiscard]] BlockDevice* device_called(const DiskId& id) const;
  // Members that have not failed, and are not there.
  [[nodiscard]] ColumnSet missing() const { return missing_; }
  void suspect_missing() {
    suspects_ |= missing_;
    away_ |= missing_;
  }
  [[nodiscard]] const GroupLabel& label() const { return label_; }
  // Of all disks.
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  // Of a stripe that may be on fewer.
  [[nodiscard]] Geometry geometry(const PlacedStripe& stripe) const {
    Geometry geometry = geometry_;
    geometry.disks = stripe.disks;
    return geometry;
  }
  [[nodiscard]] bool expanding() const { return is_expanding(label_); }

  // Null: not there.
  [[nodiscard]] BlockDevice* device(std::uint32_t disk) const;
  [[nodiscard]] DiskState state(std::uint32_t disk) const {
    return static_cast<DiskState>(label_.members[disk].state);
  }

  // Columns of the stripe whose disks hold what they should; that must get every write.
  [[nodiscard]] ColumnSet readable(const PlacedStripe& stripe) const;
  [[nodiscard]] ColumnSet writable(const PlacedStripe& stripe) const;
  // As writable(), by the label alone.
  [[nodiscard]] ColumnSet expected(const PlacedStripe& stripe) const;
  // Disks that get writes and do not hold what they should yet: by the label, and there.
  [[nodiscard]] ColumnSet rebuilding() const;
  // Stripes below this are in sync on all disks that are rebuilt.
  [[nodiscard]] std::uint64_t watermark() const;
  // Columns of the stripe whose disks get writes and do not hold what they should yet.
  [[nodiscard]] ColumnSet rebuilding(const PlacedStripe& stripe) const {
    return writable(stripe) & ~readable(stripe);
  }
  // Grows when a member that had failed, or another one in its place, gets writes again: what was
  // planned before leaves it out.
  [[nodiscard]] std::uint64_t returns() const { return returns_; }
  // By the label a disk does not hold what it should of the stripe, and will.
  [[nodiscard]] bool lacked_by_any(const PlacedStripe& stripe) const;
  // What the check data says of it counts only where it was written since.
  [[nodiscard]] bool loose(Stripe stripe) const { return is_loose(label_, stripe); }
  // Disks that get writes.
  [[nodiscard]] ColumnSet written() const;

  // Something went wrong with it: a disk that missed a write is of no use until the label says so.
  // Not of another disk that had its place before.
  void note_error(std::uint32_t disk, const BlockDevice& on, const Error& error);
  void suspect(std::uint32_t disk) { suspects_ |= one(disk); }
  // Suspected, and the label does not say it yet.
  [[nodiscard]] ColumnSet suspects() const;
  // Of those: not for an error, but as they are not there.
  [[nodiscard]] ColumnSet away() const { return suspects() & away_; }
  [[nodiscard]] ColumnSet in_state(DiskState wanted) const;  // by the label
  [[nodiscard]] ColumnSet failed() const { return in_state(DiskState::kFailed); }
  [[nodiscard]] bool too_many_failed() const {
    return static_cast<std::uint32_t>(std::popcount(failed() | suspects())) >
           geometry_.check_columns();
  }
  // A disk has refused this node.
  [[nodiscard]] bool fenced() const { return fenced_; }

 private:
  [[nodiscard]] ColumnSet columns_of(const PlacedStripe& stripe, ColumnSet disks) const;
  void find_missing();
  [[nodiscard]] bool holds(std::uint32_t disk, Stripe stripe) const;

  GroupLabel label_;
  Geometry geometry_;
  std::map<DiskId, BlockDevice*> devices_;
  std::map<DiskId, std::uint64_t> found_;
  ColumnSet suspects_ = 0;
  ColumnSet missing_ = 0;
  ColumnSet away_ = 0;
  std::uint64_t returns_ = 0;
  bool fenced_ = false;
};

}  // namespace duet::raid
