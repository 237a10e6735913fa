#include "groups/pair_groups.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "path_watch.h"
#include "platform/passing_device.h"

namespace duet::groups {

namespace {

constexpr Duration kOpenAgain = std::chrono::seconds(1);
// A disk that is not there when a group begins has failed, and is rebuilt.
constexpr Duration kDisksWithin = std::chrono::seconds(3);
constexpr Duration kLook = std::chrono::milliseconds(20);
constexpr Duration kPathsEvery = std::chrono::seconds(1);
// A process of a node may try so often to manage its groups before the numbers of the next one.
constexpr std::uint64_t kTries = 256;
// Those of the logs come first, by filer.
constexpr std::uint8_t kFirstWindow = 2;

}  // namespace

// A disk of the pair in a group's hands.
class PairGroups::Borrowed final : public PassingDevice {
 public:
  Borrowed(Scheduler& scheduler, shelf::SharedDisk& disk, Access& access)
      : scheduler_(scheduler), disk_(disk), access_(access) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void begin_anew() override { disk_.begin_anew(); }
  void start(BlockOperation& operation) override {
    if (access_.shut.contains(&disk_)) {
      operation.result = Error{Errc::kIo, "the partner may still write to this disk"};
      scheduler_.post(operation);
      return;
    }
    ++access_.under_way;
    pass(operation, disk_);
  }

 private:
  void passed(const Status& result) override {
    access_.errors[&disk_] += result.ok() ? 0 : 1;
    --access_.under_way;
  }

  Scheduler& scheduler_;
  shelf::SharedDisk& disk_;
  Access& access_;
};

PairGroups::PairGroups(Scheduler& scheduler, const config::Config& config, const config::Node& node,
                       PersistentMemory& mirror, interconnect::PartnerLink& link,
                       std::uint64_t incarnation, const DiskOf& disk_of)
    : scheduler_(scheduler),
      self_{static_cast<std::uint8_t>(node.name == "b" ? 1 : 0)},
      incarnation_(incarnation),
      disk_of_(disk_of),
      peers_(scheduler, link, incarnation),
      scope_(scheduler) {
  const std::vector<const config::RaidGroup*> configured = config.groups_of(node);
  const config::MemoryMap map = config::map_memory(configured, mirror.bytes().size());
  for (std::size_t i = 0; i < configured.size(); ++i) {
    const config::MemoryMap::Part part = map.intents[i];
    const auto connect = [this, i, part](const raid::GroupId& id) {
      const interconnect::WindowId window{static_cast<std::uint8_t>(kFirstWindow + i)};
      return peers_.open(id, window, {part.offset, part.bytes}, partner());
    };
    intents_.push_back(std::make_unique<MemorySlice>(mirror, part.offset, part.bytes));
    Access& access = *access_.emplace_back(std::make_unique<Access>());
    const auto absence = [this, &access](const config::Disk& disk) {
      const shelf::SharedDisk* const found = disk_of_(disk);
      return found == nullptr ? std::string() : absence_of(*found, access);
    };
    groups_.push_back(std::make_unique<ManagedGroup>(scheduler, config.file, *configured[i], self_,
                                                     connect, absence));
    const std::string wrong = groups_.back()->open_disks(
        [&](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
          return std::unique_ptr<BlockDevice>(new Borrowed(scheduler, *disk_of_(disk), access));
        });
    DUET_CHECK(wrong.empty());
  }
  for (const config::Filer& filer : config.filers) {
    for (const config::Disk& disk : filer.disks) {
      for (std::size_t i = 0; disk.is_virtual() && i < groups_.size(); ++i) {
        if (configured[i]->name == disk.group) {
          ports_.push_back({&disk, filer.index(),
                            std::make_unique<VirtualPort>(scheduler, *groups_[i], *intents_[i],
                                                          disk.virtual_disk)});
        }
      }
    }
  }
}

// The shelf says of a new image under an old name that it is another disk; this process stays with
// the one it knew.
std::string PairGroups::absence_of(const shelf::SharedDisk& disk, const Access& access) {
  const shelf::DiskHealth health = disk.health();
  if (!health.connected) {
    const std::string why(health.last_error);
    if (why.starts_with("another disk")) {
      return "another disk is behind this URL now; restart both nodes, one after the other, and "
             "give the order again";
    }
    return "this node does not reach it" + (why.empty() ? "" : ": " + why);
  }
  return access.shut.contains(&disk)
             ? "it could not be reached when the partner was shut out; it is used again by itself "
               "when that is made up for, else restart this node"
             : "";
}

// What works on a group ends before it does.
PairGroups::~PairGroups() { scope_.cancel(); }

raid::NodeId PairGroups::partner() const {
  return raid::NodeId{static_cast<std::uint8_t>(1 - raid::number(self_))};
}

void PairGroups::begin() {
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    for (const Slot& slot : group->slots()) {
      disk_of_(*slot.configured)->begin_anew();
    }
  }
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    scope_.spawn(keep_opening(i));
    scope_.spawn(watch_paths(i));
  }
}

// A disk that is out of reach of one node has failed for both; whoever lost it knows when it is
// there again, and whoever goes on alone reaches what only the other one had lost.
Task<void> PairGroups::watch_paths(std::size_t group) {
  const ManagedGroup& watched = *groups_[group];
  PathWatch paths([this, group](const Slot& slot) {
    const shelf::SharedDisk* const disk = disk_of_(*slot.configured);
    if (disk == nullptr) {
      return PathWatch::Path();
    }
    const shelf::DiskHealth health = disk->health();
    return PathWatch::Path{health.connected, health.reconnects, access_[group]->errors[disk]};
  });
  while (!closing_) {
    co_await sleep(scheduler_, kPathsEvery);
    if (!watched.managed() || ended()) {
      continue;
    }
    const std::vector<DiskView> disks = watched.disks();
    const bool alone = !raid::contains(watched.manager()->status().members, partner());
    const std::vector<std::uint32_t> back = paths.look(disks, alone, scheduler_.now());
    for (const std::uint32_t disk : back) {
      const Status taken = co_await watched.manager()->take_back(disk, true);
      if (taken.ok() && on_trouble) {
        on_trouble("redundancy group " + watched.configured().name + ": disk " +
                   std::to_string(disk) + " can be reached again, and is used again");
      }
    }
  }
}

Task<void> PairGroups::wait_for_disks(const ManagedGroup& group) {
  const Instant deadline = scheduler_.now() + kDisksWithin;
  const auto here = [this](const Slot& slot) {
    return disk_of_(*slot.configured)->health().connected;
  };
  while (!std::ranges::all_of(group.slots(), here) && scheduler_.now() < deadline) {
    co_await sleep(scheduler_, kLook);
  }
}

// What a start lacks may come: a disk, the partner.
Task<void> PairGroups::keep_opening(std::size_t group) {
  ManagedGroup& opened = *groups_[group];
  std::string told;
  for (std::uint64_t managers = 0; managers < kTries && !closing_;) {
    co_await wait_for_disks(opened);
    while (access_[group]->under_way > 0) {
      co_await sleep(scheduler_, kLook);  // of a manager that came to nothing
    }
    std::string wrong = co_await opened.start(*intents_[group], incarnation_ * kTries + managers);
    if (wrong.empty()) {
      ++managers;
      if (was_fenced_) {
        tell_fenced(*opened.manager());
      }
      wrong = co_await opened.manage();
    }
    if (wrong.empty() || ended()) {
      co_return;
    }
    if (wrong != told && !closing_ && on_trouble) {
      on_trouble(wrong);
    }
    told = std::move(wrong);
    co_await sleep(scheduler_, kOpenAgain);
  }
  spent_ = !closing_;
}

failover::GroupsState PairGroups::state() const {
  bool waiting = false;
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (group->managed() && raid::contains(group->manager()->status().members, partner())) {
      return failover::GroupsState::kShared;
    }
    waiting = waiting || !group->managed();
  }
  const bool gone = was_fenced_ && !peers_.reaches_partner();
  return waiting && !gone ? failover::GroupsState::kWaiting : failover::GroupsState::kAlone;
}

bool PairGroups::ended() const {
  return spent_ || std::ranges::any_of(groups_, [](const std::unique_ptr<ManagedGroup>& group) {
           const raid::Group* const manager = group->manager();
           const auto why = manager != nullptr ? manager->status().ended : std::nullopt;
           return why && (why->code == Errc::kFenced || group->managed());
         });
}

bool PairGroups::ready(std::uint32_t filer) const {
  return std::ranges::all_of(ports_, [&](const Port& each) {
    return each.filer != filer || (each.port->group().managed() && !is_held_up(each.port->group()));
  });
}

// By a process of the partner that was fenced, but not from enough of its disks.
bool PairGroups::is_held_up(const ManagedGroup& group) const {
  const raid::GroupStatus status = group.manager()->status();
  return raid::contains(status.members, partner()) && was_fenced_ &&
         status.incarnations[raid::number(partner())] / kTries <= fenced_;
}

// Not where the labels say that the partner alone knows what was being written.
bool PairGroups::lacks(std::uint64_t incarnation) const {
  return std::ranges::any_of(groups_, [&](const std::unique_ptr<ManagedGroup>& group) {
    if (group->manager() == nullptr) {
      return false;
    }
    const raid::GroupStatus status = group->manager()->status();
    if (!group->managed()) {
      const raid::NodeSet holders = status.label.holders;
      return !status.ended && (holders == 0 || raid::contains(holders, self_));
    }
    return raid::contains(status.members, partner()) &&
           status.incarnations[raid::number(partner())] / kTries < incarnation;
  });
}

bool PairGroups::was_last_alone() const {
  return std::ranges::all_of(groups_, [&](const std::unique_ptr<ManagedGroup>& group) {
    return group->manager() != nullptr &&
           group->manager()->status().label.holders == raid::only(self_);
  });
}

void PairGroups::partner_fenced(std::uint64_t incarnation,
                                std::span<shelf::SharedDisk* const> left) {
  fenced_ = std::max(fenced_, incarnation);
  was_fenced_ = true;
  peers_.fenced(interconnect::Incarnation{fenced_});
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const ManagedGroup& group = *groups_[i];
    Access& access = *access_[i];
    // Whoever made up for an older exclusion has stopped, and what was not left is fenced now.
    std::erase_if(access.shut, [left](const shelf::SharedDisk* disk) {
      return std::ranges::find(left, disk) == left.end();
    });
    if (!can_leave(group, left)) {
      if (on_trouble) {
        on_trouble("redundancy group " + group.configured().name +
                   " waits: too many of its disks cannot be reached, and the partner may still "
                   "write to them; repair the paths to them");
      }
      continue;
    }
    for (const Slot& slot : group.slots()) {
      shelf::SharedDisk* const disk = disk_of_(*slot.configured);
      if (std::ranges::find(left, disk) != left.end()) {
        access.shut.insert(disk);
      }
    }
    if (group.manager() != nullptr) {
      for (raid::ColumnSet gone = members_among(group, left); gone != 0; gone &= gone - 1) {
        group.manager()->disk_failed(static_cast<std::uint32_t>(std::countr_zero(gone)));
      }
      tell_fenced(*group.manager());
    }
  }
}

void PairGroups::shut_out_of(shelf::SharedDisk& disk) {
  for (const std::unique_ptr<Access>& access : access_) {
    access->shut.erase(&disk);
  }
}

// Whatever number the manager of the fenced process has.
void PairGroups::tell_fenced(raid::Group& manager) const {
  manager.node_fenced(partner(), fenced_ * kTries + kTries - 1);
}

// Which of the label's disks are among those that were left, as far as is known; also of those that
// the partner gave to the group.
raid::ColumnSet PairGroups::members_among(const ManagedGroup& group,
                                          std::span<shelf::SharedDisk* const> disks) const {
  raid::ColumnSet result = 0;
  for (const DiskView& view : group.disks()) {
    const bool among = view.number && view.slot != nullptr &&
                       std::ranges::find(disks, disk_of_(*view.slot->configured)) != disks.end();
    result |= among ? raid::one(*view.number) : 0;
  }
  return result;
}

// A group that was not begun finds out itself what it lacks.
bool PairGroups::can_leave(const ManagedGroup& group,
                           std::span<shelf::SharedDisk* const> left) const {
  if (group.manager() == nullptr) {
    return true;
  }
  const raid::GroupLabel label = group.manager()->status().label;
  raid::ColumnSet gone = members_among(group, left);
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    const auto state = static_cast<raid::DiskState>(label.members[i].state);
    gone |= state == raid::DiskState::kFailed ? raid::one(i) : 0;
  }
  return static_cast<std::uint32_t>(std::popcount(gone)) <=
         raid::geometry_of(label).check_columns();
}

shelf::SharedDisk& PairGroups::port(const config::Disk& disk) const {
  const auto found = std::ranges::find(ports_, &disk, &Port::disk);
  DUET_CHECK(found != ports_.end());
  return *found->port;
}

ManagedGroup* PairGroups::find(std::string_view name) const {
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (group->configured().name == name) {
      return group.get();
    }
  }
  return nullptr;
}

Task<Status> PairGroups::close() {
  closing_ = true;
  Status first = Ok{};
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (group->managed()) {
      const Status closed = co_await group->close();
      first = first.ok() ? closed : first;
    }
  }
  co_return first;
}

}  // namespace duet::groups
