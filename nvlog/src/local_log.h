// LocalLog: the RequestLog of one node, with no copy at a partner.
//
// Only append() and start() write.  Which half is filling, frozen or free is known in memory
// alone: after a crash the sequences of the records and the root say it again.  So
// switch_half() and release() have no crash point.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "nvlog/record_format.h"
#include "nvlog/request_log.h"

namespace duet::nvlog {

class LocalLog final : public RequestLog {
 public:
  // `half_bytes` 0: the memory holds no region yet; start() makes it.
  LocalLog(Scheduler& scheduler, PersistentMemory& memory, const LogIdentity& identity,
           std::uint64_t half_bytes, std::uint64_t last);

  [[nodiscard]] Sequence last() const override { return Sequence{last_}; }
  [[nodiscard]] Sequence durable() const override { return Sequence{last_}; }
  Status start(std::uint64_t epoch) override;
  [[nodiscard]] bool fits(std::size_t body_bytes) const override;
  [[nodiscard]] WaitList& durable_changed() override { return durable_changed_; }
  Sequence switch_half() override;
  [[nodiscard]] bool can_switch() const override { return started_ && !frozen_; }
  Status release(Sequence covered) override;
  [[nodiscard]] std::uint64_t half_bytes() const override { return half_bytes_; }
  [[nodiscard]] std::uint64_t filling_bytes() const override { return filling_bytes_; }
  [[nodiscard]] std::uint64_t filling_records() const override { return filling_records_; }

  // append() in two steps, for the log that mirrors this one and stores elsewhere in between: the
  // record is not durable, and not last(), before commit().
  // REQUIRES: fits(); 0 < body <= kBodyBytesMax.  Error: kIo, as append().
  Status store_next(std::span<const ConstBytes> parts, const KnownTail& tail);
  Result<Sequence> commit();

  // The newest record that was stored, and what all of them carry.
  struct Placed {
    std::uint64_t offset = 0;  // of the record's header, in the region
    std::uint32_t half = 0;
    RecordHeader header;
  };
  [[nodiscard]] const Placed& newest() const { return newest_; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint32_t filling_half() const { return pass_ % 2; }
  [[nodiscard]] const LogIdentity& identity() const { return identity_; }
  [[nodiscard]] const PersistentMemory& memory() const { return memory_; }
  // The copy has a new generation: says so in the header, and changes nothing else of it.
  Status note_mirror(std::uint64_t mirror_generation);

 private:
  Result<Sequence> append_parts(std::span<const ConstBytes> parts, const KnownTail& tail) override;
  void store_record(std::span<const ConstBytes> parts, std::uint32_t body_bytes,
                    const KnownTail& tail);

  PersistentMemory& memory_;
  const LogIdentity identity_;
  const std::uint32_t seed_;
  WaitList durable_changed_;
  std::uint64_t half_bytes_;
  std::uint64_t last_;
  std::uint64_t epoch_ = 0;
  std::uint64_t generation_ = 0;
  std::uint32_t pass_ = 0;  // the filling half is pass_ % 2
  std::uint64_t filling_bytes_ = 0;
  std::uint64_t filling_records_ = 0;
  std::uint64_t frozen_last_ = 0;  // the newest sequence in the frozen half
  bool frozen_ = false;            // the other half waits for release()
  bool started_ = false;
  bool failed_ = false;
  Placed newest_;
};

// What a region holds of `identity`; the first part of every recovery.
struct FoundArea {
  std::uint64_t half_bytes = 0;
  std::optional<AreaHeader> area;  // of this identity
};
// Error: kInvalid, kNotSupported.
Result<FoundArea> find_area(const PersistentMemory& memory, const LogIdentity& identity);

// Gives the records behind `covered` to `replay`; returns the last sequence.
// Error: kCorrupt; what `replay` returned.
Result<std::uint64_t> replay_area(const PersistentMemory& memory, const FoundArea& found,
                                  const Covered& covered,
                                  const std::function<Status(const ReplayRecord&)>& replay);

}  // namespace duet::nvlog
