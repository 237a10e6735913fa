// Fuzzer of the log reader: a small log is changed where the input says and then recovered.
//   each change: offset in the region (32 bits), a 32-bit value

#include <cstdint>

#include "log_fixture.h"

namespace duet::nvlog::testing {
namespace {

struct Change {
  std::uint32_t offset;
  std::uint32_t value;
};

void run(ConstBytes input) {
  sim::SimScheduler scheduler(1);
  CrashMemory memory(small_region());
  const auto log = started(scheduler, memory);
  for (std::uint64_t i = 1; i <= 5; ++i) {
    DUET_CHECK(append(*log, body_of(i, 40 + i * 10)).ok());
    if (i == 3) {
      log->switch_half();
    }
  }
  for (std::size_t at = 0; at + sizeof(Change) <= input.size(); at += sizeof(Change)) {
    const auto change = load<Change>(input, at);
    const std::uint64_t places = memory.bytes().size() - sizeof(change.value);
    memory.store(change.offset % places, bytes_of(change.value));
  }
  const Recovered found = recover(scheduler, memory, {.epoch = 7, .last = {}, .log_empty = false});
  for (std::size_t i = 0; i < found.records.size(); ++i) {
    DUET_CHECK(found.records[i] == std::pair(i + 1, body_of(i + 1, 50 + i * 10)));
  }
  static_cast<void>(probe(memory));
}

}  // namespace
}  // namespace duet::nvlog::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duet::nvlog::testing::run(std::as_bytes(std::span(data, size)));
  return 0;
}
