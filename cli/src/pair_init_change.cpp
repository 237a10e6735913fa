#include <algorithm>

#include "pair_init.h"
#include "shelf/fence.h"

namespace duet::cli {

namespace {

constexpr std::uint64_t kMailboxEnd = mailbox::kMembersBlock + mailbox::kNodes;

// Done with a filer before anything is written to its disks: nobody else writes there any more.
Task<Status> take(shelf::SharedDisk& disk) {
  const Status registered = co_await disk.register_key();
  if (!registered.ok()) {
    co_return registered;
  }
  // Nobody's life hangs on this fence: nobody lives, as far as anyone can see.
  co_return co_await shelf::fence_disk(disk, shelf::Reservation::kWriteExclusive,
                                       /*second_fence=*/true);
}

// Beats, marks, words, members and record of what was there before.
Task<Status> wipe_mailbox(shelf::SharedDisk& disk) {
  const auto blank = std::make_unique<mailbox::SectorBuffer>();
  for (std::uint64_t block = mailbox::kBeatBlock; block < kMailboxEnd; ++block) {
    const Status wiped = co_await disk.write(block, blank->parts());
    if (!wiped.ok()) {
      co_return wiped;
    }
  }
  co_return co_await disk.flush();
}

// What an older process had under way in an older epoch never lands; and everybody may register.
// Epoch 0: it stays.
Task<Status> let_go(shelf::SharedDisk& disk, std::uint64_t epoch) {
  if (epoch != 0) {
    const Status raised = co_await disk.raise_epoch(epoch);
    if (!raised.ok() && raised.error().code != Errc::kNotSupported) {
      co_return raised;
    }
  }
  co_return co_await disk.clear();
}

}  // namespace

// The mirror's copies stay blank: the partner's log makes what it needs there when it first
// connects.  What it has of groups that are not made is left alone.
std::string PairInit::open_memories(bool erase_them) {
  const std::uint64_t log_bytes = log_bytes_of(config_);
  for (const config::Node* const node : nodes_) {
    Memories& memories = memories_[number_of(*node)];
    std::string refused = open_memory(config_, node->memory, /*create=*/true, memories.own);
    if (refused.empty()) {
      refused = open_memory(config_, *node->mirror, /*create=*/true, memories.mirror);
    }
    if (!refused.empty()) {
      return refused;
    }
    memories.log = std::make_unique<MemorySlice>(*memories.own, 0, log_bytes);
    memories.copies = std::make_unique<MemorySlice>(*memories.mirror, 0, log_bytes);
    groups_.add_memory(*node, *memories.mirror);
    if (erase_them) {
      erase(*memories.own);
      erase(*memories.copies);
      const Status erased = memories.mirror->persist();
      if (!erased.ok()) {
        return fmt::format("memory {}: {}", node->mirror->path.text, error_text(erased.error()));
      }
    }
  }
  return {};
}

// Of a group that is kept only what the formatted filers' nodes had in their mailboxes is wiped.
std::string PairInit::take_disks() {
  for (Disk& disk : disks_) {
    if (fate_of(disk) == Fate::kLeft) {
      continue;
    }
    disk.taken = true;
    if (const Status taken = run(scheduler_, take(*disk.disk)); !taken.ok()) {
      return wrong(*disk.disk, taken.error());
    }
  }
  for (Disk& disk : disks_) {
    const bool wiped = fate_of(disk) == Fate::kMade ||
                       (fate_of(disk) == Fate::kKept && disk.carries && is_formatted(disk.filer));
    if (!wiped) {
      continue;
    }
    if (const Status done = run(scheduler_, wipe_mailbox(*disk.disk)); !done.ok()) {
      return wrong(*disk.disk, done.error());
    }
  }
  return {};
}

std::string PairInit::make_groups() {
  const std::vector<GroupDisk> disks = group_disks();
  const auto say = [this](const std::string& line) { progress(session_, line); };
  for (const config::RaidGroup& group : config_.groups) {
    const Fate fate = fate_of(group);
    if (fate == Fate::kLeft) {
      continue;
    }
    progress(session_, fmt::format("redundancy group {}: {} of {} disks{}", group.name,
                                   config::level_name(group.level), group.disks.size(),
                                   fate == Fate::kKept ? ", kept as it is" : ""));
    groups::OfflineGroup& made = groups_.make(group, disks);
    std::string refused = fate == Fate::kMade ? run(scheduler_, made.format(entropy_, say)) : "";
    if (refused.empty()) {
      refused = run(scheduler_, made.open(entropy_));
    }
    if (!refused.empty()) {
      return refused;
    }
  }
  return {};
}

// Nobody has anything to finish when the nodes start.
std::string PairInit::close_groups() {
  for (const std::unique_ptr<groups::OfflineGroup>& group : groups_.all()) {
    const Status closed = run(scheduler_, group->close());
    if (!closed.ok()) {
      return fmt::format("closing redundancy group {}: {}", group->configured().name,
                         error_text(closed.error()));
    }
  }
  return {};
}

std::uint64_t PairInit::epoch_of(std::uint32_t filer) const {
  std::uint64_t epoch = record_ ? record_->owners[filer].epoch : 0;
  for (const Disk& disk : disks_) {
    const bool own = disk.group == nullptr ? disk.filer == filer : config_.uses(filer, *disk.group);
    epoch = own ? std::max(epoch, disk.state.epoch) : epoch;
  }
  return epoch;
}

std::string PairInit::format(const config::Node& node) {
  const config::Filer& filer = *config_.filer_at_home(node.name);
  progress(session_, fmt::format("filer {}: {} disks and {}", filer.name, filer.disks.size(),
                                 node.memory.path.text));
  const FilerFormat format{
      .config = config_,
      .filer = filer,
      .disks = disks_of(filer.index(), groups_),
      .memory = *memories_[filer.index()].log,
      .epoch = epoch_of(filer.index()),
      .progress = [this](const std::string& line) { progress(session_, line); }};
  if (std::string refused = format_filer(scheduler_, clock_, entropy_, format); !refused.empty()) {
    return refused;
  }
  const Result<wafl::DiskRoot> root = run(scheduler_, wafl::read_root(format.disks));
  if (!root.ok()) {
    return "the new root: " + error_text(root.error());
  }
  formatted_[filer.index()] = root.value().epoch;
  return {};
}

// Homes and epochs: of what was formatted now as its root says; of the other filer as the record
// said, else as its root did, else (not formatted yet) none.
mailbox::Owners PairInit::owners() const {
  mailbox::Owners owners;
  for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
    mailbox::OwnerEntry& entry = owners[filer];
    entry = {.owner = filer, .previous = filer, .incarnation = 0, .epoch = 0};
    if (formatted_[filer]) {
      entry.epoch = *formatted_[filer];
    } else if (record_) {
      entry = record_->owners[filer];
    } else {
      entry.epoch = *found_[filer];
    }
  }
  return owners;
}

// On a disk of the filer that keeps its data; or of a group that was taken already.
std::string PairInit::swap_record(const mailbox::Owners& owners) {
  const Disk& place = arbitration_disk();
  mailbox::Arbiter record = arbiter();
  const auto swap = [](shelf::SharedDisk& on, bool taken, mailbox::Arbiter& with,
                       mailbox::OwnersRead from, mailbox::Owners to) -> Task<Status> {
    if (!taken) {
      const Status registered = co_await on.register_key();
      if (!registered.ok()) {
        co_return registered;
      }
    }
    const Status swapped = co_await with.swap(from, to);
    if (!swapped.ok() || taken) {
      co_return swapped;
    }
    co_return co_await on.unregister_key();
  };
  const Status swapped = run(scheduler_, swap(*place.disk, place.taken, record, *record_, owners));
  return swapped.ok() ? "" : wrong(*place.disk, swapped.error());
}

// Of what is refused on a disk from now on: I/O of filers that are older than those that were
// formatted.  A disk that a filer uses which was not formatted stays as it is.
std::uint64_t PairInit::new_epoch_of(const Disk& disk) const {
  if (disk.group == nullptr) {
    return *formatted_[disk.filer];
  }
  std::optional<std::uint64_t> least;
  for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
    if (config_.uses(filer, *disk.group)) {
      const std::uint64_t epoch = formatted_[filer].value_or(0);
      least = std::min(least.value_or(epoch), epoch);
    }
  }
  return *least;
}

std::string PairInit::write_record() {
  if (formatted_[0] && formatted_[1]) {
    // Nothing is left of where it moved.
    for (Disk& disk : disks_) {
      disk.arbitration = disk.configured;
    }
    generation_ = 0;
  }
  Disk& place = arbitration_disk();
  const mailbox::Owners owners = this->owners();
  if (formatted_[place.filer]) {
    progress(session_, fmt::format("writing the owner record to {}", place.disk->name()));
    mailbox::Arbiter record = arbiter();
    const Status written = run(scheduler_, record.format(owners));
    if (!written.ok()) {
      return wrong(*place.disk, written.error());
    }
  } else if (record_) {
    progress(session_, fmt::format("changing the owner record on {}", place.disk->name()));
    if (std::string refused = swap_record(owners); !refused.empty()) {
      return refused;
    }
  } else {
    progress(session_, fmt::format("the owner record will be written with filer {}: run `duet init "
                                   "--node {}` on that node's machine",
                                   place.filer == 0 ? 'a' : 'b', place.filer == 0 ? 'a' : 'b'));
  }
  for (const Disk& disk : disks_) {
    if (!disk.taken) {
      continue;
    }
    const Status released = run(scheduler_, let_go(*disk.disk, new_epoch_of(disk)));
    if (!released.ok()) {
      return wrong(*disk.disk, released.error());
    }
  }
  return {};
}

}  // namespace duet::cli
