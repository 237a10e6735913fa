// From evidence to a decision: a pure function, and the table of all its cells (rule 6).
//
// What is known of the partner is never one thing.  A dead link says nothing about the partner; a
// silent mailbox that one cannot read whole says nothing either; a living link with a silent
// mailbox is a partner whose disks are gone.  Only a mailbox that is read whole and does not
// change, with no application behind the link, is a dead partner; and even then a solo mark forbids
// to stand in for it.
//
// Thread-safety: pure.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace duet::failover {

enum class LinkEvidence : std::uint8_t {
  kUp,     // the partner's application beat changes
  kLost,   // no session, or its application says nothing
  kReset,  // up, and the partner is another process than before
};
enum class MailboxEvidence : std::uint8_t {
  kBoth,  // the reading quorum: absence of change can be told
  kOne,   // some, but fewer
  kNone,
};
enum class BeatEvidence : std::uint8_t {
  kChanging,
  kStale,   // no change for some beats
  kClaims,  // its record says that it takes over what is mine
};
enum class MirrorEvidence : std::uint8_t {
  kSynced,  // no mark on a filer that the partner hosts
  kSolo,    // a mark: the partner acknowledged requests that this node does not hold
};
enum class WordsEvidence : std::uint8_t {
  kNone,        // of the incarnation that owns filers
  kDead,        // it is dead and does not come back by itself, or its time to do so is over
  kRestarting,  // it is dead and asked for time
};

struct Evidence {
  LinkEvidence link = LinkEvidence::kUp;
  MailboxEvidence mailbox = MailboxEvidence::kBoth;
  BeatEvidence beat = BeatEvidence::kChanging;
  MirrorEvidence mirror = MirrorEvidence::kSynced;
  WordsEvidence words = WordsEvidence::kNone;
  bool asked = false;  // over the link: the partner's disks paused it, and it asks to be replaced
};

enum class Action : std::uint8_t {
  kNone,
  kResync,        // the link carries the log again: leave solo
  kGoSolo,        // do not wait for the partner's memory
  kReadOwner,     // somebody claims my filer: the owner record decides
  kAwaitRestart,  // the partner comes back by itself; its copy is kept
  kTakeOver,
};
enum class Alarm : std::uint8_t {
  kNone,
  kMemberLost,    // one mailbox member of the partner cannot be read: no takeover if it dies
  kMailboxBlind,  // none can be read
  kMailboxStale,  // the partner lives and cannot write its mailbox
  kLinkLost,      // the partner lives and the link does not: both solo
  kCannotProve,   // the partner may be dead; too few members to tell
  kSoloPartner,   // the partner is dead and holds requests that nobody else has
};

struct Verdict {
  Action action = Action::kNone;
  Alarm alarm = Alarm::kNone;
  friend constexpr bool operator==(const Verdict&, const Verdict&) = default;
};

[[nodiscard]] Verdict decide(const Evidence& evidence);

[[nodiscard]] std::string_view name(Action action);
[[nodiscard]] std::string_view name(Alarm alarm);
// What an operator does about it.
[[nodiscard]] std::string_view remedy(Alarm alarm);

// All cells of {link} x {mailbox} x {beat} x {mirror}, without last words and requests, as they
// stand in README.md.
[[nodiscard]] std::string evidence_table();

}  // namespace duet::failover
