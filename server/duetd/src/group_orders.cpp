#include "group_orders.h"

#include <fmt/format.h>

#include "platform/wait.h"

namespace duet::daemon {

namespace {

// Until a disk that is failed stands in the labels of the others.
constexpr std::chrono::milliseconds kLabelWait{10};
constexpr int kLabelWaits = 1000;

Task<std::string> fail_disk(Machine& machine, const groups::ManagedGroup& group,
                            std::uint32_t disk) {
  const auto kept_out = [&group, disk] {
    return (group.group().status().label.members[disk].flags & raid::kKeptOut) != 0;
  };
  const raid::LabelDisk before = group.group().status().label.members[disk];
  const bool failed = static_cast<raid::DiskState>(before.state) == raid::DiskState::kFailed;
  if (!failed && group.can_lose().value_or(0) == 0) {
    co_return fmt::format("group {} can lose no more disks: without this one its data were lost",
                          group.configured().name);
  }
  group.group().keep_out(disk);
  for (int i = 0; i < kLabelWaits; ++i) {
    // A spare may have its place by then.
    const bool replaced = group.group().status().label.members[disk].id != before.id;
    if (kept_out() || replaced) {
      co_return std::string();
    }
    co_await sleep(machine.strand, kLabelWait);
  }
  co_return "it is not in the labels of the other disks yet; see `duet raid status`";
}

// What is left to do when a disk was let go of.
std::string note_of(const groups::ManagedGroup::Removal& removal, const admin::RaidOrder& order) {
  std::string note =
      removal.left.empty()
          ? "what made it a disk of the group is erased"
          : fmt::format(
                "what it holds was not erased ({}), so --force is needed where it is used "
                "again",
                removal.left);
  note += removal.closed ? "; it can be pulled, or used elsewhere"
                         : "; both nodes keep their registrations on it until they were restarted "
                           "without it in the configuration file, one after the other";
  note += removal.missed ? fmt::format("; group {} still lacks a disk: `duet disk replace {} NEW`",
                                       order.group, order.disk)
                         : "; now remove it from the configuration file";
  return note;
}

std::string scrub(const groups::ManagedGroup& group, const admin::RaidOrder& order) {
  const bool stop = order.verb == admin::RaidOrder::Verb::kStopScrub;
  const raid::ScrubKind kind =
      order.trust_data ? raid::ScrubKind::kTrustData : raid::ScrubKind::kCompare;
  const Status done = stop ? group.group().stop_scrub() : group.group().start_scrub(kind);
  return done.ok() ? ""
                   : fmt::format("group {}: {}", group.configured().name, text_of(done.error()));
}

}  // namespace

Task<admin::RaidOutcome> carry_out(Machine& machine, groups::ManagedGroup* group,
                                   admin::RaidOrder order, groups::ManagedGroup::Opener open) {
  using Verb = admin::RaidOrder::Verb;
  admin::RaidOutcome outcome;
  if (group == nullptr || !group->managed()) {
    outcome.wrong = group == nullptr
                        ? fmt::format("there is no redundancy group {}", order.group)
                        : fmt::format("group {} is configured and not managed here: {}",
                                      order.group, group->why_not_managed());
    co_return outcome;
  }
  if (order.verb == Verb::kRemoveDisk) {
    const groups::ManagedGroup::Removal removal = co_await group->remove(order.disk);
    outcome.wrong = removal.wrong;
    outcome.note = note_of(removal, order);
    co_return outcome;
  }
  const std::optional<std::uint32_t> disk = group->find_disk(order.disk);
  if (!disk &&
      (order.verb == Verb::kFail || order.verb == Verb::kReplace || order.verb == Verb::kReturn)) {
    outcome.wrong = group->not_found(order.disk);
    co_return outcome;
  }
  std::string wrong;
  if (order.verb == Verb::kScrub || order.verb == Verb::kStopScrub) {
    wrong = scrub(*group, order);
  } else if (order.verb == Verb::kFail) {
    wrong = co_await fail_disk(machine, *group, *disk);
  } else if (order.verb == Verb::kReturn) {
    wrong = co_await group->take_back(*disk, open);
  } else if (order.verb == Verb::kReplace) {
    wrong = co_await group->replace(*disk, order.path, order.force, open, machine.entropy);
  } else if (order.verb == Verb::kAddSpare) {
    wrong = co_await group->add_spare(order.path, order.force, open, machine.entropy);
  } else if (order.verb == Verb::kExpand) {
    wrong = co_await group->expand(order.paths, order.force, open, machine.entropy);
  } else if (order.verb == Verb::kAddVirtual) {
    wrong = co_await group->add_virtual_disk(order.name, order.bytes);
  } else {
    wrong = co_await group->remove_spare(order.path);
  }
  outcome.wrong = std::move(wrong);
  co_return outcome;
}

}  // namespace duet::daemon
