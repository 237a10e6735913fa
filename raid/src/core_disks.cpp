// Disks that come and go: spares, replacements, and what takes the place of a failed disk.
//
//   an operator's wish --report--> leader: arrange() --label, view--> everybody
//
// What disks a group has changes with a view only: nobody writes in the new one before the locks
// were told again, so whoever rebuilds a stripe under its lock knows that all later writes get to
// the new disk too.
//
// A wish is said again in every view until the label has it, or nobody wants it any more.

#include <algorithm>

#include "core.h"

namespace duet::raid {

namespace {

constexpr std::uint64_t kBlankBlocks = 16;  // that are looked at, of the data

// That the group is to get.
std::vector<DiskId> ids_of(const Wish& wish) {
  std::vector<DiskId> ids;
  switch (static_cast<WishVerb>(wish.verb)) {
    case WishVerb::kAddSpare:
    case WishVerb::kReplace:
      ids.push_back(wish.id);
      break;
    case WishVerb::kExpand:
      ids.push_back(wish.id);
      ids.insert(ids.end(), wish.more.begin(), wish.more.begin() + wish.disk - 1);
      break;
    case WishVerb::kNone:
    case WishVerb::kRemoveSpare:
    case WishVerb::kAddVirtualDisk:
    case WishVerb::kReturn:
      break;
  }
  return ids;
}

std::string name_of(const Wish& wish) {
  return {wish.name.begin(), std::ranges::find(wish.name, '\0')};
}

bool has_virtual_disk(const GroupLabel& label, std::string_view name) {
  const std::vector<VirtualDiskEntry> entries = virtual_disks_of(label);
  return std::ranges::find(entries, name, &VirtualDiskEntry::name) != entries.end();
}

// Whether the group can get so many more disks now.
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

bool has_failed(const LabelDisk& disk) {
  return static_cast<DiskState>(disk.state) == DiskState::kFailed;
}

void drop_spare(GroupLabel& label, const DiskId& id) {
  const auto end = label.spares.begin() + label.spare_count;
  const auto rest = std::remove(label.spares.begin(), end, id);
  std::fill(rest, end, DiskId());
  label.spare_count = static_cast<std::uint32_t>(rest - label.spares.begin());
}

void begin_rebuilding(GroupLabel& label, std::uint32_t disk, const DiskId& id) {
  drop_spare(label, id);  // a disk that may hold anything
  label.members[disk] = {.id = id,
                         .state = static_cast<std::uint32_t>(DiskState::kRebuilding),
                         .since = label.sequence};
}

Task<Status> write_zeros(BlockDevice& device, std::uint64_t block, std::uint64_t blocks = 1) {
  const Buffer zeros(blocks);
  const std::array<MutableBytes, 1> parts = {zeros.bytes()};
  const Status written = co_await device.write(block, parts);
  if (!written.ok()) {
    co_return written;
  }
  const Status flushed = co_await device.flush();
  co_return flushed;
}

// REQUIRES: it has data.
std::uint64_t blank_blocks(const BlockDevice& device) {
  return std::min(kBlankBlocks, device.block_count() - kDataStartBlock);
}

// Error: kRefused: it is not.
Task<Status> must_be_blank(BlockDevice& device, const Result<GroupLabel>& label) {
  constexpr Error kHolds = {Errc::kRefused, "the disk holds something; --force"};
  if (label.ok()) {
    co_return kHolds;
  }
  if (label.error().code == Errc::kIo || label.error().code == Errc::kFenced) {
    co_return label.error();
  }
  if (label.error().code != Errc::kNotFound) {
    co_return kHolds;
  }
  const Buffer data(blank_blocks(device));
  const std::array<MutableBytes, 1> parts = {data.bytes()};
  const Status read = co_await device.read(kDataStartBlock, parts);
  if (!read.ok()) {
    co_return read;
  }
  const bool zero = std::ranges::all_of(parts[0], [](std::byte b) { return b == std::byte{0}; });
  co_return zero ? Status(Ok{}) : Status(kHolds);
}

}  // namespace

// The labels last: until then the disk says what it is.
Task<Status> erase_disk(BlockDevice& device) {
  if (device.block_count() <= kDataStartBlock) {
    co_return Ok{};  // it never had any
  }
  const Status data = co_await write_zeros(device, kDataStartBlock, blank_blocks(device));
  if (!data.ok()) {
    co_return data;
  }
  for (const std::uint64_t turn : {std::uint64_t{0}, std::uint64_t{1}}) {
    const Status cleared = co_await write_zeros(device, label_block(turn));
    if (!cleared.ok()) {
      co_return cleared;
    }
  }
  co_return Ok{};
}

// ---- the leader ----

// What the next label says of the disks.  Whether that is anything new.
bool Core::arrange(GroupLabel& label) const {
  bool any = mark_suspects(label);
  for (const Wish& wish : wishes_) {
    any = grant_wish(label, wish) || any;
  }
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    LabelDisk& disk = label.members[i];
    if (!has_failed(disk)) {
      continue;
    }
    if ((disks_.kept_out() & one(i)) != 0 && (disk.flags & kKeptOut) == 0) {
      disk.flags |= kKeptOut;
      any = true;
    }
    if ((disk.flags & (kAway | kKeptOut)) == kAway && may_return(disk)) {
      bring_back(label, i);
      any = true;
      continue;
    }
    const auto end = label.spares.begin() + label.spare_count;
    const auto spare = std::find_if(label.spares.begin(), end,
                                    [this](const DiskId& id) { return disks_.knows(id); });
    if (spare != end) {
      begin_rebuilding(label, i, DiskId(*spare));
      any = true;
    }
  }
  return any;
}

bool Core::arrangement_needed() const {
  GroupLabel next = disks_.label();
  ++next.sequence;
  return arrange(next);
}

bool Core::grant_wish(GroupLabel& label, const Wish& wish) const {
  switch (static_cast<WishVerb>(wish.verb)) {
    case WishVerb::kNone:
      return false;
    case WishVerb::kAddSpare:
      if (member(label, wish.id) != nullptr || is_spare(label, wish.id) ||
          label.spare_count == kSparesMax || !disks_.knows(wish.id)) {
        return false;
      }
      label.spares[label.spare_count++] = wish.id;
      return true;
    case WishVerb::kRemoveSpare:
      if (!is_spare(label, wish.id)) {
        return false;
      }
      drop_spare(label, wish.id);
      return true;
    case WishVerb::kExpand:
      return grant_expansion(label, wish);
    case WishVerb::kAddVirtualDisk:
      return with_virtual_disk(label, name_of(wish), wish.blocks).ok();
    case WishVerb::kReplace:
      if (wish.disk >= label.disks || !has_failed(label.members[wish.disk]) ||
          member(label, wish.id) != nullptr || !disks_.knows(wish.id)) {
        return false;
      }
      begin_rebuilding(label, wish.disk, wish.id);
      return true;
    case WishVerb::kReturn:
      if (wish.disk >= label.disks || label.members[wish.disk].id != wish.id ||
          !has_failed(label.members[wish.disk]) || !may_return(label.members[wish.disk])) {
        return false;
      }
      bring_back(label, wish.disk);
      return true;
  }
  return false;  // of a newer kind
}

// All disks are in sync, and these are none of the group's yet.
bool Core::grant_expansion(GroupLabel& label, const Wish& wish) const {
  if (!may_expand(label, wish.disk).ok() || disks_.suspects() != 0 || !knows_disks_of(wish)) {
    return false;
  }
  for (const DiskId& id : ids_of(wish)) {
    if (member(label, id) != nullptr || is_spare(label, id)) {
      return false;
    }
  }
  label.disks_before = label.disks;
  label.expanded = 0;
  for (const DiskId& id : ids_of(wish)) {
    label.members[label.disks] = {.id = id, .since = label.sequence};
    ++label.disks;
  }
  return true;
}

// ---- every node ----

bool Core::knows_disks_of(const Wish& wish) const {
  const std::vector<DiskId> ids = ids_of(wish);
  const bool returns = static_cast<WishVerb>(wish.verb) == WishVerb::kReturn;
  return (!returns || disks_.found_with(wish.id).has_value()) &&
         std::ranges::all_of(ids, [this](const DiskId& id) { return disks_.knows(id); });
}

// Disks whose labels this node has not read, or that may have got another one.
Task<void> Core::look_for_disks() {
  bool found = false;
  const std::vector<BlockDevice*> devices = devices_;
  const auto is_used = [this](const BlockDevice* device) {
    const std::optional<DiskId> known = disks_.id_of(device);
    return known.has_value() && in_use(disks_.label(), *known);
  };
  for (BlockDevice* const device : devices) {
    if (is_used(device) || device->block_count() < geometry().disk_blocks()) {
      continue;
    }
    const Result<GroupLabel> label = co_await read_label(*device);
    // One that was taken back meanwhile is written: nothing of that may be forgotten.
    if (!is_used(device) && label.ok() && label.value().group == options_.group &&
        !disks_.found_with(label.value().own_id).has_value() &&
        may_be_used(disks_.label(), label.value())) {
      disks_.found(label.value(), device);
      found = true;
    }
  }
  if (found) {
    ++changes_;
    wake();
  }
}

// A spare, or a disk that was away, could be among those that this node has not read.
bool Core::look_is_worth_it() const {
  const GroupLabel& label = disks_.label();
  const bool away = std::any_of(label.members.begin(), label.members.begin() + label.disks,
                                [this](const LabelDisk& disk) {
                                  return has_failed(disk) && (disk.flags & kAway) != 0 &&
                                         !disks_.found_with(disk.id).has_value();
                                });
  return away || std::any_of(label.spares.begin(), label.spares.begin() + label.spare_count,
                             [this](const DiskId& id) { return !disks_.knows(id); });
}

// The label has members that this node does not know.  Nothing begins before it has looked.
Task<void> Core::look_for_members() {
  ++looking_;
  co_await look_for_disks();
  --looking_;
  disks_.suspect_missing();
  tell_of_suspects();
  wake();
}

void Core::add_device(BlockDevice& device) {
  if (std::ranges::find(devices_, &device) == devices_.end()) {
    devices_.push_back(&device);
    scope_.spawn(look_for_disks());
  }
}

// ---- an operator's verbs ----

// What has become of it; none: nothing yet.
std::optional<Status> Core::outcome(const Wish& wish) const {
  const GroupLabel& label = disks_.label();
  const LabelDisk* const disk = member(label, wish.id);
  switch (static_cast<WishVerb>(wish.verb)) {
    case WishVerb::kNone:
      break;
    case WishVerb::kRemoveSpare:
      return is_spare(label, wish.id) ? std::optional<Status>() : Status(Ok{});
    case WishVerb::kAddSpare:
      if (is_spare(label, wish.id) || (disk != nullptr && !has_failed(*disk))) {
        return Ok{};
      }
      if (disk != nullptr) {
        return Error{Errc::kIo, "the spare was needed at once, and failed"};
      }
      if (label.spare_count == kSparesMax) {
        return Error{Errc::kNoSpace, "the redundancy group has as many spares as can be"};
      }
      break;
    case WishVerb::kExpand:
      return outcome_of_expansion(wish);
    case WishVerb::kAddVirtualDisk: {
      if (has_virtual_disk(label, name_of(wish))) {
        return Ok{};
      }
      GroupLabel next = label;
      const Status possible = with_virtual_disk(next, name_of(wish), wish.blocks);
      return possible.ok() ? std::optional<Status>() : possible;
    }
    case WishVerb::kReturn:
      if (disk != &label.members[wish.disk]) {
        return Error{Errc::kRefused, "another disk has taken its place"};
      }
      return has_failed(*disk) ? std::optional<Status>() : Status(Ok{});
    case WishVerb::kReplace: {
      const LabelDisk& old = label.members[wish.disk];
      if (disk == &old) {
        return has_failed(old) ? Status(Error{Errc::kIo, "the new disk failed"}) : Status(Ok{});
      }
      const bool suspected = (disks_.suspects() & one(wish.disk)) != 0;
      if (!has_failed(old) && !suspected) {
        return Error{Errc::kRefused, "the disk has not failed; fail it first"};
      }
      break;
    }
  }
  return std::nullopt;
}

std::optional<Status> Core::outcome_of_expansion(const Wish& wish) const {
  const GroupLabel& label = disks_.label();
  const std::vector<DiskId> ids = ids_of(wish);
  const bool all =
      std::ranges::all_of(ids, [&label](const DiskId& id) { return member(label, id) != nullptr; });
  if (all) {
    return Ok{};
  }
  if (const Status possible = may_expand(label, wish.disk); !possible.ok()) {
    return possible;
  }
  if (memory_.layout().pages < (label.disks + wish.disk) * label.chunk_blocks) {
    return Error{Errc::kNoSpace, "the persistent memory does not hold one stripe of so many disks"};
  }
  return std::nullopt;
}

// A node's wish, while somebody waits for it.
class Core::Wanting {
 public:
  Wanting(Core& core, const Wish& wish) : core_(core) { say(wish); }
  ~Wanting() {
    if (!core_.dying_) {
      say({});
    }
  }
  Wanting(const Wanting&) = delete;
  Wanting& operator=(const Wanting&) = delete;

 private:
  void say(const Wish& wish) {
    core_.wishes_[number(core_.self_)] = wish;
    ++core_.changes_;
    core_.report(true);
    core_.wake();
  }
  Core& core_;
};

Task<void> Core::wake_after(Duration duration) {
  co_await sleep(scheduler_, duration);
  wake();
}

Task<Status> Core::come_true(Wish wish) {
  if (static_cast<WishVerb>(wish.verb) == WishVerb::kRemoveSpare &&
      !is_spare(disks_.label(), wish.id)) {
    co_return Error{Errc::kNotFound, "the redundancy group has no such spare"};
  }
  const AsyncMutex::Guard guard = co_await wishing_.lock();
  const Instant until = scheduler_.now() + options_.patience;
  scope_.spawn(wake_after(options_.patience));
  const Wanting wanting(*this, wish);
  for (;;) {
    if (const std::optional<Error> error = ended()) {
      co_return *error;
    }
    if (const std::optional<Status> over = outcome(wish)) {
      co_return *over;
    }
    if (closing_) {
      co_return Error{Errc::kClosed, "the redundancy group is being closed"};
    }
    if (scheduler_.now() >= until) {
      co_return Error{Errc::kTryAgain, "the node that leads does not see the disk, or none leads"};
    }
    co_await changed_.wait();
  }
}

// The disk gets a label: what it holds is nobody's any more.
Task<Status> Core::prepare_disk(BlockDevice& device, const DiskId& id, bool force) {
  if (device.block_count() < geometry().disk_blocks()) {
    co_return Error{Errc::kNoSpace, "the disk is too small for the redundancy group"};
  }
  if (member(disks_.label(), id) != nullptr || is_spare(disks_.label(), id)) {
    co_return Error{Errc::kExists, "the redundancy group has a disk with this id"};
  }
  const std::optional<DiskId> known = disks_.id_of(&device);
  if (known.has_value() && in_use(disks_.label(), *known)) {
    co_return Error{Errc::kExists, "the redundancy group uses this disk"};
  }
  // Another node may have taken it, and this one not heard of it.
  const Result<GroupLabel> found = co_await read_label(device);
  if (found.ok() && found.value().group == options_.group &&
      in_use(supersedes(found.value(), disks_.label()) ? found.value() : disks_.label(),
             found.value().own_id)) {
    co_return Error{Errc::kExists, "the redundancy group uses this disk"};
  }
  if (!force) {
    const Status blank = co_await must_be_blank(device, found);
    if (!blank.ok()) {
      co_return blank;
    }
  }
  const auto label = std::make_unique<GroupLabel>(disks_.label());
  label->own = kSpare;
  label->own_id = id;
  const Status cleared = co_await write_zeros(device, label_block(label->sequence + 1));
  if (!cleared.ok()) {
    co_return cleared;
  }
  const Status written = co_await write_label(device, *label);
  if (written.ok()) {
    disks_.know(id, &device);
  }
  co_return written;
}

Task<Status> Core::add_disk(Wish wish, BlockDevice& device, bool force) {
  if (static_cast<WishVerb>(wish.verb) == WishVerb::kReplace && wish.disk >= geometry().disks) {
    co_return Error{Errc::kInvalid, "the redundancy group has no such disk"};
  }
  add_device(device);
  if (const std::optional<Status> over = outcome(wish); over.has_value() && !over->ok()) {
    co_return *over;
  }
  const Status prepared = co_await prepare_disk(device, wish.id, force);
  if (!prepared.ok()) {
    co_return prepared;
  }
  const Status done = co_await come_true(wish);
  co_return done;
}

Task<Status> Core::expand(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                          bool force) {
  DUET_CHECK(devices.size() == ids.size());
  const auto more = static_cast<std::uint32_t>(std::min<std::size_t>(devices.size(), kDisksMax));
  if (const Status possible = may_expand(disks_.label(), more); !possible.ok()) {
    co_return possible;
  }
  Wish wish = {
      .verb = static_cast<std::uint32_t>(WishVerb::kExpand), .disk = more, .id = ids.front()};
  std::ranges::copy(ids.subspan(1), wish.more.begin());
  const std::vector<BlockDevice*> given(devices.begin(), devices.end());
  const std::vector<DiskId> names = ids_of(wish);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool twice = std::count(names.begin(), names.end(), names[i]) > 1 ||
                       std::count(given.begin(), given.end(), given[i]) > 1;
    if (twice) {
      co_return Error{Errc::kExists, "one disk, or one id, is given twice"};
    }
  }
  if (const std::optional<Status> over = outcome(wish); over.has_value() && !over->ok()) {
    co_return *over;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    add_device(*given[i]);
    const Status prepared = co_await prepare_disk(*given[i], names[i], force);
    if (!prepared.ok()) {
      co_return prepared;
    }
  }
  const Status done = co_await come_true(wish);
  co_return done;
}

Task<Status> Core::add_virtual_disk(std::string name, std::uint64_t blocks) {
  if (name.empty() || name.size() > kVirtualDiskNameMax) {
    co_return Error{Errc::kInvalid, "no name for a virtual disk"};
  }
  if (has_virtual_disk(disks_.label(), name)) {
    co_return Error{Errc::kExists, "the redundancy group has a virtual disk of this name"};
  }
  Wish wish = {.verb = static_cast<std::uint32_t>(WishVerb::kAddVirtualDisk), .blocks = blocks};
  std::ranges::copy(name, wish.name.begin());
  const Status done = co_await come_true(wish);
  co_return done;
}

Task<Status> Core::remove_spare(DiskId id) {
  const Wish wish = {.verb = static_cast<std::uint32_t>(WishVerb::kRemoveSpare), .id = id};
  const Status removed = co_await come_true(wish);
  BlockDevice* const device = disks_.device_called(id);
  if (removed.ok() && device != nullptr && member(disks_.label(), id) == nullptr) {
    // A blank disk again.  Not worth an error: a later use may say force.
    const Status erased = co_await erase_disk(*device);
    static_cast<void>(erased);
  }
  co_return removed;
}

}  // namespace duet::raid
