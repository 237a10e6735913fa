// The pair on a redundancy group that both nodes manage (failover/shared_groups.h).

#include "pair_fixture.h"
#include "sim/sim_entropy.h"

namespace duet::pair {
namespace {

class PairOnAGroup : public Pair {
 protected:
  PairOnAGroup() : Pair(options()) {}
  static WorldOptions options() {
    WorldOptions options = drawn();
    options.groups = true;
    return options;
  }
  [[nodiscard]] bool shared(Duration limit = 10s) {
    return world.run_until([this] { return world.sharing() == 2; }, limit);
  }
  [[nodiscard]] failover::GroupsState state(std::uint32_t node) {
    return world.process(node)->groups->state();
  }
  // A disk that is no member of a mailbox, and does not have the record.
  [[nodiscard]] std::size_t plain_disk() {
    for (std::size_t each = 0;; ++each) {
      bool plain = each != world.record_disk();
      for (const std::uint32_t node : {0U, 1U}) {
        const std::vector<std::size_t> members = world.pair(node).status().members[node].disks;
        plain = plain && std::ranges::find(members, each) == members.end();
      }
      if (plain) {
        return each;
      }
    }
  }
  [[nodiscard]] raid::DiskState disk(std::uint32_t node, std::size_t number) {
    const auto& group = *world.process(node)->groups->all().front();
    return group.managed()
               ? static_cast<raid::DiskState>(group.group().status().label.members[number].state)
               : raid::DiskState::kRebuilding;
  }
  // To its end, while all else goes on.
  void run_task(std::uint32_t node, Task<void> task) {
    TaskScope scope(world.process(node)->scheduler);
    scope.spawn(std::move(task));
    ASSERT_TRUE(world.run_until([&] { return scope.idle(); }, 60s));
  }
  [[nodiscard]] bool takes_back(std::uint32_t node, std::uint32_t number) {
    bool taken = false;
    run_task(node, take_back(*world.process(node)->groups->all().front(), number, taken));
    return taken;
  }
  // Another disk in its place, behind the same path.
  [[nodiscard]] std::string replaces(std::uint32_t node, std::uint32_t number) {
    groups::ManagedGroup& group = *world.process(node)->groups->all().front();
    run_task(node, keep_out(group, number));
    EXPECT_EQ(disk(node, number), raid::DiskState::kFailed);
    sim::SimEntropy entropy(GetParam());
    std::string wrong = "not done";
    run_task(node, replace(group, number, entropy, wrong));
    return wrong;
  }
  // So that what is checked behind this is the group's own doing.
  void expect_sound() {
    ASSERT_TRUE(all_well());
    ASSERT_TRUE(shared());
    EXPECT_EQ(world.scrub(), "");
  }

 private:
  static Task<void> take_back(const groups::ManagedGroup& group, std::uint32_t number,
                              bool& taken) {
    const Status done = co_await group.group().take_back(number);
    taken = done.ok();
  }
  static Task<void> keep_out(const groups::ManagedGroup& group, std::uint32_t number) {
    const Status done = co_await group.group().keep_out(number);
    EXPECT_TRUE(done.ok());
  }
  static Task<void> replace(groups::ManagedGroup& group, std::uint32_t number, Entropy& entropy,
                            std::string& wrong) {
    const auto open = [](const config::Disk&) -> Result<std::unique_ptr<BlockDevice>> {
      return Error{Errc::kRefused, "it is configured"};
    };
    wrong = co_await group.replace(number, std::to_string(number), /*force=*/true, open, entropy);
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, PairOnAGroup, ::testing::Range<std::uint64_t>(1, 21));

TEST_P(PairOnAGroup, EachServesItsOwn) {
  begin();
  world.run_for(3s);
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  EXPECT_GT(world.oracle.filer(0).replies, 200U);
  EXPECT_EQ(world.steps["fence"], 0U);
  expect_sound();
}

TEST_P(PairOnAGroup, AKilledNodeIsTakenOverAndItsFilerGivenBack) {
  begin();
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 3s));
  EXPECT_TRUE(served(1, 1));
  EXPECT_EQ(state(1), failover::GroupsState::kAlone);
  world.run_for(1s);
  world.boot(0);
  ASSERT_TRUE(shared());
  ASSERT_TRUE(hands_over(0, 1));
  expect_sound();
}

// What node a writes waits for node b's memory, although b serves nothing.
TEST_P(PairOnAGroup, ADeadPartnerThatServedNothingIsShutOut) {
  begin();
  ASSERT_TRUE(hands_over(1, 1));
  const std::uint64_t before = world.oracle.filer(0).replies;
  const std::uint64_t swaps = world.steps["swap ownership"];
  world.kill(1);
  ASSERT_TRUE(world.run_until([&] { return state(0) == failover::GroupsState::kAlone; }, 5s));
  EXPECT_TRUE(served(0, 0) && served(1, 0));
  world.run_for(2s);
  EXPECT_GT(world.oracle.filer(0).replies, before + 100);
  EXPECT_EQ(world.steps["swap ownership"], swaps) << "nobody became another filer's owner";
  world.boot(1);
  expect_sound();
}

// Both live; what either writes waits for the other.  Node a goes on, node b ends.
TEST_P(PairOnAGroup, OfTwoThatDoNotHearEachOtherOneGoesOn) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  ASSERT_TRUE(soon(1, 0, 5s));
  ASSERT_TRUE(soon(0, 0, 5s));
  EXPECT_EQ(world.steps["arbitrate"], 1U);
  EXPECT_GE(world.steps["halt"], 1U);
  world.run_for(5s);
  EXPECT_TRUE(served(0, 0) && served(1, 0)) << "b is there again, and asks for nothing";
  EXPECT_EQ(world.steps["arbitrate"], 1U);
  world.wire().heal(interconnect::Node::kA);
  world.wire().heal(interconnect::Node::kB);
  ASSERT_TRUE(shared());
  ASSERT_TRUE(hands_over(1, 0));
  expect_sound();
}

// A log's patience is shorter than the watch's.  Were both marked solo by then, neither could take
// over the other, and nobody would be served until the link is back.
TEST_P(PairOnAGroup, OfTwoThatDoNotHearEachOtherNoneGoesSoloBeforeOneHasWon) {
  begin();
  world.wire().reset();
  ASSERT_TRUE(world.run_until([&] { return !world.wire().up(); }, 10ms));
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  ASSERT_TRUE(soon(1, 0, 5s));
  ASSERT_TRUE(soon(0, 0, 5s));
  world.wire().heal(interconnect::Node::kA);
  world.wire().heal(interconnect::Node::kB);
  expect_sound();
}

// The loop waits for a consistency point then, and that for the dead node's memory.
TEST_P(PairOnAGroup, ThePartnerMayDieWhileItsFilerIsGivenBack) {
  begin();
  ASSERT_TRUE(hands_over(0, 0));
  world.on_step = [&](std::uint32_t node, std::string_view step) {
    if (node == 1 && step == "ask to prepare") {
      world.kill_soon(0);
    }
  };
  ASSERT_TRUE(world.run_until([&] { return world.pair(1).start_handover(0).ok(); }, 5s));
  ASSERT_TRUE(world.run_until([&] { return world.process(0) == nullptr; }, 10s));
  world.on_step = {};
  world.run_for(1s);
  EXPECT_TRUE(soon(0, 1) && served(1, 1));
  EXPECT_EQ(state(1), failover::GroupsState::kAlone);
  world.boot(0);
  expect_sound();
}

// It lives, is heard, and lacks more disks than the group can lose.
TEST_P(PairOnAGroup, WhoComesToManageNoGroupIsNotWaitedFor) {
  const std::array<std::size_t, 2> lacked = {0, 1};
  for (const std::size_t disk : lacked) {
    world.path(1, disk).cut();
  }
  world.boot(0);
  world.boot(1);
  EXPECT_TRUE(soon(0, 0, 100s));
  EXPECT_GE(world.steps["exclude who does not manage"], 1U);
  for (const std::size_t disk : lacked) {
    world.path(1, disk).heal();
  }
  ASSERT_TRUE(all_well());
}

// By the labels it was the last, so the other cannot have gone on.
TEST_P(PairOnAGroup, WhoWentOnAloneMayStartAgainBeforeTheyHearEachOther) {
  begin();
  world.wire().cut(interconnect::Node::kA);
  world.wire().cut(interconnect::Node::kB);
  ASSERT_TRUE(soon(1, 0, 5s));
  ASSERT_TRUE(soon(0, 0, 5s));
  world.run_for(2s);
  world.kill(0);
  world.boot(0);
  EXPECT_TRUE(soon(0, 0, 60s));
  world.wire().heal(interconnect::Node::kA);
  world.wire().heal(interconnect::Node::kB);
  expect_sound();
}

TEST_P(PairOnAGroup, ALinkThatIsResetCostsNobodyAnything) {
  begin();
  for (int i = 0; i < 5; ++i) {
    world.wire().reset();
    world.run_for(300ms);
  }
  EXPECT_TRUE(served(0, 0) && served(1, 1));
  EXPECT_EQ(world.steps["fence"], 0U);
  expect_sound();
}

// It was fenced while it slept, and its intents were carried out: it must write no more.
TEST_P(PairOnAGroup, ANodeThatSleepsTooLongWakesAndEnds) {
  begin();
  world.process(0)->scheduler.freeze();
  ASSERT_TRUE(soon(0, 1, 5s));
  world.run_for(1s);
  world.process(0)->scheduler.thaw();
  ASSERT_TRUE(world.run_until([&] { return world.steps["halt"] > 0; }, 5s));
  expect_sound();
}

Task<void> remove_key(shelf::SharedDisk& disk, shelf::DiskKey key) {
  const Status removed = co_await disk.preempt_and_abort(key, shelf::Reservation::kWriteExclusive);
  EXPECT_TRUE(removed.ok());
}

// A takeover that was given up has removed it from a disk that nobody has written since.
TEST_P(PairOnAGroup, WhoseKeyIsGoneFindsOutWhenItOpensAFiler) {
  begin();
  ASSERT_TRUE(hands_over(1, 1));
  const std::size_t disk = GetParam() % kDisks;
  {
    TaskScope scope(world.process(0)->scheduler);
    scope.spawn(remove_key(*world.process(0)->disks[disk], world.process(1)->disks[disk]->key()));
    ASSERT_TRUE(world.run_until([&] { return scope.idle(); }, 1s));
  }
  const Status asked = world.pair(0).start_handover(1);
  static_cast<void>(asked);  // node b may have found out by then
  ASSERT_TRUE(world.run_until([&] { return world.steps["halt"] > 0; }, 10s));
  expect_sound();
}

TEST_P(PairOnAGroup, BothLosePowerAndBothComeBack) {
  begin();
  world.run_for(1s);
  for (const std::uint32_t node : {0U, 1U}) {
    world.kill(node);
    world.lose_power(node, false);
  }
  world.run_for(1s);
  world.boot(1);
  world.run_for(std::chrono::milliseconds(GetParam() * 70));
  world.boot(0);
  expect_sound();
}

TEST_P(PairOnAGroup, ABlankMemoryIsServedFromThePartnersCopy) {
  begin();
  world.kill(0);
  world.lose_power(0, true);
  world.boot(0);
  expect_sound();
}

// A disk fails, then a node; the other computes what was on the disk.
TEST_P(PairOnAGroup, ADegradedGroupIsTakenOver) {
  begin();
  const auto disk = static_cast<std::uint32_t>(GetParam() % kDisks);
  world.process(1)->groups->all().front()->group().disk_failed(disk);
  world.run_for(500ms);
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 5s));
  world.boot(0);
  ASSERT_TRUE(all_well());
  EXPECT_TRUE(shared());
}

// Longer than it is waited for.
TEST_P(PairOnAGroup, ADiskThatWasOutOfReachIsUsedAgain) {
  begin();
  const std::size_t lost = plain_disk();
  for (const std::uint32_t node : {0U, 1U}) {
    world.path(node, lost).cut();
  }
  ASSERT_TRUE(world.run_until([&] { return disk(0, lost) == raid::DiskState::kFailed; }, 100s));
  world.run_for(1s);
  for (const std::uint32_t node : {0U, 1U}) {
    world.path(node, lost).heal();
    world.run_for(std::chrono::milliseconds(GetParam() * 100));
  }
  ASSERT_TRUE(world.run_until([&] { return disk(1, lost) == raid::DiskState::kInSync; }, 60s));
  expect_sound();
}

// And the dead one does not come back.
TEST_P(PairOnAGroup, ADiskThatOnlyTheDeadDidNotReachIsUsedAgain) {
  begin();
  const std::size_t lost = plain_disk();
  world.path(0, lost).cut();
  ASSERT_TRUE(world.run_until([&] { return disk(1, lost) == raid::DiskState::kFailed; }, 100s));
  world.run_for(std::chrono::milliseconds(GetParam() * 200));
  EXPECT_EQ(disk(1, lost), raid::DiskState::kFailed);
  world.kill(0);
  ASSERT_TRUE(soon(0, 1, 5s));
  ASSERT_TRUE(world.run_until([&] { return disk(1, lost) == raid::DiskState::kInSync; }, 60s));
  world.path(0, lost).heal();
  world.boot(0);
  expect_sound();
}

// Its writes to that disk are stopped when it can be reached, and not before is it used.
TEST_P(PairOnAGroup, ADiskThatWasOutOfReachAtATakeoverIsUsedAgain) {
  begin();
  const std::size_t lost = plain_disk();
  world.path(1, lost).cut();
  world.run_for(std::chrono::milliseconds(GetParam() * 50));
  world.process(0)->scheduler.freeze();
  ASSERT_TRUE(soon(0, 1, 60s));
  ASSERT_TRUE(world.run_until([&] { return disk(1, lost) == raid::DiskState::kFailed; }, 100s));
  world.path(1, lost).heal();
  ASSERT_TRUE(world.run_until([&] { return disk(1, lost) == raid::DiskState::kInSync; }, 60s));
  EXPECT_GE(world.steps["shut out of a disk that is back"], 1U);
  world.process(0)->scheduler.thaw();
  ASSERT_TRUE(world.run_until([&] { return world.steps["halt"] > 0; }, 5s));
  expect_sound();
}

// Its serving strands hang from the start, so it never beats: a fence could not name it.
TEST_P(PairOnAGroup, WhoHasNeverBeatenIsNotWaitedFor) {
  begin();
  ASSERT_TRUE(hands_over(1, 1));
  world.kill(1);
  ASSERT_TRUE(world.run_until([&] { return state(0) == failover::GroupsState::kAlone; }, 5s));
  world.boot(1);
  world.pair(1).progress = [] { return false; };
  world.run_for(4s);
  world.kill(1);
  const std::uint64_t before = world.oracle.filer(0).replies;
  world.run_for(4s);
  EXPECT_EQ(state(0), failover::GroupsState::kAlone);
  EXPECT_GT(world.oracle.filer(0).replies, before + 100);
  world.boot(1);
  expect_sound();
}

// It could be fenced when the others were out of reach, so it is not shut any longer.
TEST_P(PairOnAGroup, ADiskThatIsFencedLaterIsNotShutAnyLonger) {
  begin();
  const auto lost = static_cast<std::uint32_t>(plain_disk());
  Process& process = *world.process(0);
  const auto disk_at = [&](std::size_t number) { return process.disks[number % kDisks].get(); };
  process.groups->partner_fenced(0, std::vector{disk_at(lost)});
  ASSERT_TRUE(world.run_until([&] { return disk(0, lost) == raid::DiskState::kFailed; }, 5s));
  process.groups->partner_fenced(0, std::vector{disk_at(lost + 1), disk_at(lost + 2)});
  ASSERT_TRUE(takes_back(0, lost));
  ASSERT_TRUE(world.run_until([&] { return disk(0, lost) == raid::DiskState::kInSync; }, 60s));
  expect_sound();
}

// It has a new label by then, which node a has not read.
TEST_P(PairOnAGroup, ADiskThatThePartnerGaveIsCountedWhenItIsLeft) {
  begin();
  const auto given = static_cast<std::uint32_t>(plain_disk());
  ASSERT_EQ(replaces(1, given), "");
  ASSERT_TRUE(world.run_until([&] { return disk(0, given) == raid::DiskState::kInSync; }, 60s));
  Process& process = *world.process(0);
  const std::vector<shelf::SharedDisk*> two{process.disks[given].get(),
                                            process.disks[(given + 1) % kDisks].get()};
  process.groups->partner_fenced(0, two);
  world.run_for(2s);
  ASSERT_EQ(world.steps["halt"], 0U);
  EXPECT_FALSE(process.groups->ended()) << "it is waited for: the group cannot do without both";
  EXPECT_EQ(disk(0, given), raid::DiskState::kInSync);
  expect_sound();
}

// Whoever takes over or is taken over may die at any step of it.
TEST_P(PairOnAGroup, ATakeoverMayEndAnywhere) {
  begin();
  const std::uint64_t at = GetParam();
  std::uint64_t steps = 0;
  bool killed = false;
  world.on_step = [&](std::uint32_t node, std::string_view) {
    if (node == 1 && !killed && ++steps == at) {
      killed = true;
      world.kill_soon(1);
    }
  };
  world.kill(0);
  world.run_for(3s);
  world.on_step = {};
  if (world.process(0) == nullptr) {
    world.boot(0);
  }
  world.run_for(500ms);
  if (world.process(1) == nullptr) {
    world.boot(1);
  }
  EXPECT_TRUE(killed || steps < at);
  expect_sound();
}

}  // namespace
}  // namespace duet::pair
