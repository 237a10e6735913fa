// Labels: reading, checking and writing them, and finding a group's disks among many.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "platform/block_device.h"
#include "platform/task.h"
#include "raid/codec.h"
#include "raid/label_format.h"

namespace duet::raid {

// With all its disks.
[[nodiscard]] Geometry geometry_of(const GroupLabel& label);
// What its capacity goes by: while it is expanded, with the disks that it had before.
[[nodiscard]] Geometry capacity_of(const GroupLabel& label);

// Blocks of a group that lie together.
struct Part {
  std::uint64_t first_block = 0;
  std::uint64_t blocks = 0;
  friend bool operator==(const Part&, const Part&) = default;
};

// ---- while a group is expanded ----
//
// Row n of the chunks of all disks holds stripe n, and never two of them:
//
//   rows      0 ... expanded     emptied ... stripes
//   hold      stripes of all     stripes of the disks before
//             disks
//
// Between the two they hold nothing any more.  Blocks keep their numbers: the first ones lie in the
// stripes of all disks, the others where they were.

// Disks that one expansion can add.
inline constexpr std::uint32_t kExpandMax = 8;

[[nodiscard]] inline bool is_expanding(const GroupLabel& label) { return label.disks_before != 0; }
// Rows below this hold no stripe of the disks before that counts.
[[nodiscard]] std::uint64_t emptied_rows(const GroupLabel& label);
// What a row holds; none: nothing.
[[nodiscard]] std::optional<PlacedStripe> stripe_in(const GroupLabel& label, Stripe row);
// Where a block is.
struct Site {
  PlacedStripe of;
  std::uint32_t first = 0;  // block within the stripe's data
  friend bool operator==(const Site&, const Site&) = default;
};
// REQUIRES: the group has the block.
[[nodiscard]] Site site_of(const GroupLabel& label, std::uint64_t block);

// The region that the stripe is in: of whole steps.
[[nodiscard]] std::uint64_t region_of(const GroupLabel& label, Stripe stripe);
// Whether a rebuild passed by some stripes of the region that this one is in.
[[nodiscard]] bool is_loose(const GroupLabel& label, Stripe stripe);
void set_loose(GroupLabel& label, Stripe stripe);

// ---- what disks that have failed miss ----

// Whether a disk has failed of which it is recorded what it misses: so before a stripe is written
// without it the label must say that its region is missed.
[[nodiscard]] bool is_recording(const GroupLabel& label);
[[nodiscard]] bool is_missed(const GroupLabel& label, Stripe stripe);
void set_missed(const GroupLabel& label, Regions& regions, Stripe stripe);
// The first from `from` on that is in a missed region; none: the number of stripes.
[[nodiscard]] std::uint64_t next_missed(const GroupLabel& label, std::uint64_t from);
// Whether the label of a disk that has failed can be of the time before: not of a group that went
// on elsewhere with that disk, and without others that this one has had all the while.
[[nodiscard]] bool is_of_before(const GroupLabel& label, const GroupLabel& own);
// Whether the group uses the disk, or could at any moment: a member that has not failed, a spare.
[[nodiscard]] bool in_use(const GroupLabel& label, const DiskId& id);
[[nodiscard]] bool is_spare(const GroupLabel& label, const DiskId& id);
// Null: none.
[[nodiscard]] const LabelDisk* member(const GroupLabel& label, const DiskId& id);
[[nodiscard]] bool has_failed(const LabelDisk& disk);
// How many members do not hold all that they should.
[[nodiscard]] std::uint32_t lost(const GroupLabel& label);
// Whether the group can get so many more disks now.  Error kNotSupported: a mirror; kExists: it is
// being expanded; kInvalid: the number; kRefused: a disk is not in sync.
[[nodiscard]] Status may_expand(const GroupLabel& label, std::uint32_t more);
// The disk has failed; or again.  With `may_record` it is recorded from now on what it misses, if
// until now it missed nothing that is not.
void mark_failed(GroupLabel& label, std::uint32_t disk, bool away, bool may_record);

// A part that has a name, as the label's table has it.
struct VirtualDiskEntry {
  std::string name;
  Part part;
  friend bool operator==(const VirtualDiskEntry&, const VirtualDiskEntry&) = default;
};
[[nodiscard]] std::vector<VirtualDiskEntry> virtual_disks_of(const GroupLabel& label);
// Error: kInvalid: a name that is empty, too long, not printable or there twice; a part that is
// empty, not in the group, or meets another; too many.
Status set_virtual_disks(GroupLabel& label, std::span<const VirtualDiskEntry> entries);

// Adds one of at least so many blocks, whole stripes, in the first room that is large enough.
// Error: kInvalid: the name, or no blocks; kExists: the name is there; kNoSpace.
Status with_virtual_disk(GroupLabel& label, const std::string& name, std::uint64_t blocks);

// Whether `a` counts and not `b`.  Of two with one number, that of the later term: a leader that
// ended left the other on a disk that the next leader could not read, so it never counted.
[[nodiscard]] bool supersedes(const GroupLabel& a, const GroupLabel& b);

// Whether the disk that has `own` may be used as what `newest` calls it: a member has every label,
// but perhaps the last, which was being written.
[[nodiscard]] bool may_be_used(const GroupLabel& newest, const GroupLabel& own);

// The block of `label` as it stands on disk.
void encode_label(const GroupLabel& label, MutableBytes block);
// Trusts nothing in `block`.
// Error: kNotFound: no label; kCorrupt: not whole; kInvalid: numbers that make no group;
// kNotSupported: another version.
[[nodiscard]] Result<GroupLabel> decode_label(ConstBytes block);

// The newer of the two labels of `device`.
// Error: as decode_label(); kIo.
Task<Result<GroupLabel>> read_label(BlockDevice& device);
// Writes and flushes it, to the place of its sequence.
Task<Status> write_label(BlockDevice& device, const GroupLabel& label);

// What was found among the candidates.
struct Assembly {
  GroupLabel label;  // the newest
  // The candidate that is member i; none: not there.  The same for spares.
  std::vector<std::optional<std::size_t>> members;
  std::vector<std::optional<std::size_t>> spares;
  struct Refusal {
    std::size_t candidate;
    Error why;
  };
  std::vector<Refusal> refused;  // every candidate that is neither
  ColumnSet absent = 0;          // disks in sync, or rebuilding, that are not there
};

// Finds group `group` among the labels of some disks, in any order; none: no label could be read.
// `force`: the operator knows that no newer label is on a disk that is not there.
// Error: kNotFound: no disk of the group; kRefused: too few to be sure that none of those that
// are not there is newer; kIo: too few to compute the rest from.
[[nodiscard]] Result<Assembly> assemble(const GroupId& group,
                                        std::span<const Result<GroupLabel>> labels, bool force);

}  // namespace duet::raid
