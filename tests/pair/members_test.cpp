// Who is a mailbox member, where the nodes' configurations, or the disks' labels, say different
// things (rule 2).

#include "pair_fixture.h"

namespace duet::pair {
namespace {

constexpr std::string_view kDiffers = "do not go by the same mailbox members";

class PairOfTwoMinds : public Pair {
 protected:
  explicit PairOfTwoMinds(bool groups = false) : Pair(options(groups)) {}
  // The record is where neither node's members are, whichever configuration is right.
  static WorldOptions options(bool groups) {
    WorldOptions options = drawn();
    options.groups = groups;
    options.arbitration = 2;
    return options;
  }
  // As after `replace` and a restart of node a alone: it takes disk 5 for a member of b, not 3.
  void begin_misconfigured() {
    world.misconfigure(0, 3, 5);
    begin();
    ASSERT_TRUE(world.run_until([&] { return told() == 2; }, 10s));
    ASSERT_TRUE(takeover_veto(0, kDiffers) && takeover_veto(1, kDiffers));
  }
  std::uint64_t told() { return world.steps["members differ"]; }
  void cut_link() {
    world.wire().cut(interconnect::Node::kA);
    world.wire().cut(interconnect::Node::kB);
  }
  void heal_link() {
    world.wire().heal(interconnect::Node::kA);
    world.wire().heal(interconnect::Node::kB);
  }
  void configure_and_check() {
    world.configure(0);
    world.kill(0);
    world.boot(0);
    ASSERT_TRUE(all_well());
    EXPECT_TRUE(world.run_until(
        [&] { return !takeover_veto(0, kDiffers) && !takeover_veto(1, kDiffers); }, 5s));
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, PairOfTwoMinds, ::testing::Range<std::uint64_t>(1, 21));

// It beats on disk 3 alone then, of which node a does not know that it counts.
TEST_P(PairOfTwoMinds, ANodeThatBeatsElsewhereIsNotTakenOver) {
  ASSERT_NO_FATAL_FAILURE(begin_misconfigured());
  const std::uint64_t waits = world.steps["wait out the lease"];
  cut_link();
  world.path(1, 4).cut();
  world.run_for(1500ms);
  EXPECT_TRUE(world.pair(1).status().lease_valid);
  EXPECT_EQ(world.steps["wait out the lease"], waits);
  EXPECT_NE(world.answering(1), 0);
  world.path(1, 4).heal();
  heal_link();
  ASSERT_TRUE(all_well());
  ASSERT_NO_FATAL_FAILURE(configure_and_check());
  world.run_for(1s);
  world.kill(1);
  EXPECT_TRUE(soon(1, 0, 5s)) << "they agree again";
}

TEST_P(PairOfTwoMinds, WhoseLastWordsAreThereIsTakenOverAllTheSame) {
  ASSERT_NO_FATAL_FAILURE(begin_misconfigured());
  world.kill(1);
  world.say_last_words(1, 0ms);
  EXPECT_TRUE(soon(1, 0, 5s));
}

class GroupOfTwoMinds : public PairOfTwoMinds {
 protected:
  GroupOfTwoMinds() : PairOfTwoMinds(/*groups=*/true) {}
};
INSTANTIATE_TEST_SUITE_P(Seeds, GroupOfTwoMinds, ::testing::Range<std::uint64_t>(1, 11));

// Neither knows where the other's lease is, so none of them goes on alone.
TEST_P(GroupOfTwoMinds, NoneOfThemGoesOnWhenTheyDoNotHearEachOther) {
  ASSERT_NO_FATAL_FAILURE(begin_misconfigured());
  cut_link();
  world.run_for(4s);
  EXPECT_EQ(world.steps["arbitrate"], 0U);
  EXPECT_EQ(world.steps["fence"], 0U);
  heal_link();
  ASSERT_TRUE(all_well());
  ASSERT_NO_FATAL_FAILURE(configure_and_check());
}

class PairWithNewLabels : public Pair {
 protected:
  explicit PairWithNewLabels(bool groups = false) : Pair(options(groups)) {}
  // Disk 2 is to become a member.
  static WorldOptions options(bool groups) {
    WorldOptions options = drawn();
    options.groups = groups;
    options.arbitration = 5;
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, PairWithNewLabels, ::testing::Range<std::uint64_t>(1, 11));

// What the root and the disks say counts, and never the configuration in its place.
TEST_P(PairWithNewLabels, AMemberThatTheConfigurationLacksIsWaitedFor) {
  begin();
  replace(0, 0, 2);
  world.kill(0);
  world.kill(1);
  world.exchange(2);
  world.boot(0);
  world.boot(1);
  world.run_for(6s);
  EXPECT_FALSE(entered(0) || entered(1));
  EXPECT_EQ(world.events["this node cannot start: by what the disks say one that its configuration "
                         "lacks is a mailbox member"],
            2U);
  world.kill(0);
  world.kill(1);
  world.exchange(2, false);
  world.boot(0);
  world.boot(1);
  ASSERT_TRUE(all_well());
  EXPECT_EQ(world.pair(1).status().members[0].disks, (std::vector<std::size_t>{2, 1}));
}

class GroupWithNewLabels : public PairWithNewLabels {
 protected:
  GroupWithNewLabels() : PairWithNewLabels(/*groups=*/true) {}
};
INSTANTIATE_TEST_SUITE_P(Seeds, GroupWithNewLabels, ::testing::Range<std::uint64_t>(1, 11));

TEST_P(GroupWithNewLabels, ALabelThatChangedIsToldToWhoStartsWithoutADisk) {
  begin();
  const std::size_t gone = GetParam() % kDisks;  // also the record's
  world.exchange((gone + 1) % kDisks);
  world.kill(1);
  world.path(1, gone).cut();
  world.boot(1);
  EXPECT_TRUE(enters(1));
  world.path(1, gone).heal();
  ASSERT_TRUE(all_well());
}

TEST_P(GroupWithNewLabels, AMemberWhoseLabelChangedIsKnownByThePartner) {
  begin();
  replace(0, 0, 2);
  ASSERT_TRUE(
      world.run_until([&] { return world.pair(1).status().members[0].generation == 1; }, 2s));
  world.exchange(2);
  world.kill(0);
  world.run_for(2s);
  world.boot(0);
  ASSERT_TRUE(enters(0));
  EXPECT_EQ(world.pair(0).status().members[0].disks, (std::vector<std::size_t>{2, 1}));
  ASSERT_TRUE(all_well());
  EXPECT_EQ(world.steps["members differ"], 0U);
}

}  // namespace
}  // namespace duet::pair
