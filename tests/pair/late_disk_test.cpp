// A node starts while a disk is away: failover/README.md, "A disk that is away at a start".

#include "pair_fixture.h"

namespace duet::pair {
namespace {

class PairThatLacksADisk : public Pair {};
INSTANTIATE_TEST_SUITE_P(Seeds, PairThatLacksADisk, ::testing::Range<std::uint64_t>(1, 21));

TEST_P(PairThatLacksADisk, ANodeThatLacksADiskOfItsOwnStartsByItsPartnersWord) {
  begin();
  const std::size_t gone = 3 + GetParam() % 3;
  ASSERT_NO_FATAL_FAILURE(lose_disk(gone));
  world.kill(1);
  world.run_for(2s);
  world.boot(1);
  ASSERT_TRUE(enters(1));
  EXPECT_EQ(world.steps["entered by the partner's word"], 1U);
  EXPECT_EQ(world.pair(1).status().arbitration, world.record_disk());
  EXPECT_TRUE(served(0, 0)) << "nothing of this is a matter of filer a";
  // The other filer comes here, and goes home again.
  ASSERT_TRUE(world.run_until([&] { return world.synced(0); }, 10s));
  ASSERT_TRUE(hands_over(0, 0));
  ASSERT_TRUE(world.run_until([&] { return world.synced(0); }, 10s));
  ASSERT_TRUE(hands_over(0, 1));
  EXPECT_NE(world.answering(1), 1) << "without its disk";
  const std::uint64_t admitted = world.steps["late disk admitted"];
  world.heal(gone);
  EXPECT_TRUE(all_well());
  EXPECT_EQ(world.steps["late disk admitted"], admitted + 1);
}

TEST_P(PairThatLacksADisk, ANodeThatLacksADiskOfItsPartnerServesItsOwnFiler) {
  begin();
  const std::size_t gone = GetParam() % 3;
  ASSERT_NO_FATAL_FAILURE(lose_disk(gone));
  world.kill(1);
  world.say_last_words(1, 5s);
  world.boot(1);
  ASSERT_TRUE(enters(1));
  ASSERT_TRUE(soon(1, 1));
  EXPECT_EQ(world.steps["entered by the partner's word"], 1U);
  EXPECT_EQ(world.pair(1).status().members[0].disks, (std::vector<std::size_t>{0, 1}));
  // It watches members of which it reads one only: silence proves nothing.
  if (gone < kRootDisks) {
    world.kill(0);
    world.run_for(3s);
    EXPECT_NE(world.answering(0), 1);
    EXPECT_TRUE(served(1, 1));
    world.heal(gone);
    world.boot(0);
  }
  world.heal(gone);
  EXPECT_TRUE(all_well());
}

TEST_P(PairThatLacksADisk, ANodeThatLacksADiskTakesOverWhatItReaches) {
  begin();
  ASSERT_NO_FATAL_FAILURE(lose_disk(3));
  world.kill(1);
  world.boot(1);
  ASSERT_TRUE(enters(1));
  ASSERT_TRUE(world.run_until([&] { return world.synced(0); }, 10s));
  world.run_for(1s);
  world.kill(0);
  EXPECT_TRUE(soon(0, 1, 5s));
  world.heal(3);
  world.boot(0);
  EXPECT_TRUE(all_well());
}

// What was formatted is not what counts: its members moved before it died.
TEST_P(PairThatLacksADisk, ANodeBeatsWhereItsPartnerWatches) {
  begin();
  if (world.record_disk() == 5) {
    ASSERT_TRUE(world.run_until([&] { return world.pair(0).start_move(2).ok(); }, 5s));
    ASSERT_TRUE(moved_to(2));
  }
  replace(1, 3, 5);
  ASSERT_TRUE(
      world.run_until([&] { return world.pair(0).status().members[1].generation == 1; }, 3s));
  const std::size_t gone = GetParam() % 2 == 0 ? 3 : 4;
  ASSERT_NO_FATAL_FAILURE(lose_disk(gone));
  world.kill(1);
  world.run_for(1s);
  world.boot(1);
  ASSERT_TRUE(enters(1));
  EXPECT_EQ(world.pair(1).status().members[1].disks, (std::vector<std::size_t>{5, 4}));
  EXPECT_EQ(world.pair(1).status().members[1].generation, 1U);
  EXPECT_TRUE(world.run_until(  // it may be busy with a takeover that comes to nothing
      [&] {
        return world.pair(0).status().evidence.beat == failover::BeatEvidence::kChanging &&
               world.pair(1).status().lease_valid;
      },
      15s));
  world.heal(gone);
  EXPECT_TRUE(all_well());
}

// The partner changes its members where this node cannot read the root that says so.
TEST_P(PairThatLacksADisk, ANodeThatLacksADiskHearsOfItsPartnersNewMembers) {
  begin();
  if (world.record_disk() == 2) {
    ASSERT_TRUE(world.run_until([&] { return world.pair(0).start_move(5).ok(); }, 5s));
    ASSERT_TRUE(moved_to(5));
  }
  if (world.record_disk() < kRootDisks) {
    ASSERT_TRUE(world.run_until([&] { return world.pair(0).start_move(5).ok(); }, 5s));
    ASSERT_TRUE(moved_to(5));
  }
  world.kill(1);
  world.say_last_words(1, 5s);
  world.path(1, 0).cut();  // node a reaches it
  world.boot(1);
  ASSERT_TRUE(enters(1));
  ASSERT_TRUE(soon(1, 1));
  ASSERT_TRUE(world.run_until([&] { return world.synced(0); }, 10s));
  replace(0, 0, 2);
  EXPECT_TRUE(
      world.run_until([&] { return world.pair(1).status().members[0].generation == 1; }, 3s));
  EXPECT_EQ(world.pair(1).status().members[0].disks, (std::vector<std::size_t>{2, 1}));
  world.path(1, 0).heal();
  EXPECT_TRUE(all_well());
}

// Two nodes that both lack a disk tell each other nothing that neither has read.
TEST_P(PairThatLacksADisk, TwoNodesThatLackADiskWaitForIt) {
  begin();
  const std::size_t gone = GetParam() % kDisks;
  world.kill(0);
  world.kill(1);
  world.cut(gone);
  world.boot(0);
  world.boot(1);
  world.run_for(10s);
  EXPECT_FALSE(entered(0) || entered(1));
  EXPECT_EQ(world.steps["entered by the partner's word"], 0U);
  EXPECT_GT(world.events["this node cannot start without a disk, as nobody tells it enough"], 0U);
  EXPECT_TRUE(takeover_veto(0, "waits for a disk"));
  EXPECT_NE(world.pair(0).status().filers[0].waits_for, "");
  world.heal(gone);
  EXPECT_TRUE(all_well());
}

// The record is on the disk that both lack, and nobody believes the one where it was.
TEST_P(PairThatLacksADisk, TwoNodesThatLackTheDiskOfTheRecordBelieveNoOlderOne) {
  begin();
  const std::size_t to = free_disk();
  ASSERT_TRUE(world.pair(0).start_move(to).ok());
  ASSERT_TRUE(moved_to(to));
  world.kill(0);
  world.kill(1);
  world.cut(to);
  world.boot(0);
  world.boot(1);
  world.run_for(10s);
  EXPECT_FALSE(entered(0) || entered(1));
  world.heal(to);
  EXPECT_TRUE(all_well());
  EXPECT_EQ(world.record_disk(), to);
}

TEST_P(PairThatLacksADisk, OneThatReachesAllTellsTheOther) {
  begin();
  const std::size_t gone = GetParam() % kDisks;
  world.kill(0);
  world.kill(1);
  world.path(1, gone).cut();
  world.boot(0);
  world.boot(1);
  EXPECT_TRUE(enters(0));
  EXPECT_TRUE(enters(1));
  EXPECT_EQ(world.steps["entered by the partner's word"], 1U);
  world.path(1, gone).heal();
  EXPECT_TRUE(all_well());
}

// It is about to read what counts, and has not read it.
TEST_P(PairThatLacksADisk, OneThatHasNotEnteredTellsNothing) {
  begin();
  const std::size_t to = free_disk();
  ASSERT_TRUE(world.pair(0).start_move(to).ok());
  ASSERT_TRUE(moved_to(to));
  world.kill(0);
  world.kill(1);
  world.path(1, to).cut();
  world.boot(0);
  world.path(0, to).cut();  // not away: it stands waiting for its answer
  world.boot(1);
  world.run_for(3s);
  EXPECT_FALSE(entered(0) || entered(1));
  world.path(0, to).heal();
  ASSERT_TRUE(enters(1));
  EXPECT_EQ(world.pair(1).status().arbitration, to);
  world.path(1, to).heal();
  EXPECT_TRUE(all_well());
}

TEST_P(PairThatLacksADisk, APartnerMayDieWhenItHasTold) {
  begin();
  const std::size_t gone = GetParam() % kDisks;
  ASSERT_NO_FATAL_FAILURE(lose_disk(gone));
  world.kill(1);
  bool told = false;
  const bool restarts = GetParam() % 2 == 0;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (!told && node == 0 && step == "tell the partner") {
      told = true;
      const auto us = static_cast<std::int64_t>(world.scheduler.random().below(2000));
      world.at(std::chrono::microseconds(us), [this] { world.kill_soon(0); });
    }
  };
  world.boot(1);
  world.run_for(3s);
  EXPECT_TRUE(told);
  if (restarts) {
    world.boot(0);
    world.run_for(5s);
    EXPECT_EQ(entered(0), entered(1)) << "who has entered tells the other";
  }
  world.heal(gone);
  if (!restarts) {
    world.run_for(3s);
    world.boot(0);
  }
  EXPECT_TRUE(all_well());
}

// While the record moves nobody knows for sure where it will be.
TEST_P(PairThatLacksADisk, APartnerThatMovesTheRecordTellsLater) {
  begin();
  const std::size_t to = free_disk();
  const std::array<std::string_view, 3> steps{"ask to move the record", "agree to move the record",
                                              "put the record"};
  const std::string_view at = steps[GetParam() % steps.size()];
  const std::uint32_t proposer = GetParam() / 3 % 2;
  bool killed = false;
  world.on_step = [&](std::uint32_t, std::string_view step) {
    if (!killed && step == at) {
      killed = true;
      world.cut(4);
      if (GetParam() % 4 < 2) {
        world.cut(to);  // and the move can neither end nor be given up
      }
      world.kill_soon(1);
    }
  };
  ASSERT_TRUE(world.pair(proposer).start_move(to).ok());
  ASSERT_TRUE(world.run_until([&] { return killed && world.process(1) == nullptr; }, 5s));
  world.boot(1);
  world.run_for(6s);
  if (entered(1)) {
    EXPECT_FALSE(world.pair(0).status().moving);
    EXPECT_EQ(world.pair(1).status().arbitration, world.pair(0).status().arbitration);
  }
  world.heal(to);
  EXPECT_TRUE(enters(1)) << at;
  world.heal(4);
  EXPECT_TRUE(all_well()) << at;
}

// It replaced a member and died with the root that says whether the new ones count.
TEST_P(PairThatLacksADisk, ANodeThatReadsOfNewerMembersThanItsPartnerKnowsWaits) {
  begin();
  if (world.record_disk() >= kDisksPerFiler) {
    ASSERT_TRUE(world.run_until([&] { return world.pair(0).start_move(2).ok(); }, 5s));
    ASSERT_TRUE(moved_to(2));
  }
  bool killed = false;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (!killed && node == 1 && step == "members into the root") {
      killed = true;
      world.path(0, 3).cut();
      if (GetParam() % 2 == 0) {
        world.kill_soon(1);
      } else {
        const auto us = static_cast<std::int64_t>(world.scheduler.random().below(2000));
        world.at(std::chrono::microseconds(us), [this] { world.kill_soon(1); });
      }
    }
  };
  ASSERT_TRUE(start_replacement(1, 3, 5));
  ASSERT_TRUE(world.run_until([&] { return killed && world.process(1) == nullptr; }, 5s));
  world.path(1, 3).cut();
  const bool knows = world.pair(0).status().members[1].generation == 1;
  world.boot(1);
  world.run_for(5s);
  if (!knows && !entered(1)) {
    EXPECT_NE(world.pair(1).status().waits_for, "");
  }
  EXPECT_FALSE(!knows && entered(1) && world.pair(0).status().members[1].generation == 0);
  world.heal(3);
  EXPECT_TRUE(all_well());
  EXPECT_TRUE(world.run_until(
      [&] {
        return world.pair(0).status().members[1].disks == world.pair(1).status().members[1].disks;
      },
      5s));
}

TEST_P(PairThatLacksADisk, ALateDiskThatHoldsTheOldRecordIsToldWhereItIs) {
  begin();
  const std::size_t from = world.record_disk();
  world.cut(from);
  ASSERT_TRUE(world.run_until([&] { return world.record_disk() != from; }, 30s));
  ASSERT_TRUE(moved_to(world.record_disk()));
  world.kill(1);
  world.boot(1);
  ASSERT_TRUE(enters(1));
  EXPECT_EQ(world.pair(1).status().arbitration, world.record_disk());
  world.heal(from);
  ASSERT_TRUE(all_well());
  EXPECT_TRUE(world.run_until([&] { return world.steps["old record retired"] > 0; }, 20s));
  world.kill(0);
  EXPECT_TRUE(soon(0, 1, 10s));
}

TEST_P(PairThatLacksADisk, AnotherDiskInPlaceOfOneThatWasAwayIsNotUsed) {
  begin();
  ASSERT_NO_FATAL_FAILURE(lose_disk(3));
  world.kill(1);
  world.boot(1);
  ASSERT_TRUE(enters(1));
  const std::uint64_t admitted = world.steps["late disk admitted"];
  world.exchange(3);
  world.heal(3);
  world.run_for(5s);
  EXPECT_EQ(world.steps["late disk refused"], 1U);
  EXPECT_EQ(world.steps["late disk admitted"], admitted);
  EXPECT_NE(world.answering(1), 1);
  ASSERT_TRUE(hands_over(0, 0)) << "the other filer has nothing to do with it";
}

}  // namespace
}  // namespace duet::pair
