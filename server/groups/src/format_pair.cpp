#include "groups/format_pair.h"

#include <fmt/format.h>

#include <algorithm>

#include "found_group.h"
#include "new_group.h"

namespace duet::groups {

namespace {

std::string_view remedy_of(Errc code) {
  return code == Errc::kIo || code == Errc::kRefused
             ? "start the shelves of the disks that are missing, or correct their URLs; if the "
               "disks are lost for good, so is the group: `duet init --force` makes it anew, "
               "without what it held"
             : "correct the URLs of its disks";
}

raid::NodeId other_of(raid::NodeId node) {
  return raid::NodeId{static_cast<std::uint8_t>(1 - raid::number(node))};
}

std::string names_of(raid::NodeSet nodes) {
  return nodes == raid::only(raid::NodeId{0})   ? "node a"
         : nodes == raid::only(raid::NodeId{1}) ? "node b"
                                                : "nodes a and b";
}

}  // namespace

OfflineGroup::OfflineGroup(Scheduler& scheduler, const std::string& file,
                           const config::RaidGroup& configured, std::vector<Disk> disks,
                           std::vector<Intents> intents)
    : scheduler_(scheduler),
      file_(file),
      configured_(configured),
      disks_(std::move(disks)),
      ids_(disks_.size()),
      intents_(std::move(intents)) {}

std::string OfflineGroup::place() const {
  return fmt::format("{}:{}: redundancy group {}", file_, configured_.line, configured_.name);
}

Task<std::vector<Result<raid::GroupLabel>>> OfflineGroup::read_labels() {
  std::vector<Result<raid::GroupLabel>> labels;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    Disk& disk = disks_[i];
    if (disk.device == nullptr) {
      labels.emplace_back(Error{Errc::kNotFound, "the disk is not there"});
      continue;
    }
    Result<raid::GroupLabel> label = co_await raid::read_label(*disk.device);
    if (label.ok()) {
      ids_[i] = label.value().own_id;
    } else {
      disk.problem = text_of(label.error());
    }
    labels.push_back(std::move(label));
  }
  co_return labels;
}

NamedGroup OfflineGroup::find_group(const std::vector<Result<raid::GroupLabel>>& labels) const {
  std::vector<const PersistentMemory*> memories;
  for (const Intents& intents : intents_) {
    memories.push_back(intents.memory);
  }
  return most_named(labels, memories);
}

Task<Result<bool>> OfflineGroup::is_there() {
  const std::vector<Result<raid::GroupLabel>> labels = co_await read_labels();
  const std::optional<raid::GroupId> id = find_group(labels).id;
  if (!id) {
    for (const Result<raid::GroupLabel>& label : labels) {
      if (!label.ok() && label.error().code == Errc::kIo) {
        co_return label.error();
      }
    }
    const bool all = std::ranges::all_of(disks_, [](const Disk& each) { return each.device; });
    if (!all) {
      co_return Error{Errc::kIo, "a disk of it was not reached"};
    }
    co_return false;
  }
  const Result<raid::Assembly> assembly = raid::assemble(*id, labels, /*force=*/false);
  if (!assembly.ok()) {
    co_return assembly.error();
  }
  const raid::GroupLabel& label = assembly.value().label;
  const raid::Geometry geometry = raid::geometry_of(label);
  const auto entries = raid::virtual_disks_of(label);
  const bool same_disks =
      std::ranges::equal(entries, configured_.virtual_disks, {}, &raid::VirtualDiskEntry::name,
                         &config::VirtualDisk::name);
  const bool same = label.nodes == kPairNodes && geometry.level == configured_.level &&
                    geometry.disks == configured_.disks.size() &&
                    geometry.chunk_blocks == configured_.chunk_blocks && same_disks;
  co_return same;
}

std::vector<NewDisk> OfflineGroup::new_disks() const {
  std::vector<NewDisk> disks;
  for (const Disk& disk : disks_) {
    DUET_CHECK(disk.device != nullptr);
    disks.push_back({.configured = disk.configured, .device = disk.device, .spare = disk.spare});
  }
  return disks;
}

std::string OfflineGroup::check() const {
  return NewGroup(scheduler_, file_, configured_, new_disks()).check();
}

Task<std::string> OfflineGroup::format(Entropy& entropy,
                                       const std::function<void(const std::string&)>& progress) {
  NewGroup made(scheduler_, file_, configured_, new_disks());
  std::string wrong = made.check();
  if (!wrong.empty()) {
    co_return wrong;
  }
  std::string not_zeroed = co_await made.write_zeros(progress);
  if (!not_zeroed.empty()) {
    co_return not_zeroed;
  }
  const raid::GroupId id = {entropy.next(), entropy.next()};
  const raid::MemoryLayout layout = configured_.intents();
  for (const Intents& intents : intents_) {
    const Status formatted =
        raid::format_intents(*intents.memory, id, intents.node, layout.slots, layout.pages);
    if (!formatted.ok()) {
      co_return fmt::format("{}: the mirror memory of {}: {}", place(),
                            names_of(raid::only(intents.node)), text_of(formatted.error()));
    }
  }
  std::string not_labelled = co_await made.write_labels(id, kPairNodes, entropy);
  co_return not_labelled;
}

// As raid looks for a node that may begin from a cold start.  Where nothing was being written any
// memory will do, also one that is blank.
const OfflineGroup::Intents* OfflineGroup::choose_intents(const raid::GroupId& id,
                                                          const raid::GroupLabel& label,
                                                          std::string& wrong) const {
  const bool at_rest = (label.holders | label.owed) == 0;
  for (const Intents& intents : intents_) {
    const std::optional<raid::MemoryHeader> header = header_of(*intents.memory);
    const bool ours = header && header->group == id && header->node == raid::number(intents.node);
    const bool counts =
        ours && (label.holders == 0 ||
                 (raid::contains(label.holders, intents.node) &&
                  (header->generation == label.generation || header->before == label.generation)));
    if (counts) {
      return &intents;
    }
  }
  if (!at_rest) {
    wrong = fmt::format(
        "{}: what it was writing when it was last used stands in the mirror memory of {}, and that "
        "is not here; put it back, or do this on that node's machine (--node); if it is lost, "
        "`duet init --force` makes the group anew, without what it held",
        place(), names_of(label.holders));
    return nullptr;
  }
  const Intents& blank = intents_.front();
  const raid::MemoryLayout layout = configured_.intents();
  const Status formatted =
      raid::format_intents(*blank.memory, id, blank.node, layout.slots, layout.pages);
  if (!formatted.ok()) {
    wrong = fmt::format("{}: the mirror memory of {}: {}", place(),
                        names_of(raid::only(blank.node)), text_of(formatted.error()));
    return nullptr;
  }
  return &blank;
}

Task<std::string> OfflineGroup::open(Entropy& entropy) {
  DUET_CHECK(!intents_.empty());
  const std::vector<Result<raid::GroupLabel>> labels = co_await read_labels();
  const NamedGroup named = find_group(labels);
  const std::optional<raid::GroupId>& id = named.id;
  if (named.tied) {
    co_return fmt::format("{}: its disks belong to different groups; name the disks of one",
                          place());
  }
  if (!id) {
    co_return fmt::format(
        "{}: none of its disks carries the label of a group; correct their URLs, or format them "
        "with `duet init`",
        place());
  }
  const Result<raid::Assembly> assembly = raid::assemble(*id, labels, /*force=*/false);
  if (!assembly.ok()) {
    co_return fmt::format("{}: {}; {}", place(), text_of(assembly.error()),
                          remedy_of(assembly.error().code));
  }
  if (assembly.value().label.nodes != kPairNodes) {
    co_return fmt::format(
        "{}: it was made for a node alone; the nodes of a pair need one that `duet init` made for "
        "both",
        place());
  }
  std::string wrong;
  const Intents* const intents = choose_intents(*id, assembly.value().label, wrong);
  if (intents == nullptr) {
    co_return wrong;
  }
  std::vector<BlockDevice*> devices;
  std::vector<Disk*> owners;
  for (Disk& disk : disks_) {
    if (disk.device != nullptr) {
      devices.push_back(disk.device);
      owners.push_back(&disk);
    }
  }
  const raid::GroupOptions options = {
      .group = *id, .self = intents->node, .incarnation = entropy.next() | 1U};
  auto opened =
      co_await raid::Group::open(scheduler_, std::move(devices), *intents->memory, peers_, options);
  if (!opened.ok()) {
    co_return fmt::format("{}: {}; {}", place(), text_of(opened.error()),
                          remedy_of(opened.error().code));
  }
  group_ = std::move(opened.value());
  for (const raid::Assembly::Refusal& refusal : group_->refused()) {
    owners[refusal.candidate]->problem = text_of(refusal.why);
  }
  group_->node_fenced(other_of(intents->node), 0);  // no process of it was ever heard of
  const Status active = co_await group_->wait_active();
  if (!active.ok()) {
    co_return fmt::format("{}: {}; {}", place(), text_of(active.error()),
                          remedy_of(active.error().code));
  }
  co_return make_virtual_disks(scheduler_, file_, configured_, *group_, virtual_disks_);
}

BlockDevice* OfflineGroup::virtual_disk(std::string_view name) const {
  return virtual_disk_called(name, configured_, virtual_disks_);
}

std::vector<std::string> OfflineGroup::notes() const {
  std::vector<std::string> notes;
  const std::uint64_t recovered = group_->counters().recovered;
  if (recovered > 0) {
    notes.push_back(fmt::format("redundancy group {}: the next start finishes {} writes",
                                configured_.name, recovered));
  }
  const raid::GroupLabel label = group_->status().label;
  for (std::uint32_t number = 0; number < label.disks; ++number) {
    const raid::LabelDisk& member = label.members[number];
    if (static_cast<raid::DiskState>(member.state) == raid::DiskState::kInSync) {
      continue;
    }
    const auto known = std::ranges::find(ids_, std::optional(member.id));
    // `duet init` numbers them as they are listed.
    const bool listed = number < disks_.size() && !disks_[number].spare && !ids_[number];
    const Disk* const disk =
        known != ids_.end() ? &disks_[static_cast<std::size_t>(std::distance(ids_.begin(), known))]
        : listed            ? &disks_[number]
                            : nullptr;
    const std::string why = disk == nullptr || disk->problem.empty() ? "" : ": " + disk->problem;
    notes.push_back(fmt::format("redundancy group {}: disk {}, {}, is not used{}", configured_.name,
                                number, disk == nullptr ? "(none)" : disk->name, why));
  }
  return notes;
}

Task<Status> OfflineGroup::close() {
  virtual_disks_.clear();
  const Status closed = co_await group_->close();
  co_return closed;
}

}  // namespace duet::groups
