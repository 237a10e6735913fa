// RequestLog against a memory that fills, fails and belongs to others.

#include "nvlog/request_log.h"

#include <gtest/gtest.h>

#include "log_fixture.h"
#include "sim/sim_persistent_memory.h"

namespace duet::nvlog::testing {
namespace {

constexpr Covered kNothing{.epoch = 7, .last = Sequence{0}, .log_empty = false};

class RequestLogTest : public ::testing::Test {
 protected:
  sim::SimScheduler scheduler_{1};
  CrashMemory memory_{small_region()};
};

TEST_F(RequestLogTest, ReplayGivesTheRecordsThatWereAppendedInTheirOrder) {
  const auto log = started(scheduler_, memory_);
  for (std::uint64_t i = 1; i <= 4; ++i) {
    const auto appended = append(*log, body_of(i, i * 20));
    ASSERT_TRUE(appended.ok());
    EXPECT_EQ(appended.value(), Sequence{i});
    EXPECT_EQ(log->durable(), Sequence{i});
  }

  const Recovered again = recover(scheduler_, memory_, kNothing);

  ASSERT_TRUE(again.status.ok());
  ASSERT_EQ(again.records.size(), 4U);
  for (std::uint64_t i = 1; i <= 4; ++i) {
    EXPECT_EQ(again.records[i - 1].first, i);
    EXPECT_EQ(again.records[i - 1].second, body_of(i, i * 20));
  }
  EXPECT_EQ(again.log->last(), Sequence{4});
}

TEST_F(RequestLogTest, ABodyIsGatheredFromItsParts) {
  const auto log = started(scheduler_, memory_);
  const Body whole = body_of(1, 100);
  const std::array<ConstBytes, 4> parts{ConstBytes(whole).first(1), ConstBytes{},
                                        ConstBytes(whole).subspan(1, 60),
                                        ConstBytes(whole).subspan(61)};
  ASSERT_TRUE(log->append(parts).ok());

  const Recovered again = recover(scheduler_, memory_, kNothing);

  ASSERT_EQ(again.records.size(), 1U);
  EXPECT_EQ(again.records[0].second, whole);
}

// Its end's checksum is joined and not worked out: a wrong one would be a damaged record.
TEST_F(RequestLogTest, ABodyWhoseEndIsKnownIsWhole) {
  const std::size_t sizes[] = {100, 4096, 4097, 8192, 9000};
  CrashMemory memory(small_region(64U << 10U));
  const auto log = started(scheduler_, memory);
  for (const std::size_t size : sizes) {
    const Body whole = body_of(size, 30 + size);
    const std::array<ConstBytes, 3> parts{ConstBytes(whole).first(30),
                                          ConstBytes(whole).subspan(30, size / 2),
                                          ConstBytes(whole).subspan(30 + size / 2)};
    const ConstBytes end = ConstBytes(whole).subspan(30);
    ASSERT_TRUE(log->append(parts, {.bytes = end.size(), .checksum = crc32c(end)}).ok());
  }

  const Recovered again = recover(scheduler_, memory, kNothing);

  ASSERT_EQ(again.records.size(), std::size(sizes));
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    EXPECT_EQ(again.records[i].second, body_of(sizes[i], 30 + sizes[i]));
  }
}

TEST_F(RequestLogTest, AnAppendPersistsOnce) {
  const auto log = started(scheduler_, memory_);
  const std::uint64_t before = memory_.persists();
  ASSERT_TRUE(append(*log, body_of(1, 300)).ok());
  EXPECT_EQ(memory_.persists(), before + 1);
}

TEST_F(RequestLogTest, ReplayBeginsBehindWhatTheRootCovers) {
  const auto log = started(scheduler_, memory_);
  for (std::uint64_t i = 1; i <= 4; ++i) {
    ASSERT_TRUE(append(*log, body_of(i, 10)).ok());
  }
  for (std::uint64_t covered = 0; covered <= 4; ++covered) {
    const Recovered again =
        recover(scheduler_, memory_, {.epoch = 7, .last = Sequence{covered}, .log_empty = false});
    ASSERT_TRUE(again.status.ok());
    EXPECT_EQ(again.records.size(), 4 - covered);
    EXPECT_EQ(again.log->last(), Sequence{4});
  }
}

TEST_F(RequestLogTest, RecoverWritesNothing) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  const Body before(memory_.bytes().begin(), memory_.bytes().end());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(recover(scheduler_, memory_, kNothing).records.size(), 1U);
    EXPECT_TRUE(same_bytes(memory_.bytes(), before));
  }
}

TEST_F(RequestLogTest, RecoverReturnsWhatReplayReturnedAtOnce) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  ASSERT_TRUE(append(*log, body_of(2, 10)).ok());
  int calls = 0;
  const auto again = RequestLog::recover(scheduler_, memory_, kIdentity, kNothing,
                                         [&](const ReplayRecord&) -> Status {
                                           ++calls;
                                           return Error{Errc::kNoSpace, "replay"};
                                         });
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Errc::kNoSpace);
  EXPECT_EQ(calls, 1);
}

TEST_F(RequestLogTest, AFullHalfFitsNothingUntilTheOtherIsTaken) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(log->fits(kSmallHalf - sizeof(RecordHeader)));
  EXPECT_FALSE(log->fits(kSmallHalf - sizeof(RecordHeader) + 1));
  ASSERT_TRUE(append(*log, body_of(1, kSmallHalf - sizeof(RecordHeader))).ok());
  EXPECT_FALSE(log->fits(1));
  EXPECT_EQ(log->filling_bytes(), kSmallHalf);

  ASSERT_TRUE(log->can_switch());
  EXPECT_EQ(log->switch_half(), Sequence{1});

  EXPECT_TRUE(log->fits(1));
  EXPECT_EQ(log->filling_bytes(), 0U);
  EXPECT_EQ(log->filling_records(), 0U);
}

// I4.
TEST_F(RequestLogTest, AFrozenHalfIsNotTouchedBeforeItsRelease) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 400)).ok());
  log->switch_half();
  EXPECT_FALSE(log->can_switch());
  EXPECT_DEATH(log->switch_half(), "check failed");
  while (log->fits(10)) {
    ASSERT_TRUE(append(*log, body_of(9, 10)).ok());
  }
  const Recovered again = recover(scheduler_, memory_, kNothing);
  ASSERT_FALSE(again.records.empty());
  EXPECT_EQ(again.records[0].second, body_of(1, 400));

  EXPECT_DEATH(static_cast<void>(log->release(Sequence{0})), "check failed");
  ASSERT_TRUE(log->release(Sequence{1}).ok());
  EXPECT_TRUE(log->can_switch());
  EXPECT_FALSE(log->fits(10));  // the filling half is as full as before
}

TEST_F(RequestLogTest, HalvesGoRoundWithoutReplayingAnOlderPass) {
  const auto log = started(scheduler_, memory_);
  std::uint64_t sequence = 0;
  for (int pass = 0; pass < 9; ++pass) {
    const std::size_t size = pass % 3 == 0 ? 10 : 150;
    for (int i = 0; i < pass % 3 && log->fits(size); ++i) {
      ASSERT_TRUE(append(*log, body_of(++sequence, size)).ok());
    }
    const Sequence covered = log->switch_half();
    ASSERT_EQ(covered, Sequence{sequence});
    ASSERT_TRUE(append(*log, body_of(++sequence, 33)).ok());
    ASSERT_TRUE(log->release(covered).ok());
    const Recovered again =
        recover(scheduler_, memory_, {.epoch = 7, .last = covered, .log_empty = false});
    ASSERT_TRUE(again.status.ok());
    ASSERT_EQ(again.records.size(), 1U);
    EXPECT_EQ(again.records[0].second, body_of(sequence, 33));
  }
}

TEST_F(RequestLogTest, AFailedPersistIsReportedAndEndsTheLog) {
  const auto log = started(scheduler_, memory_);
  memory_.fail_next_persist();
  const auto failed = append(*log, body_of(1, 10));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Errc::kIo);
  EXPECT_EQ(log->durable(), Sequence{0});
  EXPECT_FALSE(append(*log, body_of(1, 10)).ok());
}

TEST_F(RequestLogTest, AFailedStartIsReported) {
  Recovered opened =
      recover(scheduler_, memory_, {.epoch = 7, .last = Sequence{0}, .log_empty = true});
  memory_.fail_next_persist();
  const Status failed = opened.log->start(7);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Errc::kIo);
  EXPECT_FALSE(opened.log->fits(1));
}

TEST_F(RequestLogTest, SequencesGoOnAcrossOpenings) {
  auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  Recovered again = recover(scheduler_, memory_, kNothing);
  ASSERT_TRUE(again.log->start(8).ok());
  const auto appended = append(*again.log, body_of(2, 10));
  ASSERT_TRUE(appended.ok());
  EXPECT_EQ(appended.value(), Sequence{2});
}

TEST_F(RequestLogTest, TheAreasOfBothFilersLiveSideBySide) {
  LogIdentity other = kIdentity;
  other.filer = 0;
  const auto mine = started(scheduler_, memory_);
  Recovered opened =
      recover(scheduler_, memory_, {.epoch = 3, .last = Sequence{50}, .log_empty = true}, other);
  ASSERT_TRUE(opened.status.ok());
  ASSERT_TRUE(opened.log->start(3).ok());
  while (opened.log->fits(100)) {
    ASSERT_TRUE(append(*opened.log, body_of(99, 100)).ok());
  }
  ASSERT_TRUE(append(*mine, body_of(1, 100)).ok());

  EXPECT_EQ(recover(scheduler_, memory_, kNothing).records.size(), 1U);
  EXPECT_GE(
      recover(scheduler_, memory_, {.epoch = 3, .last = Sequence{50}, .log_empty = false}, other)
          .records.size(),
      2U);
}

// --- Whose log it is.

TEST_F(RequestLogTest, AnotherPairFilerLogOrEpochIsForeign) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  LogIdentity pair = kIdentity;
  pair.pair[1] ^= 1;
  LogIdentity filer = kIdentity;
  filer.filer = 0;
  LogIdentity log_id = kIdentity;
  log_id.log_id ^= 1;
  for (const LogIdentity& other : {pair, filer, log_id}) {
    const Recovered refused = recover(scheduler_, memory_, kNothing, other);
    ASSERT_FALSE(refused.status.ok());
    EXPECT_EQ(refused.status.error().code, Errc::kForeign);
    EXPECT_TRUE(refused.records.empty());
  }
  for (const std::uint64_t epoch : {6U, 8U}) {
    Covered covered = kNothing;
    covered.epoch = epoch;
    const Recovered refused = recover(scheduler_, memory_, covered);
    ASSERT_FALSE(refused.status.ok());
    EXPECT_EQ(refused.status.error().code, Errc::kForeign);
    EXPECT_TRUE(refused.records.empty());
  }
}

TEST_F(RequestLogTest, AForeignLogIsNoLossWhenTheRootSaysEmptyAndIsNotReplayed) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  LogIdentity other = kIdentity;
  other.log_id = 99;
  Recovered opened =
      recover(scheduler_, memory_, {.epoch = 7, .last = Sequence{0}, .log_empty = true}, other);
  ASSERT_TRUE(opened.status.ok());
  EXPECT_TRUE(opened.records.empty());
  ASSERT_TRUE(opened.log->start(7).ok());
  EXPECT_TRUE(recover(scheduler_, memory_, kNothing, other).records.empty());
}

TEST_F(RequestLogTest, ALogThatBeginsBehindTheRootsEndIsRefused) {
  const auto log = started(scheduler_, memory_, 7, 10);
  const Recovered refused =
      recover(scheduler_, memory_, {.epoch = 7, .last = Sequence{8}, .log_empty = false});
  ASSERT_FALSE(refused.status.ok());
  EXPECT_EQ(refused.status.error().code, Errc::kCorrupt);
}

TEST_F(RequestLogTest, OneDamagedCopyOfAHeaderIsNoLoss) {
  const auto log = started(scheduler_, memory_);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  const std::uint64_t area = area_offset(kSmallHalf, kIdentity.filer);
  for (const std::uint64_t offset :
       {std::uint64_t{0}, kHeaderCopyBytes, area, area + kHeaderCopyBytes}) {
    CrashMemory damaged(Body(memory_.bytes().begin(), memory_.bytes().end()));
    damaged.store(offset + 16, Body(8, std::byte{0xEE}));
    EXPECT_EQ(recover(scheduler_, damaged, kNothing).records.size(), 1U);
  }
}

// --- Whole regions.

TEST(LogRegion, BlankMemoryIsForeignUnlessTheRootSaysEmpty) {
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(region_bytes(half_bytes_min()));
  EXPECT_TRUE(probe(memory).blank);
  const Recovered refused = recover(scheduler, memory, kNothing);
  ASSERT_FALSE(refused.status.ok());
  EXPECT_EQ(refused.status.error().code, Errc::kForeign);

  const auto log = started(scheduler, memory);
  EXPECT_EQ(log->half_bytes(), half_bytes_min());
  EXPECT_TRUE(log->fits(kBodyBytesMax));
  EXPECT_FALSE(log->fits(std::size_t{kBodyBytesMax} + 1));
  ASSERT_TRUE(append(*log, body_of(1, kBodyBytesMax)).ok());
  EXPECT_EQ(recover(scheduler, memory, kNothing).records.size(), 1U);
}

TEST(LogRegion, AHalfHoldsEightOfTheLargestRecords) {
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(region_bytes(half_bytes_min()));
  const auto log = started(scheduler, memory);
  const Body body = body_of(1, kBodyBytesMax);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(log->fits(body.size()));
    ASSERT_TRUE(append(*log, body).ok());
  }
}

TEST(LogRegion, ProbeSaysWhatAFormattedRegionHolds) {
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(region_bytes(half_bytes_min()));
  ASSERT_TRUE(format_area(memory, kIdentity, 7).ok());
  RegionProbe seen = probe(memory);
  EXPECT_FALSE(seen.blank);
  EXPECT_TRUE(seen.ours);
  EXPECT_EQ(seen.areas[1], kIdentity);
  EXPECT_EQ(seen.areas[0], LogIdentity{});
  EXPECT_EQ(seen.epochs[1], 7U);
  EXPECT_EQ(seen.records[1], 0U);

  Recovered opened = recover(scheduler, memory, kNothing);
  ASSERT_TRUE(opened.status.ok());
  ASSERT_TRUE(opened.log->start(8).ok());
  ASSERT_TRUE(append(*opened.log, body_of(1, 10)).ok());
  ASSERT_TRUE(append(*opened.log, body_of(2, 10)).ok());
  seen = probe(memory);
  EXPECT_EQ(seen.epochs[1], 8U);
  EXPECT_EQ(seen.records[1], 2U);
}

TEST(LogRegion, FormattingOneAreaKeepsTheOther) {
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(region_bytes(half_bytes_min()));
  const auto log = started(scheduler, memory);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  LogIdentity other = kIdentity;
  other.filer = 0;
  ASSERT_TRUE(format_area(memory, other, 1).ok());
  EXPECT_EQ(recover(scheduler, memory, kNothing).records.size(), 1U);
}

TEST(LogRegion, FormattingAgainForgetsTheRecords) {
  sim::SimScheduler scheduler(1);
  sim::SimPersistentMemory memory(region_bytes(half_bytes_min()));
  const auto log = started(scheduler, memory);
  ASSERT_TRUE(append(*log, body_of(1, 10)).ok());
  ASSERT_TRUE(format_area(memory, kIdentity, 7).ok());
  const Recovered again = recover(scheduler, memory, kNothing);
  ASSERT_TRUE(again.status.ok());
  EXPECT_TRUE(again.records.empty());
}

TEST(LogRegion, ASmallMemoryIsRefused) {
  sim::SimScheduler scheduler(1);
  for (const std::size_t size : {std::size_t{0}, std::size_t{64}, std::size_t{4096},
                                 static_cast<std::size_t>(region_bytes(half_bytes_min()) - 1)}) {
    sim::SimPersistentMemory memory(size);
    EXPECT_FALSE(format_area(memory, kIdentity, 7).ok());
    const Recovered refused =
        recover(scheduler, memory, {.epoch = 7, .last = {}, .log_empty = true});
    ASSERT_FALSE(refused.status.ok());
    EXPECT_EQ(refused.status.error().code, Errc::kInvalid);
    EXPECT_FALSE(probe(memory).ours);
  }
}

}  // namespace
}  // namespace duet::nvlog::testing
