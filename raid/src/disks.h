// Disks: the members of a group, as the label and this node's own experience tell.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <bit>
#include <map>
#include <vector>

#include "platform/block_device.h"
#include "raid/codec.h"
#include "raid/label.h"

namespace duet::raid {

class Disks {
 public:
  Disks(const Assembly& assembly, const std::vector<BlockDevice*>& devices);

  void adopt(const GroupLabel& label);
  [[nodiscard]] const GroupLabel& label() const { return label_; }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }

  // Null: not there.
  [[nodiscard]] BlockDevice* device(std::uint32_t disk) const;
  [[nodiscard]] BlockDevice* spare(std::uint32_t index) const;
  [[nodiscard]] DiskState state(std::uint32_t disk) const {
    return static_cast<DiskState>(label_.members[disk].state);
  }

  // Columns of the stripe whose disks hold what they should; that must get every write.
  [[nodiscard]] ColumnSet readable(Stripe stripe) const;
  [[nodiscard]] ColumnSet writable(Stripe stripe) const;
  // As writable(), by the label alone.
  [[nodiscard]] ColumnSet expected(Stripe stripe) const;
  // Columns of the stripe whose disks get writes and do not hold what they should yet.
  [[nodiscard]] ColumnSet rebuilding(Stripe stripe) const {
    return writable(stripe) & ~readable(stripe);
  }
  // Disks that get writes.
  [[nodiscard]] ColumnSet written() const;

  // Something went wrong with it: a disk that missed a write is of no use until the label says so.
  void note_error(std::uint32_t disk, const Error& error);
  void suspect(std::uint32_t disk) { suspects_ |= one(disk); }
  // Suspected, and the label does not say it yet.
  [[nodiscard]] ColumnSet suspects() const;
  [[nodiscard]] ColumnSet failed() const;  // by the label
  [[nodiscard]] bool too_many_failed() const {
    return static_cast<std::uint32_t>(std::popcount(failed() | suspects())) >
           geometry_.check_columns();
  }
  // A disk has refused this node.
  [[nodiscard]] bool fenced() const { return fenced_; }

 private:
  [[nodiscard]] ColumnSet columns_of(Stripe stripe, ColumnSet disks) const;

  GroupLabel label_;
  Geometry geometry_;
  std::map<DiskId, BlockDevice*> devices_;
  ColumnSet suspects_ = 0;
  bool fenced_ = false;
};

}  // namespace duet::raid
