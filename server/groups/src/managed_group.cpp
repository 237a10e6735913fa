#include "groups/managed_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "disk_verbs.h"
#include "found_group.h"
#include "raid/lone_peers.h"

namespace duet::groups {

namespace {

bool holds_intents_of(const PersistentMemory& memory, const raid::GroupId& id) {
  const std::optional<raid::MemoryHeader> header = header_of(memory);
  return header && header->group == id;
}

// The end of a path, behind a slash or, of a shelf's URL, a #.
bool ends_with(std::string_view path, std::string_view text) {
  if (text.empty() || path.size() <= text.size() || !path.ends_with(text)) {
    return false;
  }
  const char before = path[path.size() - text.size() - 1];
  return before == '/' || before == '#';
}

}  // namespace

ManagedGroup::ManagedGroup(Scheduler& scheduler, const std::string& file,
                           const config::RaidGroup& configured, raid::NodeId self, Connect connect,
                           Absence absence)
    : scheduler_(scheduler),
      file_(file),
      configured_(configured),
      self_(self),
      connect_(std::move(connect)),
      absence_(std::move(absence)),
      changing_(scheduler) {
  for (const config::Disk& disk : configured.disks) {
    slots_.push_back({.configured = &disk});
  }
  for (const config::Disk& disk : configured.spares) {
    slots_.push_back({.configured = &disk, .spare = true});
  }
}

// The disks end first, and wait for what is under way: no turn runs any more before those who gave
// it end too.
ManagedGroup::~ManagedGroup() {
  for (Slot& slot : slots_) {
    slot.device.reset();
  }
  retired_.clear();
}

std::string ManagedGroup::place() const {
  return fmt::format("{}:{}: redundancy group {}", file_, configured_.line, configured_.name);
}

std::string ManagedGroup::open_disks(const Opener& open) {
  for (Slot& slot : slots_) {
    auto opened = open(*slot.configured);
    if (opened.ok()) {
      slot.device = std::make_unique<HeldDisk>(scheduler_, std::move(opened.value()));
      continue;
    }
    slot.problem = text_of(opened.error());
    if (opened.error().code == Errc::kRefused) {
      return fmt::format("{}:{}: disk {}: {}; stop what uses it (another duetd, `duet check`)",
                         file_, slot.configured->path.line, slot.configured->path.text,
                         slot.problem);
    }
  }
  return {};
}

Task<std::vector<Result<raid::GroupLabel>>> ManagedGroup::read_labels() {
  std::vector<Result<raid::GroupLabel>> labels;
  for (Slot& slot : slots_) {
    if (slot.device == nullptr) {
      labels.emplace_back(Error{Errc::kNotFound, "the disk is not there"});
      continue;
    }
    Result<raid::GroupLabel> label = co_await raid::read_label(*slot.device);
    if (label.ok()) {
      slot.id = label.value().own_id;
      slot.problem.clear();
    } else {
      slot.problem = text_of(label.error());
    }
    if (!absence_of(slot).empty()) {
      slot.problem = "it was not reached when the group began";
    }
    labels.push_back(std::move(label));
  }
  co_return labels;
}

std::string ManagedGroup::find_group(const PersistentMemory& memory,
                                     const std::vector<Result<raid::GroupLabel>>& labels) {
  const NamedGroup named = most_named(labels, std::array{&memory});
  if (named.tied) {
    return fmt::format("{}: its disks belong to different groups; name the disks of one", place());
  }
  if (!named.id) {
    return fmt::format(
        "{}: none of its disks carries the label of a group; correct their paths, or format them "
        "with `duet init`",
        place());
  }
  id_ = *named.id;
  return {};
}

// Null: none is this group's.
const raid::GroupLabel* ManagedGroup::newest(
    const std::vector<Result<raid::GroupLabel>>& labels) const {
  const raid::GroupLabel* found = nullptr;
  for (const Result<raid::GroupLabel>& label : labels) {
    if (label.ok() && label.value().group == id_ &&
        (found == nullptr || raid::supersedes(label.value(), *found))) {
      found = &label.value();
    }
  }
  return found;
}

// Whether no disk that is not there can have a newer label than those that are.  The only node that
// manages a group notes each view in its memory before it is in a label; a view that the memory
// knows nothing of is one that ended in order, and in that nothing was written any more.
bool ManagedGroup::knows_newest(const PersistentMemory& memory,
                                const std::vector<Result<raid::GroupLabel>>& labels) const {
  const std::optional<raid::MemoryHeader> header = header_of(memory);
  const raid::GroupLabel* const label = newest(labels);
  return label != nullptr && label->nodes == raid::only(self_) && header && header->group == id_ &&
         header->node == raid::number(self_) && header->generation != 0 &&
         header->generation <= label->generation;
}

// After an orderly stop the intents hold nothing, so memory that is another may take their place.
std::string ManagedGroup::ready_memory(PersistentMemory& memory,
                                       const std::vector<Result<raid::GroupLabel>>& labels) const {
  if (holds_intents_of(memory, id_)) {
    return {};
  }
  const raid::MemoryLayout layout = configured_.intents();
  const auto format = [&]() -> std::string {
    const Status formatted = raid::format_intents(memory, id_, self_, layout.slots, layout.pages);
    return formatted.ok() ? ""
                          : fmt::format("{}: the memory: {}", place(), text_of(formatted.error()));
  };
  if (connect_ && !header_of(memory)) {
    // The partner's has all of it, or is asked in vain: a blank one is known to hold nothing.
    return format();
  }
  const Result<raid::Assembly> assembly = raid::assemble(id_, labels, /*force=*/false);
  if (!assembly.ok()) {
    return refused_start(assembly.error(), labels);
  }
  const raid::GroupLabel& label = assembly.value().label;
  if ((label.holders | label.owed) != 0) {
    return fmt::format(
        "{}: the node's memory does not hold what the group was writing when it was last used; put "
        "back the memory of that run; if it is lost, `duet init --force` makes the group anew, "
        "without what it held",
        place());
  }
  return format();
}

Task<std::string> ManagedGroup::open(PersistentMemory& memory, std::uint64_t incarnation) {
  std::string wrong = co_await start(memory, incarnation);
  if (wrong.empty()) {
    wrong = co_await manage();
  }
  co_return wrong;
}

Task<std::string> ManagedGroup::start(PersistentMemory& memory, std::uint64_t incarnation) {
  std::string wrong = co_await begin(memory, incarnation);
  trouble_ = wrong;
  co_return wrong;
}

Task<std::string> ManagedGroup::begin(PersistentMemory& memory, std::uint64_t incarnation) {
  const std::vector<Result<raid::GroupLabel>> labels = co_await read_labels();
  std::string wrong = find_group(memory, labels);
  if (wrong.empty()) {
    knows_newest_ = knows_newest(memory, labels);
    wrong = ready_memory(memory, labels);
  }
  if (!wrong.empty()) {
    co_return wrong;
  }
  std::vector<BlockDevice*> devices;
  std::vector<Slot*> owners;
  for (Slot& slot : slots_) {
    if (slot.device != nullptr) {
      devices.push_back(slot.device.get());
      owners.push_back(&slot);
    }
  }
  group_.reset();
  peers_.reset();
  peers_ = connect_ ? connect_(id_) : std::make_unique<raid::LonePeers>();
  const raid::GroupOptions options = {
      .group = id_,
      .self = self_,
      .incarnation = incarnation,
      .force = knows_newest_,
      .background_blocks_per_s = configured_.background_bytes_per_s / kBlockBytes};
  auto opened =
      co_await raid::Group::open(scheduler_, std::move(devices), memory, *peers_, options);
  if (!opened.ok()) {
    co_return refused_start(opened.error(), labels);
  }
  group_ = std::move(opened.value());
  for (const raid::Assembly::Refusal& refusal : group_->refused()) {
    Slot& owner = *owners[refusal.candidate];
    owner.problem = absence_of(owner).empty() ? text_of(refusal.why) : owner.problem;
  }
  co_return std::string();
}

Task<std::string> ManagedGroup::manage() {
  const Status active = co_await group_->wait_active();
  if (!active.ok()) {
    trouble_ = fmt::format("{}: {}; {}", place(), text_of(active.error()),
                           remedy_of(active.error().code, group_->status().label.disks));
    co_return trouble_;
  }
  std::string wrong = make_virtual_disks(scheduler_, file_, configured_, *group_, virtual_disks_);
  managed_ = wrong.empty();
  if (!managed_) {
    trouble_ = wrong;
    virtual_disks_.clear();
    const Status closed = co_await group_->close();
    static_cast<void>(closed);  // what is told is why
  }
  co_return wrong;
}

Task<Result<std::unique_ptr<raid::Onlooker>>> ManagedGroup::look(const PersistentMemory& memory) {
  if (id_ == raid::GroupId{}) {
    const std::vector<Result<raid::GroupLabel>> labels = co_await read_labels();
    if (const std::string wrong = find_group(memory, labels); !wrong.empty()) {
      co_return Error{Errc::kNotFound, "the disks do not tell which redundancy group they are"};
    }
  }
  std::vector<BlockDevice*> devices;
  for (const Slot& slot : slots_) {
    if (slot.device != nullptr) {
      devices.push_back(slot.device.get());
    }
  }
  co_return co_await raid::Onlooker::open(std::move(devices), id_);
}

BlockDevice* ManagedGroup::virtual_disk(std::string_view name) const {
  return virtual_disk_called(name, configured_, virtual_disks_);
}

// Whoever gave a disk to the group knows its name; the other node's group finds out.
bool ManagedGroup::is_slot_of(const Slot& slot, const raid::DiskId& id) const {
  return slot.id == id ||
         (slot.device != nullptr && group_->device_called(id) == slot.device.get());
}

std::vector<DiskView> ManagedGroup::disks() const {
  const raid::GroupLabel label = group_->status().label;
  std::vector<DiskView> views;
  std::vector<bool> shown(slots_.size());
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    const raid::LabelDisk& disk = label.members[i];
    DiskView& view = views.emplace_back();
    view.number = i;
    view.id = disk.id;
    view.state = static_cast<raid::DiskState>(disk.state);
    view.kept_out = (disk.flags & raid::kKeptOut) != 0;
    view.watermark = disk.watermark;
    for (std::size_t at = 0; at < slots_.size(); ++at) {
      if (is_slot_of(slots_[at], disk.id)) {
        view.slot = &slots_[at];
        shown[at] = true;
      }
    }
  }
  // `duet init` numbers them as they are listed, so a disk without a label is likely the one that
  // has its number.
  for (std::uint32_t i = 0; i < label.disks && i < slots_.size(); ++i) {
    if (views[i].slot == nullptr && !shown[i] && !slots_[i].spare && !slots_[i].removed) {
      views[i].slot = &slots_[i];
      shown[i] = true;
    }
  }
  for (std::uint32_t i = 0; i < label.spare_count; ++i) {
    DiskView& view = views.emplace_back();
    view.spare = true;
    view.id = label.spares[i];
    for (std::size_t at = 0; at < slots_.size(); ++at) {
      if (is_slot_of(slots_[at], label.spares[i])) {
        view.slot = &slots_[at];
        shown[at] = true;
      }
    }
  }
  for (std::size_t at = 0; at < slots_.size(); ++at) {
    if (!shown[at] && !slots_[at].removed) {
      views.push_back({.slot = &slots_[at]});
    }
  }
  return views;
}

bool is_called(const Slot& slot, std::string_view path) {
  return slot.configured->path.text == path || slot.configured->shown() == path;
}

std::optional<std::uint32_t> ManagedGroup::find_disk(std::string_view text) const {
  const std::vector<DiskView> views = disks();
  // All of a path says more than the end of one.
  for (const DiskView& view : views) {
    if (view.number && view.slot != nullptr && is_called(*view.slot, text)) {
      return view.number;
    }
  }
  std::optional<std::uint32_t> found;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc{} && end == text.data() + text.size();
  for (const DiskView& view : views) {
    if (!view.number) {
      continue;
    }
    const std::string path = view.slot == nullptr ? "" : view.slot->configured->shown();
    const bool named = ends_with(path, text) || (is_number && *view.number == number);
    if (named && found) {
      return std::nullopt;
    }
    found = named ? view.number : found;
  }
  return found;
}

std::string ManagedGroup::not_found(std::string_view text) const {
  for (const DiskView& view : disks()) {
    const bool named =
        view.slot != nullptr && !view.number &&
        (is_called(*view.slot, text) || ends_with(view.slot->configured->shown(), text));
    if (named) {
      const std::string shown = view.slot->configured->shown();
      return view.spare ? fmt::format("disk {} is a spare of group {}, and holds nothing", shown,
                                      configured_.name)
                        : fmt::format(
                              "group {0} does not use disk {1}: another has its place, or it never "
                              "had one; give it as a new one: `duet raid spare {0} {1} --force`",
                              configured_.name, shown);
    }
  }
  return fmt::format("group {} has no disk {}, or several; write its path or its number",
                     configured_.name, text);
}

std::optional<std::uint32_t> ManagedGroup::can_lose() const {
  const raid::GroupStatus status = group_->status();
  std::uint32_t lost = 0;
  for (std::uint32_t i = 0; i < status.label.disks; ++i) {
    const auto state = static_cast<raid::DiskState>(status.label.members[i].state);
    lost += state == raid::DiskState::kInSync ? 0 : 1;
  }
  const std::uint32_t most = group_->geometry().check_columns();
  if (!status.active || lost > most) {
    return std::nullopt;
  }
  return most - lost;
}

// What is not used: a disk of the configuration that came to nothing, or one that is new here.
Slot* ManagedGroup::take(const std::string& path, const Opener& open, std::string& wrong) {
  for (const DiskView& view : disks()) {
    if (view.slot == nullptr || !is_called(*view.slot, path)) {
      continue;
    }
    const bool failed = view.number && view.state == raid::DiskState::kFailed;
    if ((view.number && !failed) || view.spare) {
      wrong = fmt::format("group {} uses disk {} already", configured_.name, path);
      return nullptr;
    }
  }
  const auto known =
      std::ranges::find_if(slots_, [&](const Slot& slot) { return is_called(slot, path); });
  config::Disk wanted;
  wanted.path.text = known != slots_.end() ? known->configured->path.text : path;
  auto opened = open(wanted);
  std::unique_ptr<HeldDisk> held;
  if (opened.ok()) {
    held = std::make_unique<HeldDisk>(scheduler_, std::move(opened.value()));
  }
  if (known != slots_.end() && known->device != nullptr) {
    // Another disk in the place of the old one; or that one still, which this process keeps locked.
    if (held != nullptr) {
      retired_.push_back(std::exchange(known->device, std::move(held)));
    }
    known->removed = false;
    return &*known;
  }
  if (!opened.ok()) {
    wrong = fmt::format("disk {}: {}", path, text_of(opened.error()));
    return nullptr;
  }
  if (known != slots_.end()) {
    known->device = std::move(held);
    known->removed = false;
    return &*known;
  }
  added_.push_back(std::move(wanted));
  slots_.push_back({.configured = &added_.back(), .device = std::move(held)});
  return &slots_.back();
}

// A disk that is blank, or is to lose what it holds, known to the group.  Null: `wrong` says why
// not.
Task<Slot*> ManagedGroup::take_blank(const std::string& path, bool force, const Opener& open,
                                     std::string& wrong) {
  Slot* const slot = take(path, open, wrong);
  if (slot == nullptr) {
    co_return nullptr;
  }
  if (const std::string away = absence_of(*slot); !away.empty()) {
    wrong =
        fmt::format("disk {}: {}; `duet failover show` names the disks out of reach", path, away);
    co_return nullptr;
  }
  const Status blank = co_await must_be_blank(*slot->device);
  if (!blank.ok() && !force) {
    wrong = refusal_of(blank.error(), path);
    co_return nullptr;
  }
  group_->add_device(*slot->device);
  co_return slot;
}

// What came of giving it to the group under the name `id`.
std::string ManagedGroup::given(Slot& slot, const std::string& path, const raid::DiskId& id,
                                const Status& result) {
  if (!result.ok()) {
    return refusal_of(result.error(), path);
  }
  slot.id = id;
  slot.problem.clear();
  return {};
}

Task<std::string> ManagedGroup::add_spare(std::string path, bool force, Opener open,
                                          Entropy& entropy) {
  const AsyncMutex::Guard guard = co_await changing_.lock();
  std::string wrong;
  Slot* const slot = co_await take_blank(path, force, open, wrong);
  if (slot == nullptr) {
    co_return wrong;
  }
  const raid::DiskId id = {entropy.next(), entropy.next()};
  const Status added = co_await group_->add_spare(*slot->device, id, force);
  co_return given(*slot, path, id, added);
}

Task<std::string> ManagedGroup::replace(std::uint32_t disk, std::string path, bool force,
                                        Opener open, Entropy& entropy) {
  const AsyncMutex::Guard guard = co_await changing_.lock();
  const raid::LabelDisk member = group_->status().label.members[disk];
  if (static_cast<raid::DiskState>(member.state) != raid::DiskState::kFailed) {
    co_return fmt::format("disk {} of group {} has not failed; take it out first: `duet raid fail`",
                          disk, configured_.name);
  }
  std::string wrong;
  Slot* const slot = co_await take_blank(path, force, open, wrong);
  if (slot == nullptr) {
    co_return wrong;
  }
  const raid::DiskId id = {entropy.next(), entropy.next()};
  const Status replaced = co_await group_->replace(disk, *slot->device, id, force);
  co_return given(*slot, path, id, replaced);
}

Task<std::string> ManagedGroup::take_back(std::uint32_t disk, Opener open) {
  const AsyncMutex::Guard guard = co_await changing_.lock();
  Status taken = co_await group_->take_back(disk);
  const raid::DiskId id = group_->status().label.members[disk].id;
  const auto found = std::ranges::find(slots_, id, &Slot::id);
  Slot* const slot = found == slots_.end() ? nullptr : &*found;
  if (!taken.ok() && taken.error().code == Errc::kNotFound && slot != nullptr) {
    auto opened = open(*slot->configured);
    if (opened.ok()) {
      auto held = std::make_unique<HeldDisk>(scheduler_, std::move(opened.value()));
      retired_.push_back(std::exchange(slot->device, std::move(held)));
      group_->add_device(*slot->device);
      taken = co_await group_->take_back(disk);
    }
  }
  if (taken.ok() && slot != nullptr) {
    slot->problem.clear();
  }
  const Slot* const at = disks()[disk].slot;  // also one whose label was never read
  const std::string away = !taken.ok() && at != nullptr ? absence_of(*at) : "";
  if (!away.empty()) {
    co_return fmt::format("disk {} of group {}: {}", disk, configured_.name, away);
  }
  const std::string_view remedy =
      taken.ok() || taken.error().code != Errc::kNotFound
          ? ""
          : "; correct what connects it, or give another disk: `duet raid replace`";
  co_return taken.ok() ? std::string()
                       : fmt::format("disk {} of group {}: {}{}", disk, configured_.name,
                                     text_of(taken.error()), remedy);
}

Task<std::string> ManagedGroup::expand(std::vector<std::string> paths, bool force, Opener open,
                                       Entropy& entropy) {
  const AsyncMutex::Guard guard = co_await changing_.lock();
  std::vector<Slot*> slots;
  std::vector<BlockDevice*> devices;
  std::vector<raid::DiskId> ids;
  for (const std::string& path : paths) {
    std::string wrong;
    Slot* const slot = co_await take_blank(path, force, open, wrong);
    if (slot == nullptr) {
      co_return wrong;
    }
    const bool twice = std::ranges::find(slots, slot) != slots.end();
    if (twice) {
      co_return fmt::format("disk {} is named twice", path);
    }
    slots.push_back(slot);
    devices.push_back(slot->device.get());
    ids.push_back({entropy.next(), entropy.next()});
  }
  const Status expanded = co_await group_->expand(devices, ids, force);
  std::string wrong;
  for (std::size_t i = 0; i < slots.size() && wrong.empty(); ++i) {
    wrong = given(*slots[i], paths[i], ids[i], expanded);
  }
  co_return wrong;
}

Task<std::string> ManagedGroup::add_virtual_disk(std::string name, std::uint64_t bytes) {
  const std::uint64_t blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
  const Status added = co_await group_->add_virtual_disk(name, blocks);
  if (!added.ok()) {
    const std::string room =
        added.error().code == Errc::kNoSpace ? room_text(group_->status().label) : "";
    co_return fmt::format("virtual disk {} of group {}: {}{}", name, configured_.name,
                          text_of(added.error()), room);
  }
  co_return std::string();
}

Task<std::string> ManagedGroup::remove_spare(std::string path) {
  const AsyncMutex::Guard guard = co_await changing_.lock();
  for (const DiskView& view : disks()) {
    if (view.spare && view.slot != nullptr && is_called(*view.slot, path)) {
      const raid::DiskId id = *view.id;
      const Status removed = co_await group_->remove_spare(id);
      if (!removed.ok()) {
        co_return refusal_of(removed.error(), path);
      }
      co_return std::string();
    }
  }
  co_return fmt::format("group {} has no spare {}", configured_.name, path);
}

Task<Status> ManagedGroup::close() {
  virtual_disks_.clear();
  const Status closed = co_await group_->close();
  co_return closed;
}

}  // namespace duet::groups
