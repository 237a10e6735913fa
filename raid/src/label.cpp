#include "raid/label.h"

#include <algorithm>
#include <bit>

#include "buffer.h"
#include "raid/node.h"

namespace duet::raid {

Geometry geometry_of(const GroupLabel& label) {
  return {.level = static_cast<Level>(label.level),
          .disks = label.disks,
          .chunk_blocks = label.chunk_blocks,
          .stripes = label.stripes};
}

Geometry capacity_of(const GroupLabel& label) {
  Geometry geometry = geometry_of(label);
  geometry.disks = is_expanding(label) ? label.disks_before : label.disks;
  return geometry;
}

std::uint64_t emptied_rows(const GroupLabel& label) {
  return std::min(label.stripes, label.expanded * geometry_of(label).data_columns() /
                                     capacity_of(label).data_columns());
}

std::optional<PlacedStripe> stripe_in(const GroupLabel& label, Stripe row) {
  const auto number = static_cast<std::uint64_t>(row);
  if (!is_expanding(label) || number < label.expanded) {
    return PlacedStripe{row, label.disks};
  }
  if (number < emptied_rows(label)) {
    return std::nullopt;
  }
  return PlacedStripe{row, label.disks_before};
}

Site site_of(const GroupLabel& label, std::uint64_t block) {
  Geometry geometry = geometry_of(label);
  if (is_expanding(label) && block >= label.expanded * geometry.stripe_blocks()) {
    geometry = capacity_of(label);
  }
  const std::uint32_t width = geometry.stripe_blocks();
  return {{Stripe{block / width}, geometry.disks}, static_cast<std::uint32_t>(block % width)};
}

namespace {

std::string_view name_of(const LabelVirtualDisk& entry) {
  return {entry.name.begin(), std::ranges::find(entry.name, '\0')};
}

bool good_name(const LabelVirtualDisk& entry) {
  const std::string_view name = name_of(entry);
  const auto behind = entry.name.begin() + static_cast<std::ptrdiff_t>(name.size());
  return !name.empty() && name.size() <= kVirtualDiskNameMax &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; }) &&
         std::all_of(behind, entry.name.end(), [](char c) { return c == '\0'; });
}

// REQUIRES: the geometry is valid.
bool good_expansion(const GroupLabel& label) {
  if (!is_expanding(label)) {
    return label.expanded == 0;
  }
  return static_cast<Level>(label.level) != Level::kMirror && label.disks_before < label.disks &&
         capacity_of(label).valid() && label.expanded < label.stripes;
}

// Whether the table of virtual disks is one.
bool good_table(const GroupLabel& label) {
  const std::uint64_t capacity = capacity_of(label).block_count();
  std::uint32_t count = 0;
  while (count < kVirtualDisksMax && label.virtual_disks[count] != LabelVirtualDisk()) {
    ++count;
  }
  for (std::uint32_t i = count; i < kVirtualDisksMax; ++i) {
    if (label.virtual_disks[i] != LabelVirtualDisk()) {
      return false;
    }
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const LabelVirtualDisk& a = label.virtual_disks[i];
    if (!good_name(a) || a.blocks == 0 || a.first_block >= capacity ||
        a.blocks > capacity - a.first_block) {
      return false;
    }
    for (std::uint32_t other = 0; other < i; ++other) {
      const LabelVirtualDisk& b = label.virtual_disks[other];
      if (a.name == b.name ||
          (a.first_block < b.first_block + b.blocks && b.first_block < a.first_block + a.blocks)) {
        return false;
      }
    }
  }
  return true;
}

// Of whom manages it somebody holds all intents.
bool has_holders(const GroupLabel& label) {
  const NodeSet managers = label.managers;
  const NodeSet holders = label.holders;
  return (holders & ~managers) == 0 && (holders == 0) == (managers == 0);
}

// REQUIRES: the numbers of disks and spares fit.
bool ids_differ(const GroupLabel& label) {
  std::vector<DiskId> ids;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    ids.push_back(label.members[i].id);
  }
  ids.insert(ids.end(), label.spares.begin(), label.spares.begin() + label.spare_count);
  std::ranges::sort(ids);
  return std::ranges::adjacent_find(ids) == ids.end();
}

}  // namespace

std::vector<VirtualDiskEntry> virtual_disks_of(const GroupLabel& label) {
  std::vector<VirtualDiskEntry> entries;
  for (const LabelVirtualDisk& entry : label.virtual_disks) {
    if (entry != LabelVirtualDisk()) {
      entries.push_back({std::string(name_of(entry)), {entry.first_block, entry.blocks}});
    }
  }
  return entries;
}

Status set_virtual_disks(GroupLabel& label, std::span<const VirtualDiskEntry> entries) {
  constexpr Error kBad = {Errc::kInvalid, "these virtual disks make no table"};
  if (entries.size() > kVirtualDisksMax) {
    return kBad;
  }
  label.virtual_disks = {};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const VirtualDiskEntry& entry = entries[i];
    if (entry.name.empty() || entry.name.size() > kVirtualDiskNameMax) {
      return kBad;
    }
    std::ranges::copy(entry.name, label.virtual_disks[i].name.begin());
    label.virtual_disks[i].first_block = entry.part.first_block;
    label.virtual_disks[i].blocks = entry.part.blocks;
  }
  return good_table(label) ? Status(Ok{}) : Status(kBad);
}

Status with_virtual_disk(GroupLabel& label, const std::string& name, std::uint64_t blocks) {
  std::vector<VirtualDiskEntry> entries = virtual_disks_of(label);
  if (std::ranges::find(entries, name, &VirtualDiskEntry::name) != entries.end()) {
    return Error{Errc::kExists, "the redundancy group has a virtual disk of this name"};
  }
  LabelVirtualDisk named;
  std::ranges::copy(name.substr(0, kVirtualDiskNameMax), named.name.begin());
  if (name.size() > kVirtualDiskNameMax || !good_name(named) || blocks == 0) {
    return Error{Errc::kInvalid, "no virtual disk: its name, or no blocks"};
  }
  constexpr Error kNoRoom = {Errc::kNoSpace,
                             "the redundancy group has no room for it in one piece"};
  const Geometry geometry = capacity_of(label);
  const std::uint64_t width = geometry.stripe_blocks();
  if (entries.size() == kVirtualDisksMax || blocks > geometry.block_count()) {
    return kNoRoom;
  }
  const auto whole = [width](std::uint64_t count) { return (count + width - 1) / width * width; };
  std::ranges::sort(entries, {}, [](const VirtualDiskEntry& e) { return e.part.first_block; });
  std::uint64_t at = 0;
  for (const VirtualDiskEntry& entry : entries) {
    if (at + whole(blocks) <= entry.part.first_block) {
      break;
    }
    at = std::max(at, whole(entry.part.first_block + entry.part.blocks));
  }
  if (at + whole(blocks) > geometry.block_count()) {
    return kNoRoom;
  }
  // Behind the others in the table.
  entries = virtual_disks_of(label);
  entries.push_back({name, {at, whole(blocks)}});
  return set_virtual_disks(label, entries);
}

std::uint64_t region_of(const GroupLabel& label, Stripe stripe) {
  const std::uint64_t steps = (label.stripes + label.step_stripes - 1) / label.step_stripes;
  const std::uint64_t steps_of_one = (steps + kRegions - 1) / kRegions;
  return static_cast<std::uint64_t>(stripe) / label.step_stripes / steps_of_one;
}

namespace {

bool contains(const Regions& regions, std::uint64_t region) {
  return (regions[region / 64] >> (region % 64) & 1U) != 0;
}
void insert(Regions& regions, std::uint64_t region) {
  regions[region / 64] |= std::uint64_t{1} << (region % 64);
}

}  // namespace

bool is_loose(const GroupLabel& label, Stripe stripe) {
  return contains(label.loose, region_of(label, stripe));
}

void set_loose(GroupLabel& label, Stripe stripe) { insert(label.loose, region_of(label, stripe)); }

bool is_recording(const GroupLabel& label) {
  return std::any_of(label.members.begin(), label.members.begin() + label.disks,
                     [](const LabelDisk& disk) {
                       return static_cast<DiskState>(disk.state) == DiskState::kFailed &&
                              (disk.flags & kRecorded) != 0;
                     });
}

bool is_missed(const GroupLabel& label, Stripe stripe) {
  return contains(label.missed, region_of(label, stripe));
}

void set_missed(const GroupLabel& label, Regions& regions, Stripe stripe) {
  insert(regions, region_of(label, stripe));
}

std::uint64_t next_missed(const GroupLabel& label, std::uint64_t from) {
  while (from < label.stripes && !is_missed(label, Stripe{from})) {
    from = (from / label.step_stripes + 1) * label.step_stripes;
  }
  return std::min(from, label.stripes);
}

bool is_of_before(const GroupLabel& label, const GroupLabel& own) {
  for (std::uint32_t i = 0; i < std::min(label.disks, own.disks); ++i) {
    const LabelDisk& here = label.members[i];
    const LabelDisk& there = own.members[i];
    if (here.id == there.id && static_cast<DiskState>(here.state) == DiskState::kInSync &&
        static_cast<DiskState>(there.state) == DiskState::kFailed && here.since < there.since) {
      return false;
    }
  }
  return true;
}

bool is_spare(const GroupLabel& label, const DiskId& id) {
  const auto end = label.spares.begin() + label.spare_count;
  return std::find(label.spares.begin(), end, id) != end;
}

const LabelDisk* member(const GroupLabel& label, const DiskId& id) {
  const auto end = label.members.begin() + label.disks;
  const auto found = std::find_if(label.members.begin(), end,
                                  [&](const LabelDisk& disk) { return disk.id == id; });
  return found == end ? nullptr : &*found;
}

std::uint32_t lost(const GroupLabel& label) {
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    count += static_cast<DiskState>(label.members[i].state) != DiskState::kInSync ? 1 : 0;
  }
  return count;
}

bool has_failed(const LabelDisk& disk) {
  return static_cast<DiskState>(disk.state) == DiskState::kFailed;
}

Status may_expand(const GroupLabel& label, std::uint32_t more) {
  if (static_cast<Level>(label.level) == Level::kMirror) {
    return Error{Errc::kNotSupported, "a mirror cannot be spread over more disks"};
  }
  if (is_expanding(label)) {
    return Error{Errc::kExists, "the redundancy group is being expanded"};
  }
  if (more == 0 || more > kExpandMax || label.disks + more > kDisksMax) {
    return Error{Errc::kInvalid, "a redundancy group cannot have so many disks more"};
  }
  const bool whole = std::all_of(label.members.begin(), label.members.begin() + label.disks,
                                 [](const LabelDisk& disk) {
                                   return static_cast<DiskState>(disk.state) == DiskState::kInSync;
                                 });
  return whole ? Status(Ok{})
               : Status(Error{Errc::kRefused,
                              "a disk of the redundancy group has failed or is rebuilt"});
}

void mark_failed(GroupLabel& label, std::uint32_t disk, bool away, bool may_record) {
  LabelDisk& failed = label.members[disk];
  const bool whole = static_cast<DiskState>(failed.state) == DiskState::kInSync &&
                     !is_expanding(label);  // which it would take no part in
  const bool recorded = may_record && (whole || (failed.flags & kRecorded) != 0);
  const bool first =
      std::none_of(label.members.begin(), label.members.begin() + label.disks,
                   [](const LabelDisk& each) { return (each.flags & kRecorded) != 0; });
  if (recorded && first) {
    label.missed = {};
  }
  failed.state = static_cast<std::uint32_t>(DiskState::kFailed);
  failed.flags = (away ? kAway : 0) | (recorded ? kRecorded : 0);
  failed.since = label.sequence;
  failed.watermark = 0;
}

bool supersedes(const GroupLabel& a, const GroupLabel& b) {
  if (a.sequence != b.sequence) {
    return a.sequence > b.sequence;
  }
  return a.term != b.term ? a.term > b.term : a.generation < b.generation;
}

namespace {

// Where a disk with this id belongs, by the newest label.
std::optional<std::uint32_t> member_with(const GroupLabel& label, const DiskId& id) {
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    if (label.members[i].id == id) {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace

bool in_use(const GroupLabel& label, const DiskId& id) {
  if (const auto index = member_with(label, id); index.has_value()) {
    return static_cast<DiskState>(label.members[*index].state) != DiskState::kFailed;
  }
  const auto end = label.spares.begin() + label.spare_count;
  return std::find(label.spares.begin(), end, id) != end;
}

bool may_be_used(const GroupLabel& newest, const GroupLabel& own) {
  const std::optional<std::uint32_t> index = member_with(newest, own.own_id);
  if (!index.has_value()) {
    return true;
  }
  const LabelDisk& disk = newest.members[*index];
  const auto state = static_cast<DiskState>(disk.state);
  // Who became a member in the label that counts need not have got it.
  return state == DiskState::kFailed || own.sequence + 1 >= newest.sequence ||
         disk.since == newest.sequence;
}

void encode_label(const GroupLabel& label, MutableBytes block) {
  GroupLabel copy = label;
  copy.checksum = 0;
  copy.checksum = crc32c(bytes_of(copy));
  store(block, 0, copy);
}

Result<GroupLabel> decode_label(ConstBytes block) {
  GroupLabel label = load<GroupLabel>(block, 0);
  if (label.magic != kLabelMagic) {
    return Error{Errc::kNotFound, "no label of a redundancy group"};
  }
  const std::uint32_t checksum = std::exchange(label.checksum, 0);
  if (checksum != crc32c(bytes_of(label))) {
    return Error{Errc::kCorrupt, "the label of a redundancy group is damaged"};
  }
  if (label.version != kLabelVersion) {
    return Error{Errc::kNotSupported, "the label of a redundancy group has another version"};
  }
  bool sane = geometry_of(label).valid() && good_expansion(label) &&
              label.spare_count <= kSparesMax && (label.own < label.disks || label.own == kSpare) &&
              ((label.managers | label.owed) & ~label.nodes) == 0 && has_holders(label) &&
              (label.nodes >> kNodesMax) == 0 && label.range_stripes > 0 &&
              label.step_stripes > 0 && label.step_stripes % label.range_stripes == 0 &&
              good_table(label) && ids_differ(label);
  for (std::uint32_t i = 0; sane && i < label.disks; ++i) {
    const LabelDisk& disk = label.members[i];
    sane = disk.state >= 1 && disk.state <= 3 && disk.flags <= (kAway | kRecorded | kKeptOut) &&
           disk.watermark <= label.stripes;
  }
  if (!sane) {
    return Error{Errc::kInvalid, "the label of a redundancy group contradicts itself"};
  }
  label.checksum = checksum;
  return label;
}

Task<Result<GroupLabel>> read_label(BlockDevice& device) {
  if (device.block_count() <= kDataStartBlock) {
    co_return Error{Errc::kNotFound, "too small for a disk of a redundancy group"};
  }
  const Buffer buffer(1);
  const std::array<MutableBytes, 1> parts = {buffer.bytes()};
  Result<GroupLabel> best = Error{Errc::kNotFound, "no label of a redundancy group"};
  for (std::uint64_t turn = 0; turn < 2; ++turn) {
    const Status read = co_await device.read(label_block(turn), parts);
    if (!read.ok()) {
      if (!best.ok()) {
        best = read.error();
      }
      continue;
    }
    Result<GroupLabel> found = decode_label(buffer.bytes());
    const bool better = found.ok() ? !best.ok() || best.value().sequence < found.value().sequence
                                   : !best.ok() && found.error().code != Errc::kNotFound;
    if (better) {
      best = found;
    }
  }
  co_return best;
}

Task<Status> write_label(BlockDevice& device, const GroupLabel& label) {
  const Buffer buffer(1);
  const std::array<MutableBytes, 1> parts = {buffer.bytes()};
  encode_label(label, buffer.bytes());
  const Status written = co_await device.write(label_block(label.sequence), parts);
  if (!written.ok()) {
    co_return written;
  }
  const Status flushed = co_await device.flush();
  co_return flushed;
}

namespace {

class Assembler {
 public:
  explicit Assembler(const GroupLabel& newest) {
    result_.label = newest;
    result_.members.resize(newest.disks);
    result_.spares.resize(newest.spare_count);
  }

  void place(std::size_t candidate, const GroupLabel& own) {
    const GroupLabel& label = result_.label;
    if (const auto index = member_with(label, own.own_id); index.has_value()) {
      const LabelDisk& disk = label.members[*index];
      if (static_cast<DiskState>(disk.state) == DiskState::kFailed) {
        refuse(candidate, "the disk has failed, and the group went on without it");
      } else if (!may_be_used(label, own)) {
        refuse(candidate, "the disk is stale: the group went on without it");
      } else if (result_.members[*index].has_value()) {
        refuse(candidate, "the disk is a duplicate of another");
      } else {
        result_.members[*index] = candidate;
      }
      return;
    }
    for (std::uint32_t i = 0; i < label.spare_count; ++i) {
      if (label.spares[i] == own.own_id) {
        if (result_.spares[i].has_value()) {
          refuse(candidate, "the disk is a duplicate of another");
        } else {
          result_.spares[i] = candidate;
        }
        return;
      }
    }
    refuse(candidate, "the disk is stale: it was replaced in its group");
  }

  void refuse(std::size_t candidate, std::string_view why, Errc code = Errc::kRefused) {
    result_.refused.push_back({candidate, Error{code, why}});
  }

  Result<Assembly> finish(bool force) {
    const GroupLabel& label = result_.label;
    std::uint32_t in_sync = 0;
    for (std::uint32_t i = 0; i < label.disks; ++i) {
      const auto state = static_cast<DiskState>(label.members[i].state);
      if (state != DiskState::kFailed && !result_.members[i].has_value()) {
        result_.absent |= one(i);
      }
      in_sync += state == DiskState::kInSync && result_.members[i].has_value() ? 1 : 0;
    }
    const Geometry geometry = geometry_of(label);
    if (in_sync < geometry.data_columns()) {
      return Error{Errc::kIo, "too few disks of the redundancy group are there"};
    }
    // A newer label stands on all disks but those that failed since.  Of more disks than can
    // fail, one has it.
    if (result_.absent != 0 && in_sync <= geometry.check_columns() && !force) {
      return Error{Errc::kRefused,
                   "a disk of the redundancy group that is not there may be newer; --force"};
    }
    return std::move(result_);
  }

 private:
  Assembly result_;
};

}  // namespace

Result<Assembly> assemble(const GroupId& group, std::span<const Result<GroupLabel>> labels,
                          bool force) {
  const GroupLabel* newest = nullptr;
  for (const Result<GroupLabel>& label : labels) {
    if (label.ok() && label.value().group == group &&
        (newest == nullptr || supersedes(label.value(), *newest))) {
      newest = &label.value();
    }
  }
  if (newest == nullptr) {
    return Error{Errc::kNotFound, "no disk of the redundancy group is there"};
  }
  Assembler assembler(*newest);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!labels[i].ok()) {
      assembler.refuse(i, labels[i].error().context, labels[i].error().code);
    } else if (labels[i].value().group != group) {
      assembler.refuse(i, "the disk belongs to another redundancy group", Errc::kForeign);
    } else {
      assembler.place(i, labels[i].value());
    }
  }
  return assembler.finish(force);
}

}  // namespace duet::raid
