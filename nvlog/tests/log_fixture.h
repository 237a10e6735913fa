// What the tests of the log share: small regions, bodies, a memory that shows every crash.

#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "nvlog/record_format.h"
#include "nvlog/request_log.h"
#include "sim/sim_scheduler.h"

namespace duet::nvlog::testing {

inline constexpr LogIdentity kIdentity{.pair = {0x1111, 0x2222}, .filer = 1, .log_id = 0x3333};
inline constexpr std::uint64_t kSmallHalf = 512;

// Stores and persists; calls `on_step` after each so that a test can stop there.
class CrashMemory final : public PersistentMemory {
 public:
  explicit CrashMemory(std::vector<std::byte> bytes)
      : current_(bytes), durable_(std::move(bytes)) {}

  [[nodiscard]] std::span<const std::byte> bytes() const override { return current_; }
  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    DUET_CHECK(offset + data.size() <= current_.size());
    std::copy(data.begin(), data.end(), current_.begin() + static_cast<std::ptrdiff_t>(offset));
    for (std::uint64_t at = offset / kLineBytes; at * kLineBytes < offset + data.size(); ++at) {
      dirty_.insert(at);
    }
    step();
  }
  Status persist() override {
    if (std::exchange(fail_next_persist_, false)) {
      return Error{Errc::kIo, "persist: the test says so"};
    }
    ++persists_;
    durable_ = current_;
    dirty_.clear();
    step();
    return Ok{};
  }

  // Every image that power loss could leave now: each unpersisted line old or new.
  void for_each_image(const std::function<void(const std::vector<std::byte>&)>& look) const {
    const std::vector<std::uint64_t> lines(dirty_.begin(), dirty_.end());
    DUET_CHECK(lines.size() <= 12);
    for (std::uint64_t subset = 0; subset < (std::uint64_t{1} << lines.size()); ++subset) {
      std::vector<std::byte> image = durable_;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        if ((subset >> i & 1U) != 0) {
          const auto from = static_cast<std::ptrdiff_t>(lines[i] * kLineBytes);
          std::copy_n(current_.begin() + from, kLineBytes, image.begin() + from);
        }
      }
      look(image);
    }
  }

  void fail_next_persist() { fail_next_persist_ = true; }
  [[nodiscard]] std::uint64_t persists() const { return persists_; }
  std::function<void()> on_step;

 private:
  void step() {
    if (on_step) {
      on_step();
    }
  }

  std::vector<std::byte> current_;
  std::vector<std::byte> durable_;
  std::set<std::uint64_t> dirty_;
  std::uint64_t persists_ = 0;
  bool fail_next_persist_ = false;
};

// A region header for halves smaller than format_area() would make.
inline std::vector<std::byte> small_region(std::uint64_t half_bytes = kSmallHalf) {
  std::vector<std::byte> bytes(region_bytes(half_bytes));
  RegionHeader header;
  header.half_bytes = half_bytes;
  header.checksum = crc32c(bytes_of(header));
  store(MutableBytes(bytes), 0, header);
  store(MutableBytes(bytes), kHeaderCopyBytes, header);
  return bytes;
}

using Body = std::vector<std::byte>;

// Bytes that differ from record to record.
inline Body body_of(std::uint64_t sequence, std::size_t size) {
  Body body(size);
  for (std::size_t i = 0; i < size; ++i) {
    body[i] = static_cast<std::byte>(sequence * 37 + i * 11 + 5);
  }
  return body;
}

inline Result<Sequence> append(RequestLog& log, const Body& body) {
  const ConstBytes part(body);
  return log.append(std::span(&part, 1));
}

// What recover() gave.
struct Recovered {
  std::unique_ptr<RequestLog> log;
  std::vector<std::pair<std::uint64_t, Body>> records;
  Status status = Ok{};
};

inline Recovered recover(Scheduler& scheduler, PersistentMemory& memory, const Covered& covered,
                         const LogIdentity& identity = kIdentity) {
  Recovered result;
  auto log = RequestLog::recover(
      scheduler, memory, identity, covered, [&](const ReplayRecord& record) -> Status {
        result.records.emplace_back(static_cast<std::uint64_t>(record.sequence),
                                    Body(record.body.begin(), record.body.end()));
        return Ok{};
      });
  if (log.ok()) {
    result.log = std::move(log.value());
  } else {
    result.status = log.error();
  }
  return result;
}

// A started log of epoch 7 after sequence 0.
inline std::unique_ptr<RequestLog> started(Scheduler& scheduler, PersistentMemory& memory,
                                           std::uint64_t epoch = 7, std::uint64_t last = 0) {
  Recovered opened =
      recover(scheduler, memory, {.epoch = epoch, .last = Sequence{last}, .log_empty = true});
  DUET_CHECK(opened.status.ok());
  DUET_CHECK(opened.log->start(epoch).ok());
  return std::move(opened.log);
}

}  // namespace duet::nvlog::testing
