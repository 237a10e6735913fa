// RequestLog: the requests of one filer that are acknowledged and not yet in a consistency point.
//
// Invariants:
//   (1) When `durable()` has reached a record's sequence, replay finds the record.
//   (2) Sequences have no gaps and never restart in a filer's life; replay takes
//       covered + 1 first and ends at the first missing one.
//   (3) I4: a half is used again only after release() said that a durable root covers it.
//
//   half:   free --first record--> filling --switch_half()--> frozen --release()--> free
//
// Ownership: borrows the PersistentMemory, which must outlive the log.
// Thread-safety: the filer's strand.
// See nvlog/FORMAT.md for the bytes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/entropy.h"
#include "platform/persistent_memory.h"
#include "platform/scheduler.h"
#include "platform/wait.h"

namespace duet::nvlog {

enum class Sequence : std::uint64_t {};

// Whose log it is.  All of it stands in the area's header and must match.
struct LogIdentity {
  std::array<std::uint64_t, 2> pair{};
  std::uint32_t filer = 0;   // which of the pair's filers; also the area in the region
  std::uint64_t log_id = 0;  // drawn when the filer was formatted
  friend bool operator==(const LogIdentity&, const LogIdentity&) = default;
};

// What the aggregate's root says.
struct Covered {
  std::uint64_t epoch = 0;
  Sequence last{};                      // in the root's image
  bool log_empty = false;               // the root says that nothing was logged after `last`
  std::uint64_t mirror_generation = 0;  // of the partner's copy that the root believes
};

inline constexpr std::uint32_t kAreas = 2;  // filers of a pair
inline constexpr std::uint32_t kBodyBytesMax = (1U << 20U) + (64U << 10U);

// Bytes a region needs for halves of `half_bytes`; and the least that a half may have:
// room for eight of the largest records.
[[nodiscard]] std::uint64_t region_bytes(std::uint64_t half_bytes);
[[nodiscard]] std::uint64_t half_bytes_min();

// What `memory` holds, for `duet init` and for messages.
struct RegionProbe {
  bool blank = false;                       // the header is all zero
  bool ours = false;                        // a valid region header
  std::array<LogIdentity, kAreas> areas{};  // all zero: the area was never formatted
  std::array<std::uint64_t, kAreas> epochs{};
  std::array<std::uint64_t, kAreas> records{};  // valid ones found in both halves
};
[[nodiscard]] RegionProbe probe(const PersistentMemory& memory);
// The same without `records`, for which all of the memory must be read.
[[nodiscard]] RegionProbe probe_headers(const PersistentMemory& memory);

// Writes a region header and formats the area of `identity`; other areas are formatted by later
// calls. Error: kIo; kInvalid when the memory is too small.
Status format_area(PersistentMemory& memory, const LogIdentity& identity, std::uint64_t epoch);

struct ReplayRecord {
  Sequence sequence{};
  std::uint64_t epoch = 0;
  ConstBytes body;  // in the memory: valid until start()
};

// The CRC-32C of the last `bytes` of a record's body.
struct KnownTail {
  std::size_t bytes = 0;
  std::uint32_t checksum = 0;
};

class RequestLog {
 public:
  // Reads the area of `identity` and gives the records after `covered.last` to `replay`,
  // in order.  Writes nothing.  Afterwards a CP must cover them; then start().
  // Error: kForeign - blank or another's memory while the root says the log is not empty, or
  //   a log of another epoch than the root's; never replayed.  kCorrupt - a valid
  //   record stands behind a damaged one.  What `replay` returned, at once.
  static Result<std::unique_ptr<RequestLog>> recover(
      Scheduler& scheduler, PersistentMemory& memory, const LogIdentity& identity,
      const Covered& covered, const std::function<Status(const ReplayRecord&)>& replay);

  virtual ~RequestLog() = default;
  RequestLog(const RequestLog&) = delete;
  RequestLog& operator=(const RequestLog&) = delete;

  [[nodiscard]] virtual Sequence last() const = 0;     // newest appended or replayed
  [[nodiscard]] virtual Sequence durable() const = 0;  // all up to here survive

  // Opens the log for records of `epoch`, both halves empty.
  // REQUIRES: a durable root covers last() and carries `epoch`.  Error: kIo.
  virtual Status start(std::uint64_t epoch) = 0;

  // Whether append() of `body_bytes` has room now.
  [[nodiscard]] virtual bool fits(std::size_t body_bytes) const = 0;
  // Stores one record; its body is the concatenation of `parts`.  Durable when durable() says so.
  // `tail`: what is known of the body's end, which need not be read again for its checksum.
  // REQUIRES: fits(); 0 < body <= kBodyBytesMax; started; `tail` begins with a part.
  // Error: kIo when the memory failed: the log must not be used again.
  Result<Sequence> append(std::span<const ConstBytes> parts, const KnownTail& tail = {}) {
    return append_parts(parts, tail);
  }
  // Wakes those who wait for durable(); check it in a loop.
  [[nodiscard]] virtual WaitList& durable_changed() = 0;

  // Freeze: later records go to the other half.  Returns the last sequence before.
  // REQUIRES: can_switch().
  virtual Sequence switch_half() = 0;
  [[nodiscard]] virtual bool can_switch() const = 0;  // the other half is free
  // A durable root covers everything up to `covered`: frees the frozen half.  Error: kIo.
  virtual Status release(Sequence covered) = 0;

  // What the root of a CP that freezes now says of the partner's copy.
  [[nodiscard]] virtual std::uint64_t mirror_generation() const { return 0; }

  [[nodiscard]] virtual std::uint64_t half_bytes() const = 0;
  [[nodiscard]] virtual std::uint64_t filling_bytes() const = 0;  // used of the filling half
  [[nodiscard]] virtual std::uint64_t filling_records() const = 0;

 protected:
  RequestLog() = default;

 private:
  virtual Result<Sequence> append_parts(std::span<const ConstBytes> parts,
                                        const KnownTail& tail) = 0;
};

}  // namespace duet::nvlog
