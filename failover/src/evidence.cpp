#include "failover/evidence.h"

#include <array>

namespace duet::failover {

namespace {

using enum Action;

// A partner that is known, or proven, to be dead.
Verdict partner_dead(const Evidence& evidence) {
  if (evidence.mirror == MirrorEvidence::kSolo) {
    return {kGoSolo, Alarm::kSoloPartner};
  }
  return {kTakeOver, Alarm::kNone};
}

Verdict link_up(const Evidence& evidence) {
  const Action sync = evidence.mirror == MirrorEvidence::kSolo ? kResync : kNone;
  switch (evidence.mailbox) {
    case MailboxEvidence::kNone:
      return {sync, Alarm::kMailboxBlind};
    case MailboxEvidence::kOne:
      return {sync, Alarm::kMemberLost};
    case MailboxEvidence::kBoth:
      break;
  }
  if (evidence.beat == BeatEvidence::kStale) {
    return evidence.asked ? partner_dead(evidence) : Verdict{kNone, Alarm::kMailboxStale};
  }
  return {sync, Alarm::kNone};
}

Verdict link_lost(const Evidence& evidence) {
  switch (evidence.mailbox) {
    case MailboxEvidence::kNone:
      return {kGoSolo, Alarm::kMailboxBlind};
    case MailboxEvidence::kOne:
      return {kGoSolo,
              evidence.beat == BeatEvidence::kStale ? Alarm::kCannotProve : Alarm::kMemberLost};
    case MailboxEvidence::kBoth:
      break;
  }
  if (evidence.beat == BeatEvidence::kStale) {
    return partner_dead(evidence);
  }
  return {kGoSolo, Alarm::kLinkLost};
}

// Another process answers: the one before it is dead, and this one opens what was its.
Verdict link_reset(const Evidence& evidence) {
  switch (evidence.mailbox) {
    case MailboxEvidence::kNone:
      return {kAwaitRestart, Alarm::kMailboxBlind};
    case MailboxEvidence::kOne:
      return {evidence.beat == BeatEvidence::kStale ? kAwaitRestart : kResync, Alarm::kMemberLost};
    case MailboxEvidence::kBoth:
      break;
  }
  return {evidence.beat == BeatEvidence::kStale ? kAwaitRestart : kResync, Alarm::kNone};
}

}  // namespace

Verdict decide(const Evidence& evidence) {
  if (evidence.mailbox != MailboxEvidence::kNone && evidence.beat == BeatEvidence::kClaims) {
    return {kReadOwner, Alarm::kNone};
  }
  if (evidence.beat == BeatEvidence::kStale && evidence.words == WordsEvidence::kDead) {
    return partner_dead(evidence);
  }
  if (evidence.words == WordsEvidence::kRestarting) {
    return {kAwaitRestart, Alarm::kNone};
  }
  switch (evidence.link) {
    case LinkEvidence::kUp:
      return link_up(evidence);
    case LinkEvidence::kLost:
      return link_lost(evidence);
    case LinkEvidence::kReset:
      return link_reset(evidence);
  }
  return {};
}

std::string_view name(Action action) {
  constexpr std::array<std::string_view, 6> kNames{
      "nothing", "resync", "go solo", "read the owner record", "await its restart", "take over"};
  return kNames[static_cast<std::size_t>(action)];
}

std::string_view name(Alarm alarm) {
  constexpr std::array<std::string_view, 7> kNames{
      "-",         "member lost",  "mailbox blind",   "mailbox stale",
      "link lost", "cannot prove", "partner was solo"};
  return kNames[static_cast<std::size_t>(alarm)];
}

std::string_view remedy(Alarm alarm) {
  constexpr std::array<std::string_view, 7> kRemedies{
      "",
      "repair the path to the mailbox disk, or replace the disk as a member",
      "repair this node's paths to the partner's disks",
      "repair the partner's paths to its mailbox disks, or move its filers here: duet takeover",
      "repair the partner link; both nodes acknowledge requests alone until then",
      "restore the unreadable mailbox disk, or make sure that the partner is off and force the "
      "takeover",
      "start the partner again: it alone has the last requests; a forced takeover loses them"};
  return kRemedies[static_cast<std::size_t>(alarm)];
}

std::string evidence_table() {
  constexpr std::array<std::string_view, 3> kLinks{"up", "lost", "reset"};
  constexpr std::array<std::string_view, 3> kMailboxes{"both", "one", "none"};
  constexpr std::array<std::string_view, 3> kBeats{"changing", "stale", "claims"};
  constexpr std::array<std::string_view, 2> kMirrors{"synced", "solo"};
  std::string table =
      "| link | mailbox | beat | mirror | decision | alarm |\n|---|---|---|---|---|---|\n";
  for (std::uint8_t link = 0; link < 3; ++link) {
    for (std::uint8_t mailbox = 0; mailbox < 3; ++mailbox) {
      for (std::uint8_t beat = 0; beat < 3; ++beat) {
        for (std::uint8_t mirror = 0; mirror < 2; ++mirror) {
          const Verdict verdict = decide({.link = LinkEvidence{link},
                                          .mailbox = MailboxEvidence{mailbox},
                                          .beat = BeatEvidence{beat},
                                          .mirror = MirrorEvidence{mirror}});
          for (const std::string_view cell : {kLinks[link], kMailboxes[mailbox], kBeats[beat],
                                              kMirrors[mirror], name(verdict.action)}) {
            table.append("| ").append(cell).append(" ");
          }
          table.append("| ").append(name(verdict.alarm)).append(" |\n");
        }
      }
    }
  }
  return table;
}

}  // namespace duet::failover
