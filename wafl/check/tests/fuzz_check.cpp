// Fuzzer of the check: input is a list of changes to a small aggregate's blocks, made before
// they are summed, so that what the changes reach is believed.
//   each change: which write (16 bits), offset in the block (16 bits), a 32-bit value

#include <cstdint>
#include <map>
#include <utility>

#include "image_builder.h"
#include "sim/sim_scheduler.h"

namespace duet::wafl::testing {
namespace {

struct Change {
  std::uint16_t write;
  std::uint16_t offset;
  std::uint32_t value;
};

void run(ConstBytes input) {
  std::multimap<std::uint64_t, Change> changes;
  for (std::size_t at = 0; at + sizeof(Change) <= input.size(); at += sizeof(Change)) {
    const auto change = load<Change>(input, at);
    changes.emplace(change.write % 80, change);
  }
  sim::SimScheduler scheduler(1);
  ImageBuilder builder(scheduler, {1024});
  builder.mutate = [&](std::uint64_t nth, Content& content) {
    const auto [first, last] = changes.equal_range(nth);
    for (auto it = first; it != last; ++it) {
      store(MutableBytes(content), it->second.offset % (kBlockBytes - 3), it->second.value);
    }
  };
  TestVolume volume(builder, 1);
  fill_example(volume);
  volume.snapshot();
  volume.put_block(3, 1, "changed");
  volume.drop_block(4, 300);
  volume.remove_as_zombie(3);
  volume.commit();
  volume.deliver();
  builder.finish();
  CheckOptions options;
  options.names_of_snapshots = true;
  static_cast<void>(builder.check(std::move(options)));
}

}  // namespace
}  // namespace duet::wafl::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duet::wafl::testing::run(std::as_bytes(std::span(data, size)));
  return 0;
}
