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

}  // namespace

// ---- the leader ----

// What the next label says of the disks.  Whether that is anything new.
bool Core::arrange(GroupLabel& label) const {
  bool any = mark_suspects(label);
  any = grant_keeping_out(label) || any;
  for (std::uint8_t node = 0; node < kNodesMax; ++node) {
    any = (seen_by_all(NodeId{node}) && grant_wish(label, wishes_[node])) || any;
  }
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    LabelDisk& disk = label.members[i];
    if (!has_failed(disk)) {
      continue;
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

// As a failure that all nodes are told of; unless too many would be lost then.
bool Core::grant_keeping_out(GroupLabel& label) const {
  bool any = false;
  for (const Wish& wish : wishes_) {
    if (static_cast<WishVerb>(wish.verb) != WishVerb::kKeepOut || wish.disk >= label.disks ||
        label.members[wish.disk].id != wish.id || !may_lose(label, wish.disk)) {
      continue;
    }
    LabelDisk& disk = label.members[wish.disk];
    mark_failed(label, one(wish.disk), 0);
    any = any || (disk.flags & kKeptOut) == 0;
    disk.flags |= kKeptOut;
  }
  return any;
}

// Or it is lost already.
bool Core::may_lose(const GroupLabel& label, std::uint32_t disk) const {
  const bool whole = static_cast<DiskState>(label.members[disk].state) == DiskState::kInSync;
  return lost(label) + (whole ? 1 : 0) <= geometry().check_columns();
}

// Whether all nodes know the disks that the node wants: one that does not would call them failed.
bool Core::seen_by_all(NodeId wisher) const {
  const Wish& wish = wishes_[number(wisher)];
  if (!is_about_a_disk_to_come(wish)) {
    return true;
  }
  bool all = true;
  for_each_node(members_, [&](NodeId node) {
    all = all && seen_by_[number(node)][number(wisher)] == wish.id;
  });
  return all;
}

bool Core::grant_wish(GroupLabel& label, const Wish& wish) const {
  switch (static_cast<WishVerb>(wish.verb)) {
    case WishVerb::kNone:
    case WishVerb::kKeepOut:  // grant_keeping_out()
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
    case WishVerb::kReturnItself:
      if (wish.disk >= label.disks || label.members[wish.disk].id != wish.id ||
          !has_failed(label.members[wish.disk]) || !may_return(label.members[wish.disk]) ||
          is_kept_out_from(label, wish)) {
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
  return (!is_return(wish) || disks_.found_with(wish.id).has_value()) &&
         std::ranges::all_of(ids, [this](const DiskId& id) { return disks_.knows(id); });
}

void Core::say_seen() {
  Seen seen{};
  for (std::size_t i = 0; i < kNodesMax; ++i) {
    const Wish& wish = wishes_[i];
    seen[i] = is_about_a_disk_to_come(wish) && knows_disks_of(wish) ? wish.id : DiskId();
  }
  if (seen != seen_by_[number(self_)]) {
    seen_by_[number(self_)] = seen;
    ++changes_;
    report(true);
    wake();
  }
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
    say_seen();
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

}  // namespace duet::raid
