// MirroredLog, one promise at a time, on both kinds of link.

#include "nvlog/mirrored_log.h"

#include <gtest/gtest.h>

#include "mirror_fixture.h"
#include "region.h"

namespace duet::nvlog::testing {
namespace {

using std::chrono::milliseconds;

class MirroredLogTest : public ::testing::TestWithParam<Wire> {
 protected:
  [[nodiscard]] bool one_sided() const { return GetParam() == Wire::kOneSided; }
  // What the partner would replay if it took over now.
  MirrorRecovered take_over(Pair& world) {
    const Node taker = partner_of(world.owner);
    world.kill(world.owner);
    copy = world.processes[index(taker)].port->take(kIdentity.filer);
    return world.recover(taker, world.disks.mark ? nullptr : copy.get());
  }
  std::unique_ptr<PersistentMemory> copy;
  Pair pair{3, GetParam()};
};

// Of the owner's own log.
std::uint64_t own_mirror_generation(const Pair& pair) {
  const auto header = read_area(*pair.own[index(pair.owner)], kSmallHalf, kIdentity.filer);
  return header.has_value() ? header->mirror_generation : 0;
}

Task<void> count_wakes(RequestLog& log, Sequence until, int& wakes) {
  while (log.durable() < until) {
    co_await log.durable_changed().wait();
    ++wakes;
  }
}

TEST_P(MirroredLogTest, ARecordIsDurableWhenBothMemoriesHoldIt) {
  pair.begin();
  pair.append(body_of(1, 100));
  EXPECT_EQ(pair.log().last(), Sequence{1});
  EXPECT_EQ(pair.durable(), one_sided() ? 1U : 0U);
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  EXPECT_EQ(pair.duties().sets, 0);

  MirrorRecovered taken = take_over(pair);
  ASSERT_TRUE(taken.status.ok());
  ASSERT_EQ(taken.records.size(), 1U);
  EXPECT_EQ(taken.records[0], std::pair(std::uint64_t{1}, body_of(1, 100)));
  EXPECT_TRUE(taken.log->recovered_from_copy());
}

TEST_P(MirroredLogTest, OneWakeUpServesManyRecords) {
  pair.begin();
  TaskScope scope(pair.scheduler);
  int wakes = 0;
  scope.spawn(count_wakes(pair.log(), Sequence{8}, wakes));
  for (std::uint64_t i = 1; i <= 8; ++i) {
    pair.append(body_of(i, 10));
  }
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 8; }));
  ASSERT_TRUE(pair.run([&] { return scope.idle(); }));
  if (GetParam() == Wire::kStream) {
    EXPECT_EQ(wakes, 1);
  } else if (GetParam() == Wire::kNarrow) {
    EXPECT_LT(wakes, 8);  // they do not all fit at once
  }
}

TEST_P(MirroredLogTest, NothingThePartnerDoesNotHoldIsDurableBeforeTheMarkIs) {
  pair.begin();
  pair.duties().hold = true;
  pair.wire.die_silently(Node::kB);
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([this] { return pair.duties().sets == 1; }));
  pair.append(body_of(1, 20));
  pair.run_for(milliseconds(5000));
  EXPECT_EQ(pair.durable(), 0U);
  EXPECT_TRUE(pair.log().mirror_status().marking);
  pair.duties().hold = false;
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  EXPECT_TRUE(pair.disks.mark);
  EXPECT_EQ(pair.disks.mark_first, Sequence{1});
  EXPECT_EQ(pair.disks.mark_epoch, pair.disks.root.epoch);
  EXPECT_TRUE(pair.log().mirror_status().solo);
}

TEST_P(MirroredLogTest, ANodeThatOpensAloneMarksBeforeItsFirstRecordCounts) {
  pair.boot(Node::kA);
  MirrorRecovered opened = pair.recover(Node::kA);
  ASSERT_TRUE(opened.status.ok());
  pair.open(Node::kA, std::move(opened.log));
  pair.append(body_of(1, 20));
  EXPECT_EQ(pair.durable(), 0U);
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  EXPECT_TRUE(pair.disks.mark);
}

TEST_P(MirroredLogTest, ALogWhoseMarkIsRefusedIsNeverDurableAgain) {
  pair.begin();
  pair.duties().refuse = true;
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([this] { return pair.duties().sets == 1; }));
  pair.append(body_of(1, 20));
  pair.run_for(milliseconds(1000));
  EXPECT_EQ(pair.durable(), 0U);
  const auto refused = append(pair.log(), body_of(2, 20));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kFenced);
}

TEST_P(MirroredLogTest, ALinkThatComesBackInTimeGoesOnWithoutAMark) {
  pair.begin();
  pair.append(body_of(1, 20));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  pair.wire.reset();
  ASSERT_TRUE(
      pair.run([this] { return pair.log().mirror_status().state == MirrorState::kInterrupted; }));
  pair.append(body_of(2, 20));
  pair.append(body_of(3, 20));
  EXPECT_EQ(pair.durable(), 1U);
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 3; }));
  EXPECT_EQ(pair.log().mirror_status().resumed, 1U);
  EXPECT_EQ(pair.duties().sets, 0);
  const MirrorRecovered taken = take_over(pair);
  ASSERT_TRUE(taken.status.ok());
  EXPECT_EQ(taken.records.size(), 3U);
}

TEST_P(MirroredLogTest, ACopyThatChangedMeanwhileIsNotGoneOnWith) {
  pair.begin();
  pair.append(body_of(1, 20));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  pair.wire.reset();
  ASSERT_TRUE(
      pair.run([this] { return pair.log().mirror_status().state == MirrorState::kInterrupted; }));
  // The body of the newest record there.
  pair.copy_memory().flip_bit(half_offset(kSmallHalf, kIdentity.filer, 1) + sizeof(RecordHeader),
                              0);
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().went_solo == 1; }));
  EXPECT_EQ(pair.log().mirror_status().resumed, 0U);
}

TEST_P(MirroredLogTest, AnotherProcessOfThePartnerMeansSoloWithoutPatience) {
  pair.begin();
  pair.kill(Node::kB);
  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 1);
  const Instant begun = pair.scheduler.now();
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().went_solo == 1; }));
  EXPECT_LT(pair.scheduler.now() - begun, MirrorOptions{}.patience);
}

TEST_P(MirroredLogTest, SoloEndsWithACpThenTheGenerationThenTheMark) {
  pair.begin();
  const std::uint64_t generation = pair.disks.root.mirror_generation;
  pair.append(body_of(1, 20));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().solo; }));
  pair.append(body_of(2, 20));
  EXPECT_EQ(pair.durable(), 2U);
  EXPECT_EQ(pair.log().mirror_generation(), generation + 1);

  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 1);
  ASSERT_TRUE(pair.run([this] { return pair.duties().cp_wanted; }));
  pair.append(body_of(3, 20));
  EXPECT_EQ(pair.durable(), 3U);  // the mark still stands
  pair.run_for(milliseconds(100));
  EXPECT_TRUE(pair.disks.mark);
  EXPECT_EQ(pair.host().copy(kIdentity.filer).mirror_generation, 0U);

  pair.consistency_point();
  EXPECT_EQ(pair.disks.root.mirror_generation, generation + 1);
  pair.duties().on_change = [&] {
    EXPECT_EQ(pair.host().copy(kIdentity.filer).mirror_generation, generation + 1);
    EXPECT_TRUE(pair.log().mirror_status().marked);
  };
  ASSERT_TRUE(pair.run([this] { return !pair.log().mirror_status().marked; }));
  EXPECT_FALSE(pair.disks.mark);
  EXPECT_TRUE(pair.synced());
  EXPECT_EQ(own_mirror_generation(pair), generation + 1);
  pair.append(body_of(4, 20));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 4; }));
  const MirrorRecovered taken = take_over(pair);
  ASSERT_TRUE(taken.status.ok());
  ASSERT_EQ(taken.records.size(), 1U);
  EXPECT_EQ(taken.records[0].first, 4U);
}

// From the moment the copy may be believed, only what it holds counts, mark or not.
TEST(MirroredLogSealing, WhatIsAppendedWhileTheCopyIsSealedWaitsForIt) {
  Pair pair(3, Wire::kStream);
  pair.begin();
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([&] { return pair.log().mirror_status().solo; }));
  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 1);
  ASSERT_TRUE(pair.run([&] { return pair.duties().cp_wanted; }));
  pair.wire.cut(Node::kA);
  pair.consistency_point();
  ASSERT_EQ(pair.log().mirror_status().state, MirrorState::kSealing);
  pair.run_for(milliseconds(10));
  pair.append(body_of(1, 20));
  pair.run_for(milliseconds(10));
  EXPECT_EQ(pair.durable(), 0U);
  EXPECT_TRUE(pair.disks.mark);
  pair.wire.heal(Node::kA);
  ASSERT_TRUE(pair.run([&] { return pair.durable() == 1; }));
  EXPECT_TRUE(pair.synced());

  // And if the link is lost instead, the mark, which still stands, lets local records count.
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([&] { return pair.log().mirror_status().solo; }));
  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 1);
  ASSERT_TRUE(pair.run([&] { return pair.duties().cp_wanted; }));
  pair.wire.cut(Node::kA);
  pair.consistency_point();
  pair.append(body_of(2, 20));
  const int sets = pair.duties().sets;
  pair.wire.reset();
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([&] { return pair.durable() == 2; }));
  EXPECT_EQ(pair.duties().sets, sets);
}

TEST_P(MirroredLogTest, ACpThatBeganBeforeMirroringDoesNotEndSolo) {
  pair.begin();
  pair.kill(Node::kB);
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().solo; }));
  const Sequence frozen = pair.log().switch_half();  // its root is slow
  pair.append(body_of(1, 20));
  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 1);
  ASSERT_TRUE(
      pair.run([this] { return pair.log().mirror_status().state == MirrorState::kFilling; }));
  pair.disks.root.last = frozen;
  ASSERT_TRUE(pair.log().release(frozen).ok());
  pair.run_for(milliseconds(500));
  EXPECT_EQ(pair.log().mirror_status().state, MirrorState::kFilling);
  pair.consistency_point();
  EXPECT_TRUE(pair.run([this] { return pair.synced(); }));
}

// I4.
TEST(MirroredLogHalves, AHalfWithRecordsOnTheirWayIsNotUsedAgain) {
  Pair pair(3, Wire::kStream);
  pair.begin();
  pair.consistency_point();
  pair.wire.cut(Node::kA);
  pair.append(body_of(1, 100));
  const Sequence covered = pair.log().switch_half();
  pair.append(body_of(2, 100));
  ASSERT_TRUE(pair.log().release(covered).ok());
  EXPECT_FALSE(pair.log().can_switch());
  pair.wire.heal(Node::kA);
  ASSERT_TRUE(pair.run([&] { return pair.durable() == 2; }));
  EXPECT_TRUE(pair.log().can_switch());
}

TEST_P(MirroredLogTest, HalvesGoRoundInBothMemories) {
  pair.begin();
  for (std::uint64_t i = 1; i <= 60; ++i) {
    if (!pair.log().fits(100)) {
      pair.consistency_point();
    }
    pair.append(body_of(i, 100));
    ASSERT_TRUE(pair.run([&] { return pair.durable() == i; }));
  }
  const auto covered = static_cast<std::uint64_t>(pair.disks.root.last);
  const MirrorRecovered taken = take_over(pair);
  ASSERT_TRUE(taken.status.ok());
  ASSERT_EQ(taken.records.size(), 60 - covered);
  for (const auto& [sequence, body] : taken.records) {
    EXPECT_EQ(body, body_of(sequence, 100));
  }
}

TEST_P(MirroredLogTest, AHostThatWasNotToldToKeepACopyRefuses) {
  pair.begin();
  pair.host().close(kIdentity.filer);
  pair.append(body_of(1, 20));
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().went_solo == 1; }));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  EXPECT_TRUE(pair.disks.mark);
  pair.run_for(milliseconds(2000));
  EXPECT_EQ(pair.log().mirror_status().refusal, MirrorAnswer::kNotAdmitted);
}

TEST_P(MirroredLogTest, AnOwnerOfAnOlderEpochIsRefused) {
  pair.boot(Node::kA);
  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 100);
  MirrorRecovered opened = pair.recover(Node::kA);
  pair.open(Node::kA, std::move(opened.log));
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().solo; }));
  pair.run_for(milliseconds(2000));
  EXPECT_EQ(pair.log().mirror_status().refusal, MirrorAnswer::kStaleEpoch);
}

TEST_P(MirroredLogTest, MemoriesOfDifferentSizesAreRefused) {
  pair.mirror[1] = Pair::blank(1024);
  pair.boot(Node::kA);
  pair.boot(Node::kB);
  pair.host().admit(kIdentity.filer, 1);
  MirrorRecovered opened = pair.recover(Node::kA);
  pair.open(Node::kA, std::move(opened.log));
  ASSERT_TRUE(pair.run([this] { return pair.log().mirror_status().solo; }));
  EXPECT_EQ(pair.log().mirror_status().refusal, MirrorAnswer::kOtherSize);
}

TEST_P(MirroredLogTest, ACopyOfAnotherGenerationOrEpochIsNotReplayed) {
  pair.begin();
  pair.append(body_of(1, 20));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  const Covered root = pair.disks.root;
  pair.kill(Node::kA);
  copy = pair.processes[1].port->take(kIdentity.filer);
  ASSERT_TRUE(pair.recover(Node::kB, copy.get()).status.ok());
  for (const int which : {0, 1, 2}) {
    pair.disks.root = root;
    pair.disks.root.mirror_generation += which == 0 ? 1 : 0;
    pair.disks.root.epoch += which == 1 ? 1 : 0;
    const MirrorRecovered refused = pair.recover(Node::kB, which == 2 ? nullptr : copy.get());
    ASSERT_FALSE(refused.status.ok());
    EXPECT_EQ(refused.status.error().code, Errc::kForeign);
  }
}

TEST_P(MirroredLogTest, ADamagedLogIsReplayedFromTheCopy) {
  pair.begin();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    pair.append(body_of(i, 20));
  }
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 3; }));
  pair.kill(Node::kA);
  const std::uint64_t first = half_offset(kSmallHalf, kIdentity.filer, 1);
  pair.own[0]->flip_bit(first + sizeof(RecordHeader), 3);
  pair.boot(Node::kA);
  EXPECT_EQ(pair.recover(Node::kA).status.error().code, Errc::kCorrupt);
  copy = pair.processes[1].port->take(kIdentity.filer);
  const MirrorRecovered fetched = pair.recover(Node::kA, copy.get());
  ASSERT_TRUE(fetched.status.ok());
  EXPECT_EQ(fetched.records.size(), 3U);
}

TEST_P(MirroredLogTest, AfterATakeoverTheOldOwnerDoesNotDisturbWhatWasTaken) {
  pair.begin();
  pair.append(body_of(1, 20));
  ASSERT_TRUE(pair.run([this] { return pair.durable() == 1; }));
  pair.wire.stale_writer(Node::kA, true);
  copy = pair.processes[1].port->take(kIdentity.filer);
  const auto area = static_cast<std::ptrdiff_t>(area_offset(kSmallHalf, kIdentity.filer));
  const Body still(copy->bytes().begin() + area, copy->bytes().end());
  pair.append(body_of(2, 20));
  pair.run_for(milliseconds(50));
  EXPECT_TRUE(std::equal(still.begin(), still.end(), copy->bytes().begin() + area));
  const MirrorRecovered taken = pair.recover(Node::kB, copy.get());
  ASSERT_TRUE(taken.status.ok());
  EXPECT_EQ(taken.records.size(), 1U);
}

TEST_P(MirroredLogTest, TheFilerGoesToThePartnerAndBackAndIsMirroredInBothPlaces) {
  pair.begin();
  std::uint64_t sequence = 0;
  for (int turn = 0; turn < 6; ++turn) {
    for (int i = 0; i < 3; ++i) {
      pair.append(body_of(++sequence, 30));
    }
    ASSERT_TRUE(pair.run([&] { return pair.durable() == sequence; }));
    const Node old = pair.owner;
    const Node taker = partner_of(old);
    MirrorRecovered taken = take_over(pair);
    ASSERT_TRUE(taken.status.ok()) << taken.status.error().context;
    ASSERT_EQ(taken.log->last(), Sequence{sequence});
    pair.boot(old);
    pair.processes[index(old)].port->admit(kIdentity.filer, pair.disks.root.epoch + 1);
    pair.open(taker, std::move(taken.log));
    ASSERT_TRUE(pair.run([this] { return pair.synced(); }));
  }
}

// Whatever happens to the link, at whichever turn: what was durable is found, and both go on.
enum class Fault : std::uint8_t { kReset, kCutFromOwner, kCutFromHost, kKillHost, kRestartHost };

void fail_at(Pair& pair, Fault fault) {
  const Node host = partner_of(pair.owner);
  switch (fault) {
    case Fault::kReset:
      pair.wire.reset();
      break;
    case Fault::kCutFromOwner:
      pair.wire.cut(pair.owner);
      break;
    case Fault::kCutFromHost:
      pair.wire.cut(host);
      break;
    case Fault::kKillHost:
    case Fault::kRestartHost:
      pair.kill(host);
      if (fault == Fault::kRestartHost) {
        pair.boot(host);
        pair.host().admit(kIdentity.filer, 1);
      }
      break;
  }
}

TEST_P(MirroredLogTest, AFaultAtAnyTurnLosesNothingAndHeals) {
  std::uint64_t runs = 0;
  for (const Fault fault : {Fault::kReset, Fault::kCutFromOwner, Fault::kCutFromHost,
                            Fault::kKillHost, Fault::kRestartHost}) {
    bool reached = true;
    for (std::uint64_t turn = 1; reached; ++turn) {
      SCOPED_TRACE(::testing::Message()
                   << "fault " << static_cast<int>(fault) << " at turn " << turn);
      ++runs;
      Pair world(turn, GetParam(), 4096);
      reached = false;
      std::uint64_t turns = 0;
      world.boot(Node::kA);
      world.boot(Node::kB);
      world.host().admit(kIdentity.filer, 1);
      MirrorRecovered opened = world.recover(Node::kA);
      world.open(Node::kA, std::move(opened.log));
      world.on_turn = [&] {
        if (++turns == turn) {
          reached = true;
          fail_at(world, fault);
        }
      };
      const auto wait_for = [&](auto done) {
        return world.run([&] {
          if (world.duties().cp_wanted) {
            world.consistency_point();
          }
          return done();
        });
      };
      std::uint64_t sequence = 0;
      for (int step = 0; step < 4; ++step) {
        world.append(body_of(++sequence, 60));
        world.append(body_of(++sequence, 60));
        ASSERT_TRUE(wait_for([&] { return world.durable() == sequence; }));
        if (step == 1) {
          world.consistency_point();
        }
      }
      world.on_turn = nullptr;
      world.wire.heal(Node::kA);
      world.wire.heal(Node::kB);
      if (world.processes[1].link == nullptr) {
        world.boot(Node::kB);
        world.host().admit(kIdentity.filer, 1);
      }
      world.append(body_of(++sequence, 60));
      ASSERT_TRUE(wait_for(
          [&] { return world.durable() == sequence && world.synced() && !world.disks.mark; }));
      const auto covered = static_cast<std::uint64_t>(world.disks.root.last);
      const MirrorRecovered taken = take_over(world);
      ASSERT_TRUE(taken.status.ok()) << taken.status.error().context;
      ASSERT_EQ(taken.records.size(), sequence - covered);
      for (const auto& [number, body] : taken.records) {
        ASSERT_EQ(body, body_of(number, 60));
      }
    }
  }
  EXPECT_GT(runs, one_sided() ? 40U : 150U);
}

INSTANTIATE_TEST_SUITE_P(Links, MirroredLogTest, kWires, name_of);

}  // namespace
}  // namespace duet::nvlog::testing
