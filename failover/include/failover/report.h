// What the pair tells the operator: events, vetoes, the phases of a takeover, its status.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "failover/evidence.h"
#include "mailbox/mailbox_format.h"
#include "platform/scheduler.h"

namespace duet::failover {

inline constexpr std::uint32_t kFilers = mailbox::kFilers;
using FilerSet = std::array<bool, kFilers>;

enum class Severity : std::uint8_t { kInformation, kWarning, kError, kCritical };

// Texts are literals.
struct Event {
  Severity severity = Severity::kInformation;
  std::string_view what;
  std::string_view remedy;  // the corrective action; empty: none is needed
  std::optional<std::uint32_t> filer;
};

// Why something is not done, and what would change that.
struct Veto {
  bool hard = true;  // false: the operator may override it
  std::string_view reason;
  std::string_view remedy;
};

// How long each phase of the last takeover took.
struct Phases {
  FilerSet filers{};
  Duration detect{};  // from the last sign of life to the swap of ownership
  Duration fence{};   // to: nothing of the partner is under way, nor can be; the waits included
  Duration replay{};  // to: the image is open, its CP durable
  Duration address{};
  Duration serve{};  // to: the first request may be answered
};

enum class FilerState : std::uint8_t {
  kAway,     // not hosted here
  kOpening,  // claimed: between the swap and the first answer
  kServing,
  kHanding,  // settled for the partner
  kEnding,   // lost: waits for its last I/O
};

struct FilerStatus {
  FilerState state = FilerState::kAway;
  std::uint32_t owner = 0;  // node, as the record said last
  std::uint64_t epoch = 0;
  bool answering = false;
  std::string_view waits_for;       // why it is not served, if it should be; or empty
  std::uint64_t handovers = 0;      // tries from here that have ended
  std::string_view handover_error;  // of the last one; empty: it was handed over
  Duration handover_silence{};      // of the last one: how long nobody here answered
};

// The mailbox of one node.
struct MembersStatus {
  bool known = false;              // else nothing is known, and the configuration is not believed
  std::uint64_t generation = 0;    // 0: nothing on disk says; the configuration does
  std::vector<std::size_t> disks;  // indices of the disks that PairNode was given
};

struct PairStatus {
  std::array<FilerStatus, kFilers> filers{};
  Evidence evidence;
  Verdict verdict;
  bool entered = false;        // else this node only starts:
  std::string_view waits_for;  // ... why; or empty
  bool lease_valid = false;
  bool conflict = false;
  bool halted = false;
  Duration lapsed{};  // by how much the lease is over, while filers are hosted here
  std::array<MembersStatus, mailbox::kNodes> members{};
  bool replacing = false;                    // a member of this node
  std::uint64_t replacements = 0;            // tries that have ended
  std::string_view replacement_error;        // of the last
  std::size_t arbitration = 0;               // the disk with the owner record
  std::uint64_t arbitration_generation = 0;  // of that place; 0: where the pair was formatted
  bool moving = false;                       // the record is on its way to another disk
  std::uint64_t moves = 0;                   // tries from here that have ended
  std::string_view move_error;               // of the last
  std::uint64_t refused_takeovers = 0;       // in a row; each makes the next one wait longer
  std::string_view giveback;  // why it does not happen by itself, or what it waits for; or empty
  std::optional<Phases> last_takeover;
};

}  // namespace duet::failover
