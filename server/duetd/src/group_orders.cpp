#include "group_orders.h"

#include <fmt/format.h>

#include "platform/wait.h"

namespace duet::daemon {

namespace {

Task<std::string> fail_disk(const groups::ManagedGroup& group, std::uint32_t disk) {
  const Status failed = co_await group.group().keep_out(disk);
  const std::string name = group.configured().name;
  if (failed.ok()) {
    co_return std::string();
  }
  if (failed.error().code == Errc::kRefused) {
    co_return fmt::format("group {} can lose no more disks: without this one its data were lost",
                          name);
  }
  co_return fmt::format(
      "group {}: {}; the disk is used as before; try again when `duet failover show` says that the "
      "groups are managed",
      name, text_of(failed.error()));
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
    wrong = co_await fail_disk(*group, *disk);
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
