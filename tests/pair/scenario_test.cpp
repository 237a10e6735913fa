// The pair, event by event: each test is one story that an operator could tell.

#include "pair_fixture.h"

namespace duet::pair {
namespace {

INSTANTIATE_TEST_SUITE_P(Seeds, Pair, ::testing::Range<std::uint64_t>(1, 21));

TEST_P(Pair, EachServesItsOwn) {
  begin();
  world.run_for(5s);
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  EXPECT_GT(world.oracle.filer(0).replies, 300U);
  EXPECT_EQ(world.steps["wait out the lease"], 0U);
  EXPECT_EQ(world.steps["conflict"], 0U);
}

TEST_P(Pair, AKilledNodeIsTakenOverAndItsFilerGivenBack) {
  begin();
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 3s));
  EXPECT_TRUE(served(1, 1));
  ASSERT_TRUE(world.pair(1).status().last_takeover.has_value());
  EXPECT_LT(world.pair(1).status().last_takeover->detect, 900ms);
  world.run_for(1s);
  world.boot(0);
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 10s));
  EXPECT_TRUE(served(0, 1)) << "giveback is the operator's";
  ASSERT_TRUE(world.run_until([&] { return world.pair(1).handover_vetoes(0).empty(); }, 5s));
  ASSERT_TRUE(world.pair(1).start_handover(0).ok());
  ASSERT_TRUE(soon(0, 0, 2s));
  EXPECT_EQ(world.steps["handed over"], 1U);
  world.run_for(2s);
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  EXPECT_EQ(world.steps["conflict"], 0U);
}

TEST_P(Pair, LastWordsMakeATakeoverAtOnce) {
  begin();
  world.kill(0);
  world.say_last_words(0, 0ms);
  const Instant killed = world.scheduler.now();
  ASSERT_TRUE(soon(0, 1, 3s));
  EXPECT_LT(world.scheduler.now() - killed, 500ms) << "no lease is waited for";
}

TEST_P(Pair, ARestartThatWasAnnouncedIsWaitedFor) {
  begin();
  const std::uint64_t swaps = world.steps["swap ownership"];
  world.kill(0);
  world.say_last_words(0, 3000ms);
  world.run_for(2s);
  EXPECT_EQ(world.steps["swap ownership"], swaps);
  world.boot(0);
  ASSERT_TRUE(soon(0, 0, 3s));
  EXPECT_TRUE(served(1, 1));
}

TEST_P(Pair, ARestartThatWasAnnouncedAndDoesNotComeIsNotWaitedForForever) {
  begin();
  world.kill(0);
  world.say_last_words(0, 1500ms);
  ASSERT_TRUE(soon(0, 1, 4s));
}

TEST_P(Pair, ANodeThatSleepsTooLongWakesAsNobody) {
  begin();
  world.process(0)->scheduler.freeze();
  ASSERT_TRUE(soon(0, 1, 4s));
  world.run_for(500ms);
  world.process(0)->scheduler.thaw();
  world.run_for(5s);
  EXPECT_TRUE(served(0, 1));
  EXPECT_GT(world.steps["conflict"], 0U);
  EXPECT_GT(world.steps["lose"], 0U);
  ASSERT_TRUE(world.run_until([&] { return world.pair(1).handover_vetoes(0).empty(); }, 10s));
  ASSERT_TRUE(world.pair(1).start_handover(0).ok());
  EXPECT_TRUE(soon(0, 0, 3s));
}

TEST_P(Pair, AShortSleepIsOnlyAPause) {
  begin();
  world.process(0)->scheduler.freeze();
  world.run_for(450ms);
  world.process(0)->scheduler.thaw();
  ASSERT_TRUE(soon(0, 0, 2s));
  world.run_for(2s);
  EXPECT_TRUE(served(0, 0));
}

TEST_P(Pair, ALostLinkMakesBothSoloAndNobodyIsTakenOver) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  world.run_for(5s);
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  EXPECT_GE(world.steps["solo mark"], 2U);
  const std::uint64_t replies = world.oracle.filer(0).replies;
  world.run_for(1s);
  EXPECT_GT(world.oracle.filer(0).replies, replies + 20);
  world.wire().heal(interconnect::Node::kA);
  world.wire().heal(interconnect::Node::kB);
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 10s));
  ASSERT_TRUE(world.run_until([&] { return world.steps["clear solo mark"] >= 2; }, 10s));
  world.run_for(500ms);
  world.kill(0);
  EXPECT_TRUE(soon(0, 1, 3s)) << "the mark is gone: a takeover is possible again";
}

TEST_P(Pair, ANodeThatDiesSoloIsNotTakenOver) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  world.run_for(3s);
  world.kill(0);
  world.run_for(8s);
  EXPECT_EQ(world.answering(0), -1);
  EXPECT_TRUE(served(1, 1));
  EXPECT_EQ(world.pair(1).status().verdict.alarm, failover::Alarm::kSoloPartner);
  EXPECT_FALSE(world.pair(1).takeover_vetoes().empty());
  world.boot(0);
  ASSERT_TRUE(soon(0, 0, 10s)) << "it alone has the last requests";
}

TEST_P(Pair, AForcedTakeoverIsAskedForTwice) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  world.run_for(3s);
  EXPECT_FALSE(world.pair(1).prepare_forced_takeover().ok()) << "the partner lives";
  world.kill(0);
  world.run_for(3s);
  const auto asked = world.pair(1).prepare_forced_takeover();
  ASSERT_TRUE(asked.ok());
  EXPECT_FALSE(world.pair(1).force_takeover(asked.value().number + 1).ok());
  const auto again = world.pair(1).prepare_forced_takeover();
  world.oracle.forgive(0);
  ASSERT_TRUE(world.pair(1).force_takeover(again.value().number).ok());
  EXPECT_TRUE(soon(0, 1, 5s));
}

TEST_P(Pair, AForcedTakeoverIsRefusedOncePartnerLivesAgain) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  world.run_for(3s);
  world.kill(0);
  world.run_for(3s);
  const auto asked = world.pair(1).prepare_forced_takeover();
  ASSERT_TRUE(asked.ok());
  world.boot(0);
  ASSERT_TRUE(soon(0, 0)) << "it alone has the last requests";
  world.run_for(300ms);  // its beats were seen
  EXPECT_FALSE(world.pair(1).force_takeover(asked.value().number).ok());
  world.run_for(5s);
  EXPECT_TRUE(served(0, 0)) << "it lives, and nothing of it is lost";
}

TEST_P(Pair, AForcedTakeoverThatFailedIsNotForTheNextLostLink) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  world.run_for(3s);
  world.kill(0);
  world.run_for(3s);
  const std::size_t away = world.record_disk() == 2 ? 1 : 2;
  world.path(1, away).cut();  // so it cannot be fenced
  const auto asked = world.pair(1).prepare_forced_takeover();
  ASSERT_TRUE(asked.ok());
  ASSERT_TRUE(world.pair(1).force_takeover(asked.value().number).ok());
  world.run_for(3s);
  world.boot(0);
  world.wire().heal(interconnect::Node::kA);
  world.wire().heal(interconnect::Node::kB);
  world.path(1, away).heal();
  ASSERT_TRUE(soon(0, 0, 90s));
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 90s));
  world.run_for(2s);
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  world.run_for(10s);
  EXPECT_TRUE(served(0, 0) && served(1, 1)) << "both are solo: what was asked for is long over";
}

TEST_P(Pair, AnUnreadableMemberForbidsTakeover) {
  begin();
  world.path(1, 1).cut();
  world.run_for(3s);
  EXPECT_EQ(world.pair(1).status().verdict.alarm, failover::Alarm::kMemberLost);
  EXPECT_FALSE(world.pair(1).takeover_vetoes().empty()) << "status says so beforehand";
  const mailbox::Owners before = world.owners();
  world.kill(0);
  world.run_for(5s);
  EXPECT_EQ(world.answering(0), -1);
  EXPECT_EQ(world.owners(), before);
  world.path(1, 1).heal();
  EXPECT_TRUE(soon(0, 1, 5s));
}

TEST_P(Pair, ANodeWhoseDisksPausedItAsksToBeTakenOver) {
  begin();
  world.path(0, 0).cut();
  world.path(0, 1).cut();
  ASSERT_TRUE(soon(0, 1, 10s));
  world.path(0, 0).heal();
  world.path(0, 1).heal();
  world.run_for(6s);
  EXPECT_TRUE(served(0, 1));
}

TEST_P(Pair, BothLosePowerAndBothComeBack) {
  begin();
  world.kill(0);
  world.kill(1);
  world.lose_power(0, false);
  world.lose_power(1, false);
  world.run_for(1s);
  world.boot(0);
  world.boot(1);
  ASSERT_TRUE(soon(0, 0, 20s) || served(0, 1));
  ASSERT_TRUE(world.run_until([&] { return world.answering(1) >= 0; }, 20s));
}

TEST_P(Pair, ABlankMemoryIsServedFromThePartnersCopy) {
  begin();
  world.kill(0);
  world.lose_power(0, true);
  world.boot(0);
  ASSERT_TRUE(world.run_until([&] { return world.answering(0) >= 0; }, 20s));
  EXPECT_TRUE(served(0, 1)) << "home has no log: it was given to who has one";
}

TEST_P(Pair, APlannedTakeoverIsAHandoverTheOtherWay) {
  begin();
  ASSERT_TRUE(world.run_until([&] { return world.pair(0).handover_vetoes(0).empty(); }, 5s));
  ASSERT_TRUE(world.pair(1).ask_for(0).ok());
  const Instant asked = world.scheduler.now();
  ASSERT_TRUE(soon(0, 1, 3s));
  EXPECT_LT(world.scheduler.now() - asked, 500ms);
  EXPECT_EQ(world.steps["wait out the lease"], 0U);
  EXPECT_EQ(world.steps["fence"], 0U);
}

TEST_P(Pair, AHandoverIsRefusedInWordsWhileThePartnerIsAway) {
  begin();
  world.kill(1);
  ASSERT_TRUE(soon(1, 0, 5s));
  const auto vetoes = world.pair(0).handover_vetoes(1);
  ASSERT_FALSE(vetoes.empty());
  EXPECT_TRUE(vetoes.front().hard);
  EXPECT_FALSE(vetoes.front().remedy.empty());
  // It may be back in a moment; then in words.
  ASSERT_TRUE(world.pair(0).start_handover(1).ok());
  ASSERT_TRUE(world.run_until([&] { return world.pair(0).status().filers[1].handovers == 1; }, 5s));
  EXPECT_FALSE(world.pair(0).status().filers[1].handover_error.empty());
  EXPECT_EQ(world.answering(1), 0);
}

// A node that stops and that nobody relieves leaves nothing to replay.
TEST_P(Pair, ANodeThatStopsAloneComesToRest) {
  begin();
  world.kill(1);
  ASSERT_TRUE(soon(1, 0, 5s));
  world.pair(0).leave();
  for (std::uint32_t filer = 0; filer < 2; ++filer) {
    world.pair(0).come_to_rest(filer);
    ASSERT_TRUE(world.run_until(
        [&] { return world.pair(0).status().filers[filer].state == failover::FilerState::kAway; },
        10s));
  }
  EXPECT_EQ(world.steps["replay"], 3U);
  world.kill(0);
  world.boot(0);
  ASSERT_TRUE(soon(0, 0, 10s));
}

// Rule 5, the second wait: the node woke after the wait and renewed before it was fenced.
TEST_P(Pair, ABeatBetweenWaitAndFenceIsWaitedOut) {
  begin();
  // In shared memory it writes on whatever is revoked.
  world.wire().stale_writer(interconnect::Node::kA, true);
  world.process(0)->scheduler.freeze();
  bool woken = false;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (!woken && node == 1 && step == "swap ownership") {
      woken = true;
      world.process(0)->scheduler.thaw();
    }
    // The beat needs some time to arrive.
    if (node == 1 && step == "fence") {
      world.process(1)->scheduler.freeze();
      world.at(20ms, [this] { world.process(1)->scheduler.thaw(); });
    }
  };
  ASSERT_TRUE(soon(0, 1, 5s));
  world.run_for(2s);
  EXPECT_TRUE(woken);
  EXPECT_EQ(world.steps["second wait"], 1U);
}

// Rule 5: a renewal that ends late is worth what is left from its start.
TEST_P(Pair, ALeaseDoesNotBeginWhenItsRenewalEnds) {
  begin();
  const auto beat = [this] { return world.shelf(0).data().block(mailbox::kBeatBlock); };
  const auto before = beat();
  ASSERT_TRUE(world.run_until([&] { return beat() != before; }, 1s));
  world.process(0)->scheduler.freeze();
  world.reads_only = true;  // a write that the partner does not take would hold the reads back too
  for (std::size_t i = 0; i < kDisks; ++i) {
    world.path(0, i).cut_there();
  }
  world.wire().cut(interconnect::Node::kA);
  world.run_for(450ms);
  world.process(0)->scheduler.thaw();
  EXPECT_TRUE(soon(0, 1, 5s));
  world.run_for(1s);
}

// The shortest time after which a partner may be taken over: its lease, by the slower clock.
TEST_P(Pair, ALeaseEndsBeforeItsWait) {
  begin();
  for (std::size_t i = 0; i < kDisks; ++i) {
    world.path(0, i).cut_there();
  }
  world.wire().cut(interconnect::Node::kA);
  EXPECT_TRUE(soon(0, 1, 5s));
  world.run_for(1s);
}

class PairWithoutEpochs : public Pair {
 protected:
  PairWithoutEpochs() : Pair(options()) {}
  static WorldOptions options() {
    WorldOptions options = drawn();
    options.epochs = false;
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, PairWithoutEpochs, ::testing::Range<std::uint64_t>(1, 21));

// Rule 3: it slept between the swap and the registration of its key; meanwhile another opened.
TEST_P(PairWithoutEpochs, AnOpeningThatSleptFindsOutThatItIsOver) {
  begin();
  world.kill(0);
  world.say_last_words(0, 3s);
  world.run_for(300ms);
  const std::uint64_t epoch = world.owners()[0].epoch;
  world.boot(0);
  ASSERT_TRUE(world.run_until([&] { return world.owners()[0].epoch > epoch; }, 5s));
  world.process(0)->scheduler.freeze();  // the swap's answer waits for it
  ASSERT_EQ(world.owners()[0].owner, 0U);
  // It wakes behind the other's fence and before the other's root: nothing but the record tells it.
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (node == 1 && step == "cut the partner off the log") {
      world.process(0)->scheduler.thaw();
      world.process(1)->scheduler.freeze();
      world.at(60ms, [this] { world.process(1)->scheduler.thaw(); });
    }
  };
  ASSERT_TRUE(soon(0, 1, 10s));
  world.process(0)->scheduler.thaw();
  world.run_for(3s);
  EXPECT_TRUE(served(0, 1));
}

TEST_P(PairWithoutEpochs, ANodeThatSleepsTooLongWakesAsNobody) {
  begin();
  world.process(0)->scheduler.freeze();
  ASSERT_TRUE(soon(0, 1, 4s));
  world.run_for(5s);
  EXPECT_TRUE(served(0, 1));
}

// --- Rule 2: a member is replaced.

TEST_P(Pair, AMemberIsReplacedAndBothNodesKnow) {
  begin();
  EXPECT_FALSE(world.pair(0).start_replacement(0, 1).ok()) << "a member already";
  EXPECT_FALSE(world.pair(0).start_replacement(0, 5).ok()) << "the partner's disk";
  EXPECT_FALSE(world.pair(1).start_replacement(1, 2).ok()) << "not its node";
  replace(0, 1, 2);
  ASSERT_TRUE(
      world.run_until([&] { return world.pair(1).status().members[0].generation == 1; }, 2s));
  EXPECT_EQ(world.pair(0).status().members[0].disks, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(world.pair(1).status().members[0].disks, (std::vector<std::size_t>{0, 2}));
  // The one that was replaced counts no more, and the new one does.
  world.path(1, 1).cut();
  world.run_for(1s);
  EXPECT_EQ(world.pair(1).status().evidence.mailbox, failover::MailboxEvidence::kBoth);
  world.path(1, 1).heal();
  world.path(1, 2).cut();
  world.run_for(1s);
  EXPECT_EQ(world.pair(1).status().evidence.mailbox, failover::MailboxEvidence::kOne);
  world.path(1, 2).heal();
  world.run_for(500ms);
  world.kill(0);
  EXPECT_TRUE(soon(0, 1, 3s));
}

TEST_P(Pair, AMemberThatFailedIsReplaced) {
  begin();
  replace(0, 0, 2);
  world.path(0, 2).cut();
  world.path(1, 2).cut();
  ASSERT_TRUE(world.run_until(
      [&] { return world.pair(1).status().verdict.alarm == failover::Alarm::kMemberLost; }, 3s));
  replace(0, 2, 0);
  ASSERT_TRUE(world.run_until(
      [&] { return world.pair(1).status().evidence.mailbox == failover::MailboxEvidence::kBoth; },
      3s));
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  world.path(0, 2).heal();
  world.path(1, 2).heal();
  world.run_for(3s);
  world.kill(0);
  EXPECT_TRUE(soon(0, 1, 5s));
}

TEST_P(Pair, AfterARestartTheDisksSayWhichMembersCount) {
  begin();
  replace(0, 0, 2);
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 5s));
  world.kill(1);
  world.boot(0);
  world.boot(1);
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 20s));
  for (const std::uint32_t node : {0U, 1U}) {
    EXPECT_EQ(world.pair(node).status().members[0].disks, (std::vector<std::size_t>{2, 1}));
    EXPECT_EQ(world.pair(node).status().members[1].generation, 0U);
  }
  EXPECT_GT(world.events["the mailbox members differ from the configuration; what is on the disks "
                         "counts"],
            0U);
}

// Interrupted at each step: the root decides, and whoever did not know finds out.
TEST_P(Pair, AReplacementMayEndAnywhere) {
  begin();
  const std::array<std::string_view, 3> steps{"replace a member", "members into the root",
                                              "member replaced"};
  const std::string_view at = steps[GetParam() % steps.size()];
  bool killed = false;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (!killed && step == at) {
      killed = true;
      if (GetParam() % 2 == 0) {
        world.kill_soon(node);
      } else {
        const Duration later = std::chrono::microseconds(world.scheduler.random().below(3000));
        world.at(later, [this, node] { world.kill_soon(node); });
      }
    }
  };
  ASSERT_TRUE(start_replacement(0, 1, 2));
  EXPECT_TRUE(soon(0, 1, 15s)) << at;
  EXPECT_TRUE(killed) << at;
  world.run_for(200ms);
  if (world.process(0) == nullptr) {
    world.boot(0);
  }
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 20s));
  EXPECT_EQ(world.pair(0).status().members[0].disks, world.pair(1).status().members[0].disks);
  EXPECT_EQ(world.pair(0).status().members[0].generation,
            world.pair(1).status().members[0].generation);
}

// Rule 2: the taker watched members that count no more.  It finds the newer generation in the root,
// stops, learns, and then takes over.
TEST_P(Pair, ATakeoverThatFindsNewerMembersStops) {
  begin();
  bool killed = false;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (node == 0 && step == "members into the root") {
      // Nothing that node a says from here on gets to node b.
      world.wire().cut(interconnect::Node::kA);
      world.path(1, 0).cut_back();
      world.path(1, 1).cut_back();
    }
    if (!killed && node == 0 && step == "member replaced") {
      killed = true;
      world.kill_soon(0);
    }
  };
  ASSERT_TRUE(start_replacement(0, 1, 2));
  ASSERT_TRUE(world.run_until([&] { return killed && world.process(0) == nullptr; }, 5s));
  for (const std::size_t i : {0, 1}) {
    world.path(1, i).heal();
  }
  EXPECT_TRUE(soon(0, 1, 15s));
  EXPECT_EQ(world.pair(1).status().members[0].disks, (std::vector<std::size_t>{0, 2}));
}

// Until the root says so the partner watches the old members: beats that reach a new one alone are
// no life.
TEST_P(Pair, BeatsOnANewMemberAloneDoNotCountBeforeTheRootSaysSo) {
  begin();
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (node == 0 && step == "members into the root") {
      world.reads_only = true;
      world.wire().cut(interconnect::Node::kA);
      world.path(0, 0).cut_there();
      world.path(0, 1).cut_there();
    }
  };
  ASSERT_TRUE(start_replacement(0, 1, 2));
  EXPECT_TRUE(soon(0, 1, 10s));
  world.run_for(2s);
  world.path(0, 0).heal();
  world.path(0, 1).heal();
  world.wire().heal(interconnect::Node::kA);
  world.run_for(3s);
  EXPECT_TRUE(served(0, 1));
}

// --- Rule 3: the owner record moves.

TEST_P(Pair, TheOwnerRecordMovesToAnotherDisk) {
  begin();
  const std::size_t from = world.record_disk();
  const std::size_t to = free_disk();
  EXPECT_FALSE(world.pair(0).start_move(from).ok());
  EXPECT_FALSE(world.pair(0).start_move(from == 0 ? 1 : 0).ok()) << "a member";
  ASSERT_TRUE(world.pair(GetParam() % 2).start_move(to).ok());
  ASSERT_TRUE(moved_to(to));
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  world.path(0, from).cut();
  world.path(1, from).cut();
  world.run_for(2s);
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  world.path(0, from).heal();
  world.path(1, from).heal();
  ASSERT_TRUE(world.run_until([&] { return world.steps["old record retired"] > 0; }, 20s));
  world.kill(0);
  EXPECT_TRUE(soon(0, 1, 5s));
}

TEST_P(Pair, AnOwnerRecordWhoseDiskFailsMovesByItself) {
  begin();
  const std::size_t from = world.record_disk();
  const mailbox::Owners owners = world.owners();
  world.path(0, from).cut();
  world.path(1, from).cut();
  ASSERT_TRUE(world.run_until([&] { return world.record_disk() != from; }, 30s));
  EXPECT_EQ(world.owners(), owners);
  ASSERT_TRUE(moved_to(world.record_disk()));
  // It comes back with the record that it had: both restart, and nobody believes it.
  const std::size_t now = world.record_disk();
  world.kill(0);
  world.kill(1);
  world.path(0, from).heal();
  world.path(1, from).heal();
  world.boot(0);
  world.boot(1);
  ASSERT_TRUE(
      world.run_until([&] { return world.answering(0) >= 0 && world.answering(1) >= 0; }, 20s));
  EXPECT_EQ(world.pair(0).status().arbitration, now);
  EXPECT_EQ(world.pair(1).status().arbitration, now);
  EXPECT_GT(world.events["the owner record is on another disk than the configuration says"], 0U);
  EXPECT_GT(world.owners()[0].epoch, owners[0].epoch);
}

TEST_P(Pair, ALoneNodeMovesNoRecord) {
  begin();
  const std::size_t from = world.record_disk();
  world.kill(1);
  world.path(0, from).cut();
  world.run_for(8s);
  EXPECT_EQ(world.record_disk(), from);
  EXPECT_FALSE(world.pair(0).takeover_vetoes().empty()) << "loudly";
  EXPECT_GT(world.events["the owner record cannot be read, and there is no disk to move it to"],
            0U);
}

// Interrupted on either node at each step: one record counts, and it forgets nothing.
TEST_P(Pair, AMoveMayEndAnywhere) {
  begin();
  const std::array<std::string_view, 5> steps{"move the record", "ask to move the record",
                                              "agree to move the record", "put the record",
                                              "record moved"};
  const std::string_view at = steps[GetParam() % steps.size()];
  const bool freeze = GetParam() % 3 == 0;
  bool done = false;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (done || step != at) {
      return;
    }
    done = true;
    if (freeze) {
      world.process(node)->scheduler.freeze();
      world.at(4s, [this, node] { world.process(node)->scheduler.thaw(); });
    } else {
      world.kill_soon(node);
    }
  };
  world.auto_restart = true;
  ASSERT_TRUE(world.pair(0).start_move(free_disk()).ok());
  world.run_for(5s);
  EXPECT_TRUE(done) << at;
  EXPECT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 30s)) << at;
  ASSERT_TRUE(world.process(0) != nullptr && world.process(1) != nullptr);
  EXPECT_TRUE(world.run_until(
      [&] {
        return world.pair(0).status().arbitration == world.record_disk() &&
               world.pair(1).status().arbitration == world.record_disk();
      },
      10s));
  EXPECT_TRUE(world.run_until(
      [&] { return !world.pair(0).status().moving && !world.pair(1).status().moving; }, 10s));
}

// It agreed, slept, and was taken over by the record where it is now: the old one, which still
// names it, is no excuse.
TEST_P(Pair, WhoAgreedAndSleptDoesNotBelieveTheOldRecord) {
  begin();
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (node == 0 && step == "put the record") {
      world.process(1)->scheduler.freeze();
    }
  };
  ASSERT_TRUE(world.pair(0).start_move(free_disk()).ok());
  ASSERT_TRUE(soon(1, 0, 8s));
  world.process(1)->scheduler.thaw();
  world.run_for(3s);
  EXPECT_TRUE(served(1, 0));
  EXPECT_GT(world.steps["lose"], 0U);
}

// It agreed, died, and its next process goes by the promise: else the record where it is going
// would forget what was swapped meanwhile where it was.
TEST_P(Pair, AnAgreementOutlivesTheProcessThatGaveIt) {
  begin();
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (node != 1 || step != "agree to move the record") {
      return;
    }
    world.process(0)->scheduler.freeze();
    world.at(30ms, [this] { world.kill(1); });
    world.at(40ms, [this] { world.boot(1); });
    world.at(450ms, [this] { world.process(0)->scheduler.thaw(); });
  };
  const std::uint64_t epoch = world.owners()[1].epoch;
  ASSERT_TRUE(world.pair(0).start_move(free_disk()).ok());
  ASSERT_TRUE(world.run_until([&] { return world.owners()[1].epoch > epoch; }, 10s));
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 20s));
}

// --- Rule 11: giveback by itself.

class PairThatGivesBack : public Pair {
 protected:
  PairThatGivesBack() : Pair(options()) {}
  static WorldOptions options() {
    WorldOptions options = drawn();
    options.automatic_giveback = true;
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, PairThatGivesBack, ::testing::Range<std::uint64_t>(1, 11));

TEST_P(PairThatGivesBack, AFilerGoesHomeWhenItsNodeIsBack) {
  begin();
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 5s));
  world.run_for(1s);
  world.boot(0);
  ASSERT_TRUE(soon(0, 0, 20s));
  EXPECT_EQ(world.steps["automatic giveback"], 1U);
}

TEST_P(PairThatGivesBack, AFilerThatTheOperatorMovedStays) {
  begin();
  ASSERT_TRUE(world.run_until([&] { return world.pair(0).handover_vetoes(0).empty(); }, 5s));
  ASSERT_TRUE(world.pair(1).ask_for(0).ok());
  ASSERT_TRUE(soon(0, 1, 3s));
  world.run_for(10s);
  EXPECT_TRUE(served(0, 1));
  EXPECT_FALSE(world.pair(1).status().giveback.empty());
}

TEST_P(PairThatGivesBack, ItTiresSoonAndSaysSo) {
  begin();
  for (int i = 0; i < 3; ++i) {
    world.kill(0);
    ASSERT_TRUE(soon(0, 1, 10s));
    world.boot(0);
    ASSERT_TRUE(soon(0, 0, 30s)) << i;
    ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 10s));
    world.run_for(1s);
  }
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 10s));
  world.boot(0);
  world.run_for(20s);
  EXPECT_TRUE(served(0, 1));
  EXPECT_EQ(world.steps["automatic giveback stops"], 1U);
  ASSERT_TRUE(world.pair(1).start_handover(0).ok()) << "the operator's word counts";
  EXPECT_TRUE(soon(0, 0, 5s));
}

// --- What an operator is told, and when.

TEST_P(Pair, AnIsolatedNodeSaysSoWhenItsLeaseIsOver) {
  begin();
  for (std::size_t i = 0; i < kDisks; ++i) {
    world.path(0, i).cut();
  }
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  ASSERT_TRUE(world.run_until([&] { return world.steps["lease lapsed"] > 0; }, 800ms));
  ASSERT_TRUE(world.run_until(
      [&] { return world.pair(0).status().verdict.alarm == failover::Alarm::kMailboxBlind; },
      700ms));
  EXPECT_FALSE(world.pair(0).status().lease_valid);
}

// Without the disk its filer cannot be served by anybody; the other filer has nothing to do with
// it.
TEST_P(Pair, ADiskThatIsGoneForGoodKeepsNoOtherFilerFromBeingTakenOver) {
  begin();
  const std::size_t gone = world.record_disk() == 1 ? 0 : 1;
  world.kill_shelf(gone);
  world.run_for(1s);
  EXPECT_FALSE(takeover_veto(0, "cannot be reached"));
  EXPECT_TRUE(takeover_veto(1, "cannot be reached"));
  ASSERT_TRUE(world.pair(1).start_handover(1).ok());
  ASSERT_TRUE(soon(1, 0, 5s)) << "there";
  ASSERT_TRUE(world.run_until([&] { return world.synced(1); }, 10s));
  ASSERT_TRUE(world.pair(0).start_handover(1).ok());
  ASSERT_TRUE(soon(1, 1, 5s)) << "and back";
  ASSERT_TRUE(world.run_until([&] { return world.synced(1); }, 10s));
  world.kill(1);
  ASSERT_TRUE(soon(1, 0, 5s));
  world.start_shelf(gone);
  world.boot(1);
  EXPECT_TRUE(soon(0, 0, 20s));
  ASSERT_TRUE(world.run_until([&] { return world.pair(0).handover_vetoes(1).empty(); }, 10s));
  ASSERT_TRUE(world.pair(0).start_handover(1).ok());
  EXPECT_TRUE(soon(1, 1, 5s));
}

TEST_P(Pair, OfTwoFilersTheOneWithAllItsDisksIsTakenOverAtOnceAndTheOtherWhenItHasThem) {
  begin();
  ASSERT_TRUE(world.run_until([&] { return world.pair(0).handover_vetoes(0).empty(); }, 5s));
  ASSERT_TRUE(world.pair(0).start_handover(0).ok());
  ASSERT_TRUE(soon(0, 1, 5s));
  ASSERT_TRUE(world.run_until([&] { return world.synced(0) && world.synced(1); }, 10s));
  world.run_for(500ms);  // until no mark stands on the disk
  const std::size_t gone = world.record_disk() == 1 ? 0 : 1;
  world.kill_shelf(gone);
  world.run_for(300ms);
  world.kill(1);
  ASSERT_TRUE(soon(1, 0, 5s));
  EXPECT_NE(world.answering(0), 0);
  world.start_shelf(gone);
  EXPECT_TRUE(soon(0, 0, 60s));
  EXPECT_EQ(world.answering(1), 0);
}

TEST_P(Pair, ATakeoverThatIsRefusedAgainAndAgainWaitsLonger) {
  begin();
  // The mark is on one member only, and node b comes to see that one behind the fence only.
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  ASSERT_TRUE(world.run_until([&] { return world.steps["solo mark"] >= 2; }, 5s));
  world.run_for(200ms);
  world.kill(0);
  world.say_last_words(0, 0ms);
  world.lose_power(0, true);
  world.boot(0);
  world.run_for(20s);
  const std::uint64_t in_twenty = world.steps["refuse"];
  world.run_for(20s);
  EXPECT_LE(world.steps["refuse"], in_twenty + 6);
}

// Interrupted at each of its steps, on either node: someone serves, and nothing is lost.
TEST_P(Pair, AGivebackMayEndAnywhere) {
  const std::array<std::string_view, 9> steps{
      "settle",       "ask to prepare", "commit",
      "handed over",  "lose",           "open what was handed over",
      "raise epochs", "replay",         "serve"};
  const std::string_view at = steps[GetParam() % steps.size()];
  begin();
  ASSERT_TRUE(world.run_until([&] { return world.pair(0).handover_vetoes(0).empty(); }, 5s));
  bool killed = false;
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (!killed && step == at) {
      killed = true;
      world.kill_soon(node);
    }
  };
  world.auto_restart = true;
  ASSERT_TRUE(world.pair(0).start_handover(0).ok());
  world.run_for(3s);
  EXPECT_TRUE(killed) << at;
  EXPECT_TRUE(
      world.run_until([&] { return world.answering(0) >= 0 && world.answering(1) >= 0; }, 20s))
      << at;
}

}  // namespace
}  // namespace duet::pair
