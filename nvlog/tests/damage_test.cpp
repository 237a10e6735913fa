// Damaged, stale and hostile bytes: never replayed, and never mistaken for an end.

#include <gtest/gtest.h>

#include "log_fixture.h"
#include "sim/random.h"

namespace duet::nvlog::testing {
namespace {

constexpr Covered kNothing{.epoch = 7, .last = Sequence{0}, .log_empty = false};

// Two halves in use: records 1 and 2 in the frozen one, 3 and 4 in the filling one.
class LogDamage : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto log = started(scheduler_, memory_);
    for (std::uint64_t i = 1; i <= 4; ++i) {
      offsets_.push_back(half_offset(kSmallHalf, kIdentity.filer, i <= 2 ? 0 : 1) +
                         log->filling_bytes());
      ASSERT_TRUE(append(*log, body_of(i, 60 + i)).ok());
      if (i == 2) {
        log->switch_half();
      }
    }
  }
  [[nodiscard]] CrashMemory copy() const {
    return CrashMemory(Body(memory_.bytes().begin(), memory_.bytes().end()));
  }
  static void flip(CrashMemory& memory, std::uint64_t offset, unsigned bit = 0) {
    const auto old = static_cast<unsigned>(memory.bytes()[offset]);
    memory.store(offset, Body(1, static_cast<std::byte>(old ^ (1U << bit))));
  }

  sim::SimScheduler scheduler_{1};
  CrashMemory memory_{small_region()};
  std::vector<std::uint64_t> offsets_;  // of the records
};

TEST_F(LogDamage, ADamagedRecordBeforeAWholeOneIsReported) {
  for (std::size_t i = 0; i < 3; ++i) {
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{9}, std::uint64_t{47},
                                   std::uint64_t{48}, std::uint64_t{100}}) {
      CrashMemory damaged = copy();
      flip(damaged, offsets_[i] + at);
      const Recovered refused = recover(scheduler_, damaged, kNothing);
      ASSERT_FALSE(refused.status.ok());
      EXPECT_EQ(refused.status.error().code, Errc::kCorrupt);
      EXPECT_TRUE(refused.records.empty());
    }
  }
}

TEST_F(LogDamage, ATornLastRecordIsTheEnd) {
  CrashMemory torn = copy();
  flip(torn, offsets_[3] + 100);
  const Recovered found = recover(scheduler_, torn, kNothing);
  ASSERT_TRUE(found.status.ok());
  EXPECT_EQ(found.records.size(), 3U);
  EXPECT_EQ(found.log->last(), Sequence{3});
}

TEST_F(LogDamage, ATornRecordBehindADamagedOneStillShowsTheDamage) {
  CrashMemory damaged = copy();
  flip(damaged, offsets_[2] + 60);
  flip(damaged, offsets_[3] + 100);
  const Recovered refused = recover(scheduler_, damaged, kNothing);
  ASSERT_FALSE(refused.status.ok());
  EXPECT_EQ(refused.status.error().code, Errc::kCorrupt);
}

TEST_F(LogDamage, DamageThatTheRootCoversDoesNotMatter) {
  CrashMemory damaged = copy();
  flip(damaged, offsets_[0] + 50);
  const Recovered found =
      recover(scheduler_, damaged, {.epoch = 7, .last = Sequence{1}, .log_empty = false});
  ASSERT_TRUE(found.status.ok());
  EXPECT_EQ(found.records.size(), 3U);
}

TEST_F(LogDamage, NoFlippedBitAnywhereReplaysAWrongByteOrHidesARecord) {
  for (std::uint64_t at = 0; at < memory_.bytes().size(); ++at) {
    CrashMemory damaged = copy();
    flip(damaged, at, static_cast<unsigned>(at % 8));
    const Recovered found = recover(scheduler_, damaged, kNothing);
    if (!found.status.ok()) {
      EXPECT_TRUE(found.records.empty());
      continue;
    }
    const bool in_the_last = at >= offsets_[3];
    ASSERT_GE(found.records.size(), in_the_last ? 3U : 4U) << at;
    for (std::size_t i = 0; i < found.records.size(); ++i) {
      ASSERT_EQ(found.records[i], std::pair(i + 1, body_of(i + 1, 60 + i + 1))) << at;
    }
  }
}

TEST_F(LogDamage, AWholeRecordInTheWrongPlaceIsReported) {
  CrashMemory damaged = copy();
  const Body last(memory_.bytes().begin() + static_cast<std::ptrdiff_t>(offsets_[3]),
                  memory_.bytes().begin() + static_cast<std::ptrdiff_t>(offsets_[3] + 128));
  damaged.store(offsets_[3], Body(128));
  damaged.store(offsets_[3] + 128, last);  // a line of nothing before it
  EXPECT_FALSE(recover(scheduler_, damaged, kNothing).status.ok());
}

// A client may write whatever it likes into a file, and so into a record's body.
TEST_F(LogDamage, ABodyThatLooksLikeRecordsIsOnlyABody) {
  CrashMemory memory(small_region(4096));
  const auto log = started(scheduler_, memory);
  Body body(1000);
  for (std::uint64_t line = 0; line < 15; ++line) {  // aligned as the lines of the half are
    RecordHeader fake;
    fake.body_bytes = 10;
    fake.sequence = 3 + line;
    fake.epoch = 7;
    fake.generation = 1;
    fake.header_checksum =
        crc32c(bytes_of(fake).first(offsetof(RecordHeader, header_checksum)), record_seed({}));
    fake.checksum = crc32c(Body(10), fake.header_checksum);
    store(MutableBytes(body), 16 + line * kLineBytes, fake);
  }
  ASSERT_TRUE(append(*log, body).ok());
  ASSERT_TRUE(append(*log, body).ok());
  EXPECT_EQ(recover(scheduler_, memory, kNothing).records.size(), 2U);

  // Torn as well: the lines behind the tear are still only a body.
  const std::uint64_t second = half_offset(4096, kIdentity.filer, 0) + record_bytes(1000);
  memory.store(second + 60, Body(1, std::byte{0x77}));
  const Recovered found = recover(scheduler_, memory, kNothing);
  ASSERT_TRUE(found.status.ok());
  EXPECT_EQ(found.records.size(), 1U);
}

TEST_F(LogDamage, RecordsOfAnEarlierStartAreNotReplayedEvenInTheSameEpoch) {
  CrashMemory memory = copy();
  Recovered opened = recover(scheduler_, memory, kNothing);
  ASSERT_TRUE(opened.status.ok());
  ASSERT_TRUE(opened.log->start(7).ok());
  const Recovered after =
      recover(scheduler_, memory, {.epoch = 7, .last = Sequence{4}, .log_empty = false});
  ASSERT_TRUE(after.status.ok());
  EXPECT_TRUE(after.records.empty());
  EXPECT_EQ(probe(memory).records[kIdentity.filer], 0U);
}

TEST_F(LogDamage, GarbageNeverReplaysAndNeverCrashes) {
  sim::Random random(11);
  for (int round = 0; round < 3000; ++round) {
    CrashMemory memory = copy();
    for (std::uint64_t n = 1 + random.below(6); n > 0; --n) {
      const std::uint64_t size = 1 + random.below(200);
      Body noise(size);
      for (std::byte& b : noise) {
        b = static_cast<std::byte>(random.next());
      }
      memory.store(random.below(memory.bytes().size() - size), noise);
    }
    const Recovered found = recover(scheduler_, memory, kNothing);
    for (std::size_t i = 0; i < found.records.size(); ++i) {
      ASSERT_EQ(found.records[i], std::pair(i + 1, body_of(i + 1, 60 + i + 1)));
    }
    static_cast<void>(probe(memory));
  }
}

TEST_F(LogDamage, ARegionHeaderThatReachesBeyondTheMemoryIsRefused) {
  for (const std::uint64_t half :
       {std::uint64_t{0}, std::uint64_t{63}, kSmallHalf + kLineBytes, ~std::uint64_t{0} - 63,
        std::uint64_t{1} << 62U, (std::uint64_t{1} << 62U) + kSmallHalf}) {
    CrashMemory memory = copy();
    RegionHeader header;
    header.half_bytes = half;
    header.checksum = crc32c(bytes_of(header));
    memory.store(0, bytes_of(header));
    memory.store(kHeaderCopyBytes, bytes_of(header));
    EXPECT_FALSE(recover(scheduler_, memory, kNothing).status.ok());
    EXPECT_FALSE(probe(memory).ours);
  }
}

TEST_F(LogDamage, ARegionOfANewerBuildIsRefusedEvenWhenTheRootSaysEmpty) {
  CrashMemory memory = copy();
  RegionHeader header;
  header.half_bytes = kSmallHalf;
  header.incompatible = 1;
  header.checksum = crc32c(bytes_of(header));
  memory.store(0, bytes_of(header));
  memory.store(kHeaderCopyBytes, bytes_of(header));
  const Recovered refused =
      recover(scheduler_, memory, {.epoch = 7, .last = Sequence{4}, .log_empty = true});
  ASSERT_FALSE(refused.status.ok());
  EXPECT_EQ(refused.status.error().code, Errc::kNotSupported);
  EXPECT_FALSE(format_area(memory, kIdentity, 7).ok());
}

}  // namespace
}  // namespace duet::nvlog::testing
