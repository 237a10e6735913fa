// A disk that failed comes back, and only what it has missed is written to it.
//
//   it fails --label, view: the regions of all intents that are not settled are missed-->
//   a write to another region --asks the leader--> label: missed --> the write begins
//   it is back --label, view: rebuilding, and what is not missed is in sync--> core_rebuild.cpp
//
// Invariants, of a disk that the label calls kRecorded:
//   (1) What it lacks lies in missed regions.  It has all that was flushed before it failed; of the
//       rest there are intents, which all nodes tell before the view begins that goes by the label.
//   (2) It is not believed when its own label is not of the moment at which it failed: somebody has
//       put an older image in its place, or used it elsewhere.  Then all of it is rebuilt.
//   (3) A disk that fails in an expansion, or while not all of (1) can be known, is not kRecorded.
//
// Regions are large, and the label says each once: who writes waits for it rarely.

#include <algorithm>

#include "core.h"

namespace duet::raid {

// ---- what is missed ----

// The disk is there, and this node has read its label since it failed.
bool Core::may_return(const LabelDisk& disk) const {
  return disks_.found_with(disk.id).has_value();
}

// Another disk may be in the place of one whose label was read long ago.
Task<void> Core::look_at_failed() {
  for (std::uint32_t i = 0; i < disks_.label().disks; ++i) {
    const DiskId id = disks_.label().members[i].id;
    BlockDevice* const device = disks_.device_called(id);
    if (disks_.state(i) != DiskState::kFailed || !disks_.found_with(id) || device == nullptr) {
      continue;
    }
    disks_.forget_label(id);
    const Result<GroupLabel> label = co_await read_label(*device);
    if (label.ok() && label.value().group == options_.group && label.value().own_id == id &&
        may_be_used(disks_.label(), label.value())) {
      disks_.found(label.value(), device);
    }
  }
}

void Core::bring_back(GroupLabel& label, std::uint32_t disk) const {
  LabelDisk& member = label.members[disk];
  // It got all labels before the one that says that it failed; or all but the last, which was not
  // flushed there.
  const std::uint64_t own = disks_.found_with(member.id).value_or(0);
  const bool as_it_was = own <= member.since && own + 2 >= member.since;
  member.flags &= as_it_was ? kRecorded : 0;
  member.state = static_cast<std::uint32_t>(DiskState::kRebuilding);
  member.since = label.sequence;
  member.watermark = 0;
  if (member.flags == kRecorded) {
    // The last step is done in any case: it ends the rebuild.
    member.watermark = std::min(next_missed(label, 0), label.stripes - 1);
  }
}

Regions Core::unsettled() const {
  Regions regions{};
  for (const Stripe stripe : log_.stripes()) {
    set_missed(disks_.label(), regions, stripe);
  }
  return regions;
}

void Core::note_unsettled(const Regions& regions) {
  std::ranges::transform(regions, unsettled_, unsettled_.begin(), std::bit_or());
}

// What is owed is going to be carried out: from what the disks hold there, where it is not told.
void Core::note_owed(NodeSet owed) {
  for_each_node(owed, [this](NodeId node) {
    for (const FoundIntent& found : memory_.scan(node, disks_.label())) {
      set_missed(disks_.label(), unsettled_, found.intent.stripe);
    }
  });
}

void Core::say_missed(GroupLabel& label, const Regions& regions) const {
  if (is_recording(label)) {
    std::ranges::transform(regions, label.missed, label.missed.begin(), std::bit_or());
  }
}

bool Core::must_say_missed(Stripe stripe) const {
  return is_recording(disks_.label()) && !is_missed(disks_.label(), stripe);
}

// An intent of this node lies where the label does not say that something is missed: it fell
// between two leaders.
bool Core::has_unsaid() const {
  const std::vector<Stripe> stripes = log_.stripes();
  return std::ranges::any_of(stripes, [this](Stripe stripe) { return must_say_missed(stripe); });
}

void Core::ask_to_say_missed(Stripe stripe) {
  Regions asked = missed_;
  set_missed(disks_.label(), asked, stripe);
  if (asked == missed_) {
    return;
  }
  const MissedBody body = {.stripe = static_cast<std::uint64_t>(stripe)};
  for_each_node(members_ & ~only(self_),
                [&](NodeId node) { say(node, MessageKind::kMissed, view_, bytes_of(body)); });
  note_missed(body);
}

void Core::note_missed(const MissedBody& body) {
  if (body.stripe < geometry().stripes) {
    set_missed(disks_.label(), missed_, Stripe{body.stripe});
    wake();
  }
}

// The leader's: the label is to say more.
bool Core::missed_due() const {
  const GroupLabel& label = disks_.label();
  if (!active_ || !leads() || !is_recording(label)) {
    return false;
  }
  for (std::size_t i = 0; i < missed_.size(); ++i) {
    if ((missed_[i] & ~label.missed[i]) != 0) {
      return true;
    }
  }
  return false;
}

// ---- an operator's verb ----

// Only an operator takes back what an operator failed.
bool Core::is_kept_out_from(const GroupLabel& label, const Wish& wish) {
  return static_cast<WishVerb>(wish.verb) == WishVerb::kReturnItself &&
         (label.members[wish.disk].flags & kKeptOut) != 0;
}

Task<Status> Core::take_back(std::uint32_t disk, bool by_itself) {
  if (disk >= disks_.label().disks) {
    co_return Error{Errc::kInvalid, "the redundancy group has no such disk"};
  }
  if (disks_.state(disk) != DiskState::kFailed) {
    co_return Error{Errc::kExists, "the disk has not failed"};
  }
  const WishVerb verb = by_itself ? WishVerb::kReturnItself : WishVerb::kReturn;
  const Wish wish = {.verb = static_cast<std::uint32_t>(verb),
                     .disk = disk,
                     .id = disks_.label().members[disk].id};
  disks_.forget_label(wish.id);
  co_await look_for_disks();
  if (!disks_.found_with(wish.id).has_value()) {
    co_return Error{Errc::kNotFound, "the disk does not answer, or its label is another one's"};
  }
  const Status done = co_await come_true(wish);
  co_return done;
}

}  // namespace duet::raid
