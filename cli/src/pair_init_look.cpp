#include <algorithm>

#include "living.h"
#include "pair_init.h"

namespace duet::cli {

namespace {

Task<Result<shelf::DiskState>> read_state(shelf::SharedDisk& disk) {
  co_return co_await disk.read_state();
}

}  // namespace

std::vector<BlockDevice*> PairInit::disks_of(std::uint32_t filer, const PairGroups& groups) const {
  std::vector<BlockDevice*> disks;
  for (const Disk& disk : disks_) {
    if (disk.filer == filer && disk.group == nullptr) {
      disks.push_back(disk.disk.get());
    }
  }
  for (const config::Disk& disk :
       config_.filers[config_.filers[0].index() == filer ? 0 : 1].disks) {
    if (disk.is_virtual()) {
      disks.push_back(groups.virtual_disk(disk));
    }
  }
  return disks;
}

bool PairInit::is_formatted(std::uint32_t filer) const {
  return std::ranges::any_of(nodes_,
                             [&](const config::Node* node) { return number_of(*node) == filer; });
}

PairInit::Fate PairInit::fate_of(const config::RaidGroup& group) const {
  const auto fate = fates_.find(&group);
  return fate == fates_.end() ? Fate::kLeft : fate->second;
}

PairInit::Fate PairInit::fate_of(const Disk& disk) const {
  return disk.group != nullptr      ? fate_of(*disk.group)
         : is_formatted(disk.filer) ? Fate::kMade
                                    : Fate::kLeft;
}

PairInit::Disk& PairInit::arbitration_disk() {
  for (Disk& disk : disks_) {
    if (disk.arbitration) {
      return disk;
    }
  }
  DUET_CHECK(false);  // the configuration's reader saw to it
  return disks_.front();
}

mailbox::Arbiter PairInit::arbiter() {
  // A record names who wrote it; an operator speaks for the home of the disk.
  Disk& disk = arbitration_disk();
  const mailbox::Writer writer{pair_, mailbox::Node{static_cast<std::uint8_t>(disk.filer)},
                               mailbox::Incarnation{shelf::incarnation_of(key_)}};
  return {writer, *disk.disk, generation_};
}

std::string PairInit::look_at_disk(Disk& disk) {
  Result<shelf::DiskState> state = run(scheduler_, read_state(*disk.disk));
  if (!state.ok()) {
    return wrong(*disk.disk, state.error());
  }
  disk.state = std::move(state.value());
  return {};
}

// All of them, as a node reaches them all; and who lives may be seen on any.
std::string PairInit::open_disks() {
  for (const config::PairDisk& named : config_.pair_disks()) {
    Disk disk{.filer = named.filer,
              .group = named.group,
              .carries = named.carries,
              .configured = named.disk->arbitration,
              .arbitration = named.disk->arbitration,
              .disk = {},
              .state = {}};
    std::string refused = open_shared(scheduler_, config_, *named.disk, key_, disk.disk);
    if (refused.empty()) {
      refused = look_at_disk(disk);
    }
    if (!refused.empty()) {
      return refused;
    }
    disks_.push_back(std::move(disk));
  }
  return read_record();
}

// It may have moved from where the configuration names it.
std::string PairInit::read_record() {
  std::vector<shelf::SharedDisk*> all;
  for (const Disk& disk : disks_) {
    all.push_back(disk.disk.get());
  }
  const Result<mailbox::FoundPlace> place =
      run(scheduler_, mailbox::find_record(pair_, std::move(all)));
  if (place.ok()) {
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      disks_[i].arbitration = i == place.value().disk;
    }
    generation_ = place.value().read.generation;
  }
  mailbox::Arbiter from = arbiter();
  Result<mailbox::OwnersRead> read = run(scheduler_, from.read());
  if (read.ok()) {
    record_ = std::move(read.value());
    return {};
  }
  // Another pair's, or no record at all, are looked at as data; damage leaves no epoch to go on
  // from, and the roots and the targets know theirs.
  const Errc code = read.error().code;
  const bool no_record =
      code == Errc::kNotFound || code == Errc::kForeign || code == Errc::kCorrupt;
  return no_record ? "" : wrong(from.disk(), read.error());
}

std::string PairInit::find_life() {
  std::vector<shelf::SharedDisk*> all;
  for (const Disk& disk : disks_) {
    all.push_back(disk.disk.get());
  }
  const Result<std::vector<LivingNode>> living = run(scheduler_, find_living(scheduler_, all));
  if (!living.ok()) {
    return "the mailbox: " + error_text(living.error());
  }
  return living.value().empty() ? "" : text_of(living.value().front());
}

std::string PairInit::find_on_disk(BlockDevice& disk, std::vector<std::string>& found) {
  const Result<std::string> contents = run(scheduler_, contents_of(disk));
  if (!contents.ok()) {
    return fmt::format("disk {}: {}", disk.name(), error_text(contents.error()));
  }
  if (!contents.value().empty()) {
    found.push_back(fmt::format("disk {} {}", disk.name(), contents.value()));
  }
  return {};
}

std::string PairInit::find_in(const config::Memory& memory, std::vector<std::string>& found) {
  std::unique_ptr<os::MappedMemory> opened;
  if (std::string refused = open_memory(config_, memory, /*create=*/false, opened);
      !refused.empty()) {
    return refused;
  }
  const auto probe = opened == nullptr ? std::nullopt : std::optional(nvlog::probe(*opened));
  if (probe && !probe->blank) {
    found.push_back(fmt::format("memory {} {}", memory.path.text, contents_of(*probe)));
  }
  return {};
}

// The filer that is not formatted, where no record says what its epoch is.  No root: not formatted
// yet.
std::string PairInit::read_other_root(std::uint32_t filer, const PairLook& look) {
  found_[filer] = 0;
  if (!other_is_there_) {
    return {};
  }
  const Result<wafl::DiskRoot> root =
      run(scheduler_, wafl::read_root(disks_of(filer, look.groups())));
  if (!root.ok() && root.error().code == Errc::kIo) {
    return "the other filer's root: " + error_text(root.error());
  }
  const bool ours = root.ok() && root.value().pair == pair_ && root.value().filer == filer;
  found_[filer] = ours ? root.value().epoch : 0;
  return {};
}

// Those that are kept, and those that the other filer's root must be read from, are then open.
std::string PairInit::decide_fates(PairLook& look) {
  for (const config::RaidGroup& group : config_.groups) {
    bool touched = false;
    bool of_other = false;
    for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
      (is_formatted(filer) ? touched : of_other) |= config_.uses(filer, group);
    }
    if (touched && !of_other) {
      fates_[&group] = Fate::kMade;
    }
    if (!of_other || (!touched && record_)) {
      continue;
    }
    for (const GroupDisk& disk : group_disks()) {
      if (disk.configured.group == &group) {
        look.lend_disk(disk.configured, *disk.device);
      }
    }
    const Result<bool> found = look.is_there(group);
    if (!found.ok()) {
      return fmt::format(
          "redundancy group {}, which the other filer uses too: {}; start the shelves of its "
          "disks, "
          "or correct their URLs, or format both filers",
          group.name, error_text(found.error()));
    }
    const bool there = found.value();
    other_is_there_ = other_is_there_ && there;
    if (touched) {
      fates_[&group] = there ? Fate::kKept : Fate::kMade;
    }
    std::string refused = there ? look.open(group, entropy_) : "";
    if (!refused.empty()) {
      return refused;
    }
  }
  return {};
}

std::string PairInit::check_new_groups() {
  PairGroups planned(scheduler_, config_);
  const std::vector<GroupDisk> disks = group_disks();
  for (const config::RaidGroup& group : config_.groups) {
    const bool made = fate_of(group) == Fate::kMade;
    std::string refused = made ? planned.make(group, disks).check() : "";
    if (!refused.empty()) {
      return refused;
    }
  }
  return {};
}

// Of groups that are made: on their disks.  Of those that are kept: on what the formatted filers
// have there.
std::string PairInit::find_on_groups(const PairLook& look, std::vector<std::string>& found) {
  for (const Disk& disk : disks_) {
    const bool made = disk.group != nullptr && fate_of(disk) == Fate::kMade;
    std::string refused = made ? find_on_disk(*disk.disk, found) : "";
    if (!refused.empty()) {
      return refused;
    }
  }
  for (const config::Filer& filer : config_.filers) {
    for (const config::Disk& disk : filer.disks) {
      const bool kept = disk.is_virtual() && is_formatted(filer.index()) &&
                        fate_of(*config_.group(disk.group)) == Fate::kKept;
      std::string refused = kept ? find_on_disk(*look.groups().virtual_disk(disk), found) : "";
      if (!refused.empty()) {
        return refused;
      }
    }
  }
  return {};
}

std::string PairInit::find_data(const std::vector<const config::Node*>& nodes,
                                std::vector<std::string>& found) {
  nodes_ = nodes;
  PairLook look(scheduler_, config_);  // on copies, as nothing is to be touched yet
  std::string refused = look.copy_memories(nodes_);
  if (refused.empty()) {
    refused = decide_fates(look);
  }
  if (refused.empty()) {
    refused = check_new_groups();
  }
  for (std::uint32_t filer = 0; filer < mailbox::kFilers && refused.empty(); ++filer) {
    if (!is_formatted(filer) && !record_) {
      refused = read_other_root(filer, look);
    }
  }
  for (const config::Node* const node : nodes_) {
    for (const Disk& disk : disks_) {
      if (refused.empty() && disk.group == nullptr && disk.filer == number_of(*node)) {
        refused = find_on_disk(*disk.disk, found);
      }
    }
    for (const config::Memory* const memory : {&node->memory, &*node->mirror}) {
      if (refused.empty()) {
        refused = find_in(*memory, found);
      }
    }
  }
  return refused.empty() ? find_on_groups(look, found) : refused;
}

// The configuration's, as they were opened: all are there.
std::vector<GroupDisk> PairInit::group_disks() const {
  std::vector<GroupDisk> disks;
  const std::vector<config::PairDisk> configured = config_.pair_disks();
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    disks.push_back({.configured = configured[i], .device = disks_[i].disk.get(), .problem = {}});
  }
  return disks;
}

}  // namespace duet::cli
