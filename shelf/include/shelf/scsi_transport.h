// ScsiTransport: carries SCSI commands to one logical unit, for one nexus (one process).
//
// Implementations: shelf/linux (iSCSI through libiscsi); tests.
// Thread-safety: the scheduler's thread only.

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "platform/scheduler.h"

namespace duet::shelf {

// What the unit said (SAM-5, table 43), and what else may become of a command.
enum class ScsiStatus : std::uint16_t {
  kGood = 0x00,
  kCheckCondition = 0x02,
  kBusy = 0x08,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
  kTaskAborted = 0x40,
  kCancelled = 0x100,  // by a reset that this node asked for: over once that is done
  kLost = 0x101,       // the session is gone; it may have been done, or be done yet
};

// One command; the caller owns it and its bytes until run() is called, once, in a later turn.
struct ScsiCommand : Continuation {
  enum class Data : std::uint8_t { kNone, kIn, kOut };
  std::array<std::uint8_t, 16> cdb{};
  std::uint8_t cdb_bytes = 6;
  Data data = Data::kNone;
  std::span<const MutableBytes> parts{};  // kOut only reads them

  ScsiStatus status = ScsiStatus::kGood;
  std::uint8_t sense_key = 0;    // with kCheckCondition
  std::uint16_t sense_code = 0;  // ASC and ASCQ
  std::size_t received = 0;      // kIn: bytes

 protected:
  ~ScsiCommand() = default;
};

// A LOGICAL UNIT RESET: all tasks of all nodes in the unit have ended when it completes.
struct ScsiReset : Continuation {
  bool done = false;

 protected:
  ~ScsiReset() = default;
};

// Told in a turn of its own that connected() has changed, or that a new session has begun.
class ScsiObserver {
 public:
  virtual void session_changed() = 0;

 protected:
  ~ScsiObserver() = default;
};

class ScsiTransport {
 public:
  virtual ~ScsiTransport() = default;
  virtual void start(ScsiCommand& command) = 0;
  virtual void start_reset(ScsiReset& reset) = 0;
  // True: PREEMPT AND ABORT ends all that the victim has under way, whatever is behind this. False:
  // a reset must: not every unit that takes the command does what it says (Linux's own target
  // aborts only what came while the victim held the reservation; seen with 6.1).
  [[nodiscard]] virtual bool aborts_are_believed() const { return false; }
  // False once the connection is gone.
  [[nodiscard]] virtual bool connected() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;

  // True: a lost session is made again, as the same nexus; until then commands end as kLost at
  // once.
  [[nodiscard]] virtual bool reconnects() const { return false; }
  // Why there is none now: a literal.
  [[nodiscard]] virtual std::string_view last_error() const { return ""; }
  // At most one, which outlives the transport or is replaced by null.
  virtual void observe(ScsiObserver* /*observer*/) {}
};

}  // namespace duet::shelf
