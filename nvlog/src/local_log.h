// LocalLog: the RequestLog of one node, with no copy at a partner.
//
// Only append() and start() write.  Which half is filling, frozen or free is known in memory
// alone: after a crash the sequences of the records and the root say it again.  So
// switch_half() and release() have no crash point.

#pragma once

#include <cstdint>
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
  Result<Sequence> append(std::span<const ConstBytes> parts) override;
  [[nodiscard]] WaitList& durable_changed() override { return durable_changed_; }
  Sequence switch_half() override;
  [[nodiscard]] bool can_switch() const override { return started_ && !frozen_; }
  Status release(Sequence covered) override;
  [[nodiscard]] std::uint64_t half_bytes() const override { return half_bytes_; }
  [[nodiscard]] std::uint64_t filling_bytes() const override { return filling_bytes_; }
  [[nodiscard]] std::uint64_t filling_records() const override { return filling_records_; }

 private:
  void store_record(std::span<const ConstBytes> parts, std::uint32_t body_bytes);

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
};

}  // namespace duet::nvlog
