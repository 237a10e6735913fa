// A copy taken while the writer goes on: what is torn is the end, never a hole.

#include "area_copy.h"

#include <gtest/gtest.h>

#include "log_fixture.h"
#include "sim/random.h"
#include "sim/sim_persistent_memory.h"

namespace duet::nvlog::testing {
namespace {

constexpr std::uint64_t kHalf = 2048;
constexpr Covered kNothing{.epoch = 7, .last = Sequence{0}, .log_empty = false};

// Lets the copier run between two stores of an append.
class Interleaved final : public PersistentMemory {
 public:
  explicit Interleaved(PersistentMemory& memory) : memory_(memory) {}
  [[nodiscard]] std::span<const std::byte> bytes() const override { return memory_.bytes(); }
  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    // Line by line, as a processor may be stopped anywhere.
    while (!data.empty()) {
      const std::size_t bytes =
          std::min<std::size_t>(data.size(), kLineBytes - offset % kLineBytes);
      memory_.store(offset, data.first(bytes));
      offset += bytes;
      data = data.subspan(bytes);
      if (between) {
        between();
      }
    }
  }
  Status persist() override { return memory_.persist(); }
  std::function<void()> between;

 private:
  PersistentMemory& memory_;
};

TEST(AreaCopy, ALiveWriterTearsTheEndAndNothingElse) {
  std::uint64_t torn_somewhere = 0;
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(seed);
    sim::Random random(seed);
    sim::SimScheduler scheduler(seed);
    sim::SimPersistentMemory memory(region_bytes(kHalf));
    memory.store(0, small_region(kHalf));
    Interleaved interleaved(memory);
    const auto log = started(scheduler, interleaved);
    std::uint64_t sequence = 0;
    const auto append_one = [&] {
      const std::size_t size = 1 + random.below(300);
      if (!log->fits(size) && log->can_switch()) {
        log->switch_half();  // no root follows: the disks are fenced
      }
      if (log->fits(size)) {
        ++sequence;
        ASSERT_TRUE(append(*log, body_of(sequence, size)).ok());
      }
    };
    // A CP now and then, before the copy begins; the root then covers what was frozen.
    Covered root = kNothing;
    const std::uint64_t before = random.below(20);
    for (std::uint64_t i = 0; i < before; ++i) {
      append_one();
      if (random.one_in(4) && log->can_switch()) {
        root.last = log->switch_half();
        ASSERT_TRUE(log->release(root.last).ok());
      }
    }
    const std::uint64_t durable_before = sequence;

    AreaCopy copier(memory, kHalf, kIdentity.filer);
    bool more = true;
    const std::uint64_t pace = 1 + random.below(12);
    interleaved.between = [&] {
      if (more && random.one_in(2)) {
        more = copier.copy_some(kLineBytes * (1 + random.below(pace)));
      }
    };
    for (int i = 0; i < 12; ++i) {
      append_one();
    }
    interleaved.between = nullptr;
    while (more) {
      more = copier.copy_some(kLineBytes);
    }
    const std::unique_ptr<PersistentMemory> copy = copier.take();
    const Recovered found = recover(scheduler, *copy, root);
    ASSERT_TRUE(found.status.ok()) << found.status.error().context;
    const auto last = static_cast<std::uint64_t>(found.log->last());
    ASSERT_GE(last, durable_before);
    ASSERT_LE(last, sequence);
    torn_somewhere += last < sequence ? 1 : 0;
    for (const auto& [number, body] : found.records) {
      ASSERT_EQ(body, body_of(number, body.size()));
    }
  }
  EXPECT_GT(torn_somewhere, 500U);
}

// Who takes over a filer with a large memory must not stand still while it is copied.
TEST(AreaCopy, CostsAsMuchAsThereAreRecords) {
  constexpr std::uint64_t kLargeHalf = 1U << 20U;
  constexpr std::size_t kBody = 200;
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(region_bytes(kLargeHalf));
  memory.store(0, small_region(kLargeHalf));
  const auto log = started(scheduler, memory);
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
    ASSERT_TRUE(append(*log, body_of(sequence, kBody)).ok());
  }
  AreaCopy copier(memory, kLargeHalf, kIdentity.filer);
  std::uint64_t lines = 1;
  while (copier.copy_some(kLineBytes)) {
    ++lines;
  }
  EXPECT_LE(lines * kLineBytes, 3 * record_bytes(kBody));
  const std::unique_ptr<PersistentMemory> copy = copier.take();
  EXPECT_EQ(recover(scheduler, *copy, kNothing).records.size(), 3U);
}

}  // namespace
}  // namespace duet::nvlog::testing
