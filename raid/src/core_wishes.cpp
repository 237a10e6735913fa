// What an operator wants of a group's disks: the node that is asked says it, until it is so.
//
//   Wanting --report--> leader: grant_wish(), at the next view --label--> outcome() at everybody
//
// A wish is said again in every view until the label has it, or nobody wants it any more.

#include <algorithm>

#include "core.h"

namespace duet::raid {

namespace {

constexpr std::uint64_t kBlankBlocks = 16;  // that are looked at, of the data

bool has_virtual_disk(const GroupLabel& label, std::string_view name) {
  const std::vector<VirtualDiskEntry> entries = virtual_disks_of(label);
  return std::ranges::find(entries, name, &VirtualDiskEntry::name) != entries.end();
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
  const bool zero = all_zero(parts[0]);
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
    case WishVerb::kReturnItself:
      if (disk != &label.members[wish.disk]) {
        return Error{Errc::kRefused, "another disk has taken its place"};
      }
      if (is_kept_out_from(label, wish)) {
        return Error{Errc::kRefused, "an operator has failed it"};
      }
      return has_failed(*disk) ? std::optional<Status>() : Status(Ok{});
    case WishVerb::kKeepOut: {
      if (disk != &label.members[wish.disk] || (disk->flags & kKeptOut) != 0) {
        return Ok{};  // a spare may have its place by now
      }
      GroupLabel next = label;
      mark_suspects(next);
      return may_lose(next, wish.disk)
                 ? std::optional<Status>()
                 : Error{Errc::kRefused, "the redundancy group can lose no more disks"};
    }
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
    core_.say_seen();
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
      co_return seen_by_all(self_)
          ? Error{Errc::kTryAgain, "the nodes are changing who manages the redundancy group"}
          : Error{
                Errc::kTryAgain,
                "a node does not see the disk: is it in that node's configuration, and in reach?"};
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

Task<Status> Core::keep_out(std::uint32_t disk) {
  DUET_CHECK(disk < geometry().disks);
  const Wish wish = {.verb = static_cast<std::uint32_t>(WishVerb::kKeepOut),
                     .disk = disk,
                     .id = disks_.label().members[disk].id};
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
