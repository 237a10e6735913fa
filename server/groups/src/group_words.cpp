// What an operator is told of a group, its disks and orders that it refuses.

#include <fmt/format.h>

#include <algorithm>

#include "disk_verbs.h"
#include "found_group.h"
#include "groups/managed_group.h"

namespace duet::groups {

// `disks`: that it was last managed with; 0: not known.
std::string ManagedGroup::remedy_of(Errc code, std::uint32_t disks) const {
  if (code != Errc::kIo) {
    return code == Errc::kRefused ? "put the disks that are missing back, or correct their paths"
                                  : "correct the paths of its disks";
  }
  std::string text = "put the disks that are missing back, or correct their paths";
  if (disks != 0) {
    text += fmt::format(
        "; it was last managed with {} disks, and all of them must be in this node's "
        "configuration{}",
        disks, connect_ ? " and be reached (`duet failover show`)" : "");
  }
  return text + fmt::format(
                    "; only if{} they are lost for good, so is the group: `duet init --force` "
                    "makes it anew, without what it held",
                    connect_ ? " no node manages it, and" : "");
}

std::string ManagedGroup::refused_start(const Error& error,
                                        const std::vector<Result<raid::GroupLabel>>& labels) const {
  const raid::GroupLabel* const label = newest(labels);
  return fmt::format("{}: {}; {}", place(), text_of(error),
                     remedy_of(error.code, label == nullptr ? 0 : label->disks));
}

std::string ManagedGroup::why_not_managed() const {
  const std::string front = place() + ": ";
  if (!trouble_.empty()) {
    return trouble_.starts_with(front) ? trouble_.substr(front.size()) : trouble_;
  }
  return group_ == nullptr ? "its disks have not been read yet; wait, or see `duet failover show`"
                           : "it waits for the partner to manage it, too, or to be shut out; see "
                             "`duet failover show`";
}

std::string ManagedGroup::absence_of(const Slot& slot) const {
  return absence_ ? absence_(*slot.configured) : "";
}

// Where it is away now counts more than what was wrong at the start.
std::string ManagedGroup::problem_of(const Slot& slot) const {
  std::string away = slot.removed ? "" : absence_of(slot);
  return away.empty() ? slot.problem : away;
}

namespace {

// By what it says: an error has one code for many reasons.
std::string_view remedy_against(const Error& error) {
  const auto says = [&error](std::string_view part) {
    return error.context.find(part) != std::string_view::npos;
  };
  if (says("holds something")) {
    return "; --force gives up what it holds";
  }
  if (says("failed or is rebuilt")) {
    return "; wait until `duet raid status` shows neither, or replace the one that has failed";
  }
  if (says("too small")) {
    return "; give a larger disk";
  }
  if (says("new disk failed") || says("needed at once")) {
    return "; it was given up at once, as a node does not know or reach it: `duet failover show "
           "--node` says of each node what it reaches";
  }
  return says("as many spares") ? "; `duet raid spare GROUP DISK --remove` makes room" : "";
}

}  // namespace

std::string refusal_of(const Error& error, const std::string& path) {
  return fmt::format("disk {}: {}{}", path, text_of(error), remedy_against(error));
}

namespace {

// Blocks, in whole stripes, that no virtual disk has.
std::uint64_t largest_free(const raid::GroupLabel& label) {
  const raid::Geometry geometry = raid::capacity_of(label);
  const std::uint64_t width = geometry.stripe_blocks();
  std::vector<raid::VirtualDiskEntry> entries = raid::virtual_disks_of(label);
  std::ranges::sort(entries, {},
                    [](const raid::VirtualDiskEntry& e) { return e.part.first_block; });
  std::uint64_t largest = 0;
  std::uint64_t at = 0;
  for (const raid::VirtualDiskEntry& entry : entries) {
    largest = std::max(largest, entry.part.first_block - std::min(at, entry.part.first_block));
    const std::uint64_t end = entry.part.first_block + entry.part.blocks;
    at = std::max(at, (end + width - 1) / width * width);
  }
  return std::max(largest, geometry.block_count() - std::min(at, geometry.block_count()));
}

}  // namespace

std::string room_text(const raid::GroupLabel& label) {
  return fmt::format("; the largest free piece has {}, and `duet raid add` makes more",
                     config::size_text(largest_free(label) * kBlockBytes));
}

}  // namespace duet::groups
