// A disk leaves a group's hands.
//
//   a spare: the label says that it is none --------------+
//   failed: the label says that it does not come back ----+--> shut, idle --> still not used?
//   replaced: the label does not name it any more --------+      --> erase --> close
//
// Nobody but an operator, at the other node, could begin to use the disk meanwhile.  While it is
// shut, it fails here, and so for all; and if it is in use when it has been erased, it has failed.

#include <fmt/format.h>

#include <algorithm>

#include "disk_verbs.h"
#include "found_group.h"
#include "groups/managed_group.h"

namespace duet::groups {

namespace {

constexpr Duration kLook = std::chrono::milliseconds(10);
constexpr int kLooks = 1000;

}  // namespace

bool ManagedGroup::uses(const raid::DiskId& id) const {
  return raid::in_use(group_->status().label, id);
}

Task<ManagedGroup::Removal> ManagedGroup::remove(std::string path) {
  const AsyncMutex::Guard guard = co_await changing_.lock();
  Removal removal;
  const auto known =
      std::ranges::find_if(slots_, [&](const Slot& slot) { return is_called(slot, path); });
  const std::vector<DiskView> views = disks();
  const auto view = std::ranges::find_if(views, [&](const DiskView& each) {
    return each.slot != nullptr && is_called(*each.slot, path);
  });
  if (view == views.end()) {
    removal.wrong = fmt::format("group {} has no disk {}", configured_.name, path);
    co_return removal;
  }
  if (view->number && view->state != raid::DiskState::kFailed) {
    removal.wrong = fmt::format("group {0} uses disk {1}; take it out first: `duet disk fail {1}`",
                                configured_.name, path);
    co_return removal;
  }
  Status given_up = Ok{};
  if (view->spare) {
    const raid::DiskId id = *view->id;
    given_up = co_await group_->remove_spare(id);
  } else if (view->number && view->id) {
    const std::uint32_t number = *view->number;
    given_up = co_await group_->keep_out(number);
  }
  if (!given_up.ok()) {
    removal.wrong = refusal_of(given_up.error(), path);
    co_return removal;
  }
  removal.missed = view->number.has_value();
  Slot& slot = *known;
  slot.id = view->id ? view->id : slot.id;
  co_await let_go(slot, removal);
  if (removal.wrong.empty()) {
    slot.removed = true;
    slot.problem = "it was taken out";
  }
  co_return removal;
}

Task<void> ManagedGroup::let_go(Slot& slot, Removal& removal) {
  if (slot.device == nullptr) {
    removal.left = "this node could not open it";
    removal.closed = true;
    co_return;
  }
  HeldDisk& disk = *slot.device;
  const bool carries = co_await carries_used_label(disk);
  if (carries) {
    removal.wrong = fmt::format("group {} uses the disk that is there now", configured_.name);
    co_return;
  }
  disk.set_shut(true);
  for (int i = 0; i < kLooks && !disk.idle(); ++i) {
    co_await sleep(scheduler_, kLook);
  }
  const bool used = slot.id && uses(*slot.id);
  if (used || !disk.idle()) {
    disk.set_shut(false);
    removal.wrong = used ? fmt::format("group {} has begun to use it", configured_.name)
                         : "it does not answer, and requests to it are under way; try again later, "
                           "or pull it";
    co_return;
  }
  std::string left = co_await erase(disk.disk());
  removal.left = std::move(left);
  give_up_if_used(slot);
  if (connect_) {
    disk.set_shut(false);  // its session is the node's
    co_return;
  }
  co_await yield(scheduler_);  // not out of its own answer
  disk.close();
  retired_.push_back(std::move(slot.device));
  removal.closed = true;
}

void ManagedGroup::give_up_if_used(const Slot& slot) const {
  const raid::GroupLabel label = group_->status().label;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    if (slot.id == label.members[i].id && uses(*slot.id)) {
      group_->disk_failed(i);
    }
  }
}

// By this node's label, or by a newer one on the disk itself: what the other node gave to the group
// need not be known here yet.
bool ManagedGroup::is_used_by(const raid::GroupLabel& label) const {
  const raid::GroupLabel own = group_->status().label;
  return label.group == id_ &&
         raid::in_use(raid::supersedes(label, own) ? label : own, label.own_id);
}

Task<bool> ManagedGroup::carries_used_label(BlockDevice& disk) const {
  const Result<raid::GroupLabel> label = co_await raid::read_label(disk);
  co_return label.ok() && is_used_by(label.value());
}

// Only what this group has no use for.  Empty, or why it was left.
Task<std::string> ManagedGroup::erase(BlockDevice& disk) const {
  if (disk.block_count() == 0) {
    co_return "this node does not reach it";
  }
  const Result<raid::GroupLabel> label = co_await raid::read_label(disk);
  if (!label.ok() && label.error().code == Errc::kNotFound) {
    co_return std::string();
  }
  if (!label.ok()) {
    co_return text_of(label.error());
  }
  if (label.value().group != id_) {
    co_return "it is a disk of another redundancy group";
  }
  if (is_used_by(label.value())) {
    co_return "it is a disk that the group uses, under another path";
  }
  const Status erased = co_await raid::erase_disk(disk);
  co_return erased.ok() ? std::string() : text_of(erased.error());
}

}  // namespace duet::groups
