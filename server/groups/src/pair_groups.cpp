#include "groups/pair_groups.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace duet::groups {

namespace {

constexpr Duration kOpenAgain = std::chrono::seconds(1);
// A disk that is not there when a group begins has failed, and is rebuilt.
constexpr Duration kDisksWithin = std::chrono::seconds(3);
constexpr Duration kLook = std::chrono::milliseconds(20);
// A process of a node may try so often to manage its groups before the numbers of the next one.
constexpr std::uint64_t kTries = 256;
// Those of the logs come first, by filer.
constexpr std::uint8_t kFirstWindow = 2;

// A disk of the pair in a group's hands.
class Borrowed final : public BlockDevice {
 public:
  explicit Borrowed(shelf::SharedDisk& disk) : disk_(disk) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override { disk_.start(operation); }

 private:
  shelf::SharedDisk& disk_;
};

}  // namespace

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
    groups_.push_back(
        std::make_unique<ManagedGroup>(scheduler, config.file, *configured[i], self_, connect));
    const std::string wrong = groups_.back()->open_disks(
        [&](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
          return std::unique_ptr<BlockDevice>(new Borrowed(*disk_of_(disk)));
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
  for (std::uint64_t attempt = 0; attempt < kTries && !closing_; ++attempt) {
    co_await wait_for_disks(opened);
    std::string wrong = co_await opened.start(*intents_[group], incarnation_ * kTries + attempt);
    if (wrong.empty()) {
      if (was_fenced_) {
        tell_fenced(*opened.manager(), fenced_);
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
}

failover::GroupsState PairGroups::state() const {
  bool shared = false;
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (!group->managed()) {
      return failover::GroupsState::kWaiting;
    }
    shared = shared || raid::contains(group->manager()->status().members, partner());
  }
  return shared ? failover::GroupsState::kShared : failover::GroupsState::kAlone;
}

bool PairGroups::ended() const {
  return std::ranges::any_of(groups_, [](const std::unique_ptr<ManagedGroup>& group) {
    const raid::Group* const manager = group->manager();
    const auto why = manager != nullptr ? manager->status().ended : std::nullopt;
    return why && (why->code == Errc::kFenced || group->managed());
  });
}

bool PairGroups::ready(std::uint32_t filer) const {
  return std::ranges::all_of(ports_, [filer](const Port& each) {
    return each.filer != filer || each.port->group().managed();
  });
}

Status PairGroups::partner_fenced(std::uint64_t incarnation,
                                  std::span<shelf::SharedDisk* const> left) {
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    const Status done = leave_disks(*group, left);
    if (!done.ok()) {
      return done;
    }
  }
  fenced_ = std::max(fenced_, incarnation);
  was_fenced_ = true;
  peers_.fenced(interconnect::Incarnation{fenced_});
  for (const std::unique_ptr<ManagedGroup>& group : groups_) {
    if (group->manager() != nullptr) {
      tell_fenced(*group->manager(), incarnation);
    }
  }
  return Ok{};
}

// In its view may be an older manager than the newest.
void PairGroups::tell_fenced(raid::Group& manager, std::uint64_t incarnation) const {
  const std::uint64_t in_view = manager.status().incarnations[raid::number(partner())];
  const std::uint64_t newest = incarnation * kTries + kTries - 1;
  if (in_view < newest) {
    manager.node_fenced(partner(), in_view);
  }
  manager.node_fenced(partner(), newest);
}

// The partner may write to these still, so they do not count any more.  A group that was not begun
// finds out itself what it lacks.
Status PairGroups::leave_disks(const ManagedGroup& group,
                               std::span<shelf::SharedDisk* const> left) const {
  if (group.manager() == nullptr) {
    return Ok{};
  }
  const raid::GroupLabel label = group.manager()->status().label;
  raid::ColumnSet gone = 0;
  raid::ColumnSet fresh = 0;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    const bool failed =
        static_cast<raid::DiskState>(label.members[i].state) == raid::DiskState::kFailed;
    const bool is_left = std::ranges::any_of(group.slots(), [&](const Slot& slot) {
      return slot.id == label.members[i].id &&
             std::ranges::find(left, disk_of_(*slot.configured)) != left.end();
    });
    gone |= failed || is_left ? raid::one(i) : 0;
    fresh |= !failed && is_left ? raid::one(i) : 0;
  }
  const auto count = static_cast<std::uint32_t>(std::popcount(gone));
  if (count > raid::geometry_of(label).check_columns()) {
    return Error{Errc::kIo, "too many disks of a redundancy group cannot be fenced"};
  }
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    if ((fresh & raid::one(i)) != 0) {
      group.manager()->disk_failed(i);
    }
  }
  return Ok{};
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
