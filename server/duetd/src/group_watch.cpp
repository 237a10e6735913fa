#include "group_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "trace.h"

namespace duet::daemon {

namespace {

constexpr std::chrono::milliseconds kLookEvery{250};

std::string state_of(const groups::DiskView& view) {
  if (!view.number) {
    return view.spare ? "spare" : "unused";
  }
  switch (view.state) {
    case raid::DiskState::kInSync:
      return "in_sync";
    case raid::DiskState::kFailed:
      return "failed";
    case raid::DiskState::kRebuilding:
      return "rebuilding";
  }
  return "unknown";
}

admin::RaidDiskInfo disk_info(const groups::ManagedGroup& group, const groups::DiskView& view) {
  const std::string state = state_of(view);
  const bool used = state == "in_sync" || state == "rebuilding" || state == "spare";
  admin::RaidDiskInfo info = {.number = view.number, .state = state};
  if (view.slot == nullptr) {
    info.problem = "the configuration names no such disk";
  } else {
    info.path = view.slot->configured->shown();
    info.bytes = view.slot->device == nullptr ? 0 : view.slot->device->block_count() * kBlockBytes;
    info.problem = used ? group.absence_of(*view.slot) : group.problem_of(*view.slot);
    if (info.problem.empty() && view.kept_out) {
      info.problem = "an operator failed it";
    }
  }
  return info;
}

// Since this node first saw it.
std::optional<admin::RaidGroupInfo::Rebuild> rebuild_of(const raid::GroupStatus& status,
                                                        Instant now) {
  const raid::RebuildStatus& rebuild = status.rebuild;
  if (rebuild.disks == 0) {
    return std::nullopt;
  }
  const double seconds = std::chrono::duration<double>(now - rebuild.began).count();
  admin::RaidGroupInfo::Rebuild info = {.stripes = rebuild.stripes, .done = rebuild.done};
  if (seconds > 0) {
    info.stripes_per_second = static_cast<double>(rebuild.done - rebuild.done_before) / seconds;
  }
  raid::for_each_node(status.label.nodes, [&](raid::NodeId node) {
    info.node_shares.push_back(rebuild.shares[raid::number(node)]);
  });
  if (rebuild.trouble) {
    info.trouble = std::string(rebuild.trouble->context);
  }
  return info;
}

// Since this node first saw it.
std::optional<admin::RaidGroupInfo::Expansion> expansion_of(const raid::GroupStatus& status,
                                                            Instant now) {
  const raid::ExpansionStatus& expansion = status.expansion;
  if (expansion.disks_before == 0) {
    return std::nullopt;
  }
  admin::RaidGroupInfo::Expansion info = {.disks_before = expansion.disks_before,
                                          .disks_after = expansion.disks_after,
                                          .stripes = expansion.stripes,
                                          .done = expansion.done,
                                          .waits = expansion.waits};
  std::uint64_t moved = 0;
  raid::for_each_node(status.label.nodes, [&](raid::NodeId node) {
    info.node_shares.push_back(expansion.shares[raid::number(node)]);
    moved += info.node_shares.back();
  });
  const double seconds = std::chrono::duration<double>(now - expansion.began).count();
  if (seconds > 0) {
    info.stripes_per_second = static_cast<double>(moved) / seconds;
  }
  if (expansion.trouble) {
    info.trouble = std::string(expansion.trouble->context);
  }
  return info;
}

// Of the last one, too.
std::optional<admin::RaidGroupInfo::Scrub> scrub_of(const raid::GroupStatus& status) {
  const raid::ScrubStatus& scrub = status.scrub;
  if (scrub.began == Instant{}) {
    return std::nullopt;
  }
  admin::RaidGroupInfo::Scrub info = {.running = scrub.running,
                                      .trusts_data = scrub.kind == raid::ScrubKind::kTrustData,
                                      .stripes = scrub.stripes,
                                      .done = scrub.done,
                                      .repaired = scrub.counts.repaired,
                                      .unreadable = scrub.counts.unreadable,
                                      .unsure = scrub.counts.unsure,
                                      .trusted = scrub.counts.trusted,
                                      .loose = scrub.counts.loose,
                                      .loose_left = scrub.counts.loose_left};
  raid::for_each_node(status.label.nodes, [&](raid::NodeId node) {
    info.node_shares.push_back(scrub.shares[raid::number(node)]);
  });
  if (scrub.trouble) {
    info.trouble = std::string(scrub.trouble->context);
  }
  return info;
}

admin::RaidGroupInfo info_of(const groups::ManagedGroup& managed, Instant now) {
  const raid::Geometry geometry = managed.group().geometry();
  const raid::GroupStatus status = managed.group().status();
  const raid::GroupCounters counters = managed.group().counters();
  admin::RaidGroupInfo info = {
      .name = managed.configured().name,
      .level = std::string(config::level_name(geometry.level)),
      .can_lose = managed.can_lose(),
      .redundancy = geometry.check_columns(),
      .chunk_bytes = geometry.chunk_blocks * kBlockBytes,
      .stripe_bytes = geometry.stripe_blocks() * kBlockBytes,
      .bytes = geometry.block_count() * kBlockBytes,
      .background_bytes_per_s = managed.configured().background_bytes_per_s,
      .generation = static_cast<std::uint64_t>(status.view),
      .intents = status.intents,
      .reads = counters.reads,
      .degraded_reads = counters.degraded_reads,
      .whole_stripes = counters.whole_stripes,
      .read_modify = counters.read_modify,
      .reconstruct = counters.reconstruct,
      .blocks_read = counters.blocks_read,
      .blocks_written = counters.blocks_written,
      .settles = counters.settles,
      .recovered = counters.recovered,
      .healed = counters.healed,
      .others_read = counters.others_read,
      .rebuilt = counters.rebuilt,
      .passed_by = counters.passed_by};
  info.rebuild = rebuild_of(status, now);
  info.expansion = expansion_of(status, now);
  info.scrub = scrub_of(status);
  for (const std::uint64_t word : status.label.loose) {
    info.loose_regions += static_cast<std::uint64_t>(std::popcount(word));
  }
  for (const groups::DiskView& view : managed.disks()) {
    info.disks.push_back(disk_info(managed, view));
    if (view.number) {
      info.disks.back().blocks_put_right = counters.put_right[*view.number];
    }
  }
  for (const raid::VirtualDiskEntry& entry : raid::virtual_disks_of(status.label)) {
    info.virtual_disks.push_back({entry.name, entry.part.blocks * kBlockBytes});
  }
  return info;
}

admin::RaidGroupInfo unmanaged_info(const groups::ManagedGroup& group) {
  const config::RaidGroup& configured = group.configured();
  admin::RaidGroupInfo info = {.name = configured.name,
                               .level = std::string(config::level_name(configured.level)),
                               .managed = false,
                               .why_not = group.why_not_managed()};
  for (const groups::Slot& slot : group.slots()) {
    info.disks.push_back({.path = slot.configured->shown(),
                          .number = std::nullopt,
                          .state = "unknown",
                          .problem = group.problem_of(slot)});
  }
  return info;
}

std::string name_of(const admin::RaidDiskInfo& disk) {
  return disk.path.empty() ? fmt::format("number {}", *disk.number) : disk.path;
}

// "run/3.img (failed: No such file or directory)".
std::string text_of(const admin::RaidDiskInfo& disk) {
  const std::string name = name_of(disk);
  return disk.problem.empty() ? fmt::format("{} ({})", name, disk.state)
                              : fmt::format("{} ({}: {})", name, disk.state, disk.problem);
}

// Also those that failed here and of which no label can say so any more: too few are left.
std::string lost_disks(const admin::RaidGroupInfo& group) {
  std::string text;
  for (const admin::RaidDiskInfo& disk : group.disks) {
    if (disk.number && (disk.state != "in_sync" || !disk.problem.empty())) {
      text += (text.empty() ? "" : ", ") + text_of(disk);
    }
  }
  return text.empty() ? "no label could be written to say which" : text;
}

}  // namespace

namespace {

std::string wrong_data(const admin::RaidGroupInfo& group, const admin::RaidDiskInfo& disk) {
  return fmt::format(
      "disk {} of redundancy group {} gave wrong data for {} {} that {} repaired since the start",
      name_of(disk), group.name, disk.blocks_put_right,
      disk.blocks_put_right == 1 ? "block" : "blocks", disk.blocks_put_right == 1 ? "was" : "were");
}

std::string wrong_data_remedy(const admin::RaidGroupInfo& group, const admin::RaidDiskInfo& disk) {
  return fmt::format(
      "nothing is lost; look at its cables and its own error counters, let `duet raid scrub {0}` "
      "find the rest, and if it goes on replace it: `duet raid fail {0} {1}`, `duet raid replace "
      "{0} {1} PATH`",
      group.name, *disk.number);
}

}  // namespace

std::vector<admin::RaidGroupInfo> GroupWatch::infos() const {
  std::vector<admin::RaidGroupInfo> infos;
  for (const std::unique_ptr<groups::ManagedGroup>& group : groups_) {
    infos.push_back(group->managed() ? info_of(*group, scheduler_.now()) : unmanaged_info(*group));
  }
  return infos;
}

std::vector<std::string> GroupWatch::warnings() const {
  std::vector<std::string> list;
  for (const admin::RaidGroupInfo& group : infos()) {
    if (!group.managed) {
      list.push_back(fmt::format("redundancy group {} is not managed by this node: {}", group.name,
                                 group.why_not));
    } else if (group.state() == "failed") {
      list.push_back(fmt::format("redundancy group {} has lost more disks than it can: {}; {}",
                                 group.name, lost_disks(group),
                                 groups_.front()->in_pair()
                                     ? "put them back; filers then open by themselves"
                                     : "put them back and restart duetd"));
    } else if (group.state() == "degraded") {
      list.push_back(fmt::format(
          "redundancy group {} is degraded, {}: {}; replace what has failed", group.name,
          *group.can_lose == 0 ? "the next disk that fails costs its data"
                               : fmt::format("{} more may fail", *group.can_lose),
          lost_disks(group)));
    }
    for (const admin::RaidDiskInfo& disk : group.disks) {
      if (disk.blocks_put_right > 0) {
        list.push_back(wrong_data(group, disk) + ", " + wrong_data_remedy(group, disk));
      }
    }
  }
  return list;
}

void GroupWatch::start() {
  if (!groups_.empty()) {
    scope_.spawn(watch());
  }
}

Task<void> GroupWatch::watch() {
  for (;;) {
    look();
    co_await sleep(scheduler_, kLookEvery);
  }
}

// At once, and then when there are many more: a disk that goes bad would fill the trace.
void GroupWatch::look_at_repairs(const admin::RaidGroupInfo& group,
                                 const admin::RaidDiskInfo& disk) {
  std::uint64_t& told = told_repairs_[fmt::format("{}/{}", group.name, *disk.number)];
  told = std::min(told, disk.blocks_put_right);  // another disk has its place
  if (disk.blocks_put_right == 0 || disk.blocks_put_right < 2 * told) {
    return;
  }
  told = disk.blocks_put_right;
  trace(Level::kWarning, "redundancy_group_healed",
        {{"group", group.name},
         {"disk", name_of(disk)},
         {"blocks", std::to_string(disk.blocks_put_right)},
         {"message", wrong_data(group, disk)},
         {"remedy", wrong_data_remedy(group, disk)}});
}

void GroupWatch::look() {
  for (const admin::RaidGroupInfo& group : infos()) {
    for (const admin::RaidDiskInfo& disk : group.disks) {
      if (!disk.number) {
        continue;
      }
      std::string& told = told_[fmt::format("{}/{}", group.name, *disk.number)];
      const bool was_well = told.empty() || told == "in_sync";
      const bool is_well = disk.state == "in_sync";
      if (told != disk.state && !(was_well && is_well)) {
        trace(is_well ? Level::kInfo : Level::kWarning, "redundancy_group_disk",
              {{"group", group.name},
               {"disk", disk.path.empty() ? std::to_string(*disk.number) : disk.path},
               {"state", disk.state},
               {"problem", disk.problem.empty() ? "none" : disk.problem},
               {"group_state", std::string(group.state())}});
      }
      told = disk.state;
      look_at_repairs(group, disk);
    }
  }
}

}  // namespace duet::daemon
