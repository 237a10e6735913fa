// Recovery from a log region whose bytes anybody may have changed; in most inputs its checksums
// are made right again.

#include <array>
#include <vector>

#include "input.h"
#include "base/check.h"
#include "nvlog/record_format.h"
#include "nvlog/request_log.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"

namespace {

using namespace duet;         // NOLINT: one small file
using namespace duet::nvlog;  // NOLINT

constexpr std::uint64_t kHalfBytes = 8192;
constexpr LogIdentity kIdentity{.pair = {1, 2}, .filer = 0, .log_id = 7};
constexpr Covered kNothing{.epoch = 1, .last = Sequence{0}, .log_empty = true};

Result<std::unique_ptr<RequestLog>> recover(sim::SimScheduler& scheduler,
                                            sim::SimPersistentMemory& memory,
                                            const Covered& covered) {
  std::uint64_t before = 0;
  const auto replay = [&](const ReplayRecord& record) -> Status {
    DUET_CHECK(!record.body.empty() && record.body.size() <= kBodyBytesMax);
    DUET_CHECK(before == 0 || static_cast<std::uint64_t>(record.sequence) == before + 1);
    DUET_CHECK(record.sequence > covered.last);
    before = static_cast<std::uint64_t>(record.sequence);
    return Ok{};
  };
  return RequestLog::recover(scheduler, memory, kIdentity, covered, replay);
}

// A region of two halves with records, much smaller than format_area() makes.
const sim::SimPersistentMemory& valid() {
  static const sim::SimPersistentMemory kMemory = [] {
    sim::SimScheduler scheduler(1);
    sim::SimPersistentMemory memory(region_bytes(kHalfBytes));
    RegionHeader header;
    header.half_bytes = kHalfBytes;
    header.checksum = crc32c(bytes_of(header));
    memory.store(0, bytes_of(header));
    memory.store(kHeaderCopyBytes, bytes_of(header));
    auto log = recover(scheduler, memory, kNothing);
    DUET_CHECK(log.ok() && log.value()->start(1).ok());
    const std::array<std::byte, 300> body{};
    for (int i = 0; i < 20; ++i) {
      if (i == 10) {
        log.value()->switch_half();
      }
      const ConstBytes part = ConstBytes(body).first(static_cast<std::size_t>(1 + i * 14));
      DUET_CHECK(log.value()->append(std::span(&part, 1)).ok());
    }
    return memory;
  }();
  return kMemory;
}

template <typename Header>
void seal_header(std::vector<std::byte>& bytes, std::size_t at) {
  auto header = load<Header>(bytes, at);
  header.checksum = 0;
  header.checksum = crc32c(bytes_of(header));
  store(bytes, at, header);
}

void seal(std::vector<std::byte>& bytes) {
  for (const std::size_t copy : {std::size_t{0}, std::size_t{kHeaderCopyBytes}}) {
    seal_header<RegionHeader>(bytes, copy);
    seal_header<AreaHeader>(bytes, area_offset(kHalfBytes, 0) + copy);
  }
  const std::uint64_t begin = half_offset(kHalfBytes, 0, 0);
  for (std::uint64_t at = begin; at < begin + 2 * kHalfBytes; at += kLineBytes) {
    auto header = load<RecordHeader>(bytes, at);
    if (header.magic != kRecordMagic) {
      continue;
    }
    const std::size_t room = bytes.size() - at - sizeof(header);
    const ConstBytes checked = bytes_of(header).first(offsetof(RecordHeader, header_checksum));
    header.header_checksum = crc32c(checked, record_seed(kIdentity));
    header.checksum = crc32c(ConstBytes(bytes).subspan(at + sizeof(header),
                                                       std::min<std::size_t>(room, header.body_bytes)),
                             header.header_checksum);
    store(bytes, at, header);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto mode = input.take<std::uint8_t>();
  Covered covered;
  covered.epoch = mode % 4 == 3 ? 2 : 1;
  covered.last = Sequence{input.take<std::uint8_t>() % 25U};
  covered.log_empty = (mode & 4U) != 0;
  const ConstBytes origin = valid().bytes();
  std::vector<std::byte> bytes(origin.begin(), origin.end());
  if ((mode & 8U) != 0) {
    const ConstBytes raw = input.rest();
    std::copy_n(raw.begin(), std::min(raw.size(), bytes.size()), bytes.begin());
  }
  while (!input.empty()) {
    // Mostly where something stands.
    const std::size_t at = input.take<std::uint16_t>() % bytes.size();
    const ConstBytes part = input.take(input.take<std::uint8_t>() % 32 + 1);
    std::copy_n(part.begin(), std::min(part.size(), bytes.size() - at),
                bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  if ((mode & 16U) == 0) {
    seal(bytes);
  }
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(bytes.size());
  memory.store(0, bytes);
  static_cast<void>(probe(memory));
  static_cast<void>(recover(scheduler, memory, covered).ok());
  return 0;
}
