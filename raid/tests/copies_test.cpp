// Fewer copies of an intent than there are nodes: who holds them, and what may be lost.

#include <gtest/gtest.h>

#include "model.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

constexpr std::array<std::uint8_t, kNodesMax> kTwoSites = {0, 0, 1, 1};

NodeSet holders(World& world, std::size_t node) { return world.group(node)->status().holders; }
NodeSet holders_of(const WorldOptions& options) {
  World world(1, options);
  boot_all(world);
  for (std::size_t node = 1; node < options.nodes; ++node) {
    EXPECT_EQ(holders(world, node), holders(world, 0));
  }
  return holders(world, 0);
}
// At once; the others are told.
void lose(World& world, Model& model, NodeSet nodes) {
  std::vector<std::pair<std::size_t, std::uint64_t>> dead;
  for_each_node(nodes, [&](NodeId node) {
    model.kill(number(node));
    dead.emplace_back(number(node), world.dead_incarnation);
  });
  for (const auto& [node, incarnation] : dead) {
    world.fence(node, incarnation);
  }
}
[[nodiscard]] bool are_members(World& world, NodeSet nodes) {
  bool all = true;
  for_each_node(nodes, [&](NodeId node) {
    all = all && world.active(number(node)) && members(world, number(node)) == nodes;
  });
  return all;
}
// Those who are left go on, and have all that was answered; so have the disks.
void go_on(World& world, Model& model, NodeSet nodes) {
  ASSERT_TRUE(world.run_until(
      [&] { return are_members(world, nodes) && !model.writing(0, model.block_count()); }));
  for_each_node(nodes, [&](NodeId node) {
    model.verify(number(node));
    bool over = false;
    model.begin_flush(number(node), [&over](const Status& status) { over = status.ok(); });
    ASSERT_TRUE(world.run_until([&over] { return over; }));
    EXPECT_EQ(world.group(number(node))->status().intents, 0U);
  });
  model.verify_disks();
}
// Every node writes something of its own, over and over.
void write_everywhere(World& world, Model& model) {
  const std::uint64_t share = model.block_count() / world.options_.nodes;
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    for (std::uint64_t at = 0; at + 3 <= share && world.active(node); at += 3) {
      if (!model.writing(node * share + at, 3)) {
        model.begin_write(node, node * share + at, 3, WriteKind::kInPlace, [](const Status&) {});
      }
    }
  }
}

TEST(Copies, AreAtAsManyNodesAsAreWantedAndInAsManyReplicationGroupsAsCanBe) {
  EXPECT_EQ(holders_of({.nodes = 2, .copies = 2}), 0b11U);
  EXPECT_EQ(holders_of({.nodes = 3, .copies = 0}), 0b111U);
  EXPECT_EQ(holders_of({.nodes = 3, .copies = 5}), 0b111U);
  EXPECT_EQ(holders_of({.nodes = 3, .copies = 2}), 0b11U);
  EXPECT_EQ(holders_of({.nodes = 4, .copies = 2, .replication_groups = kTwoSites}), 0b101U);
  EXPECT_EQ(holders_of({.nodes = 4, .copies = 3, .replication_groups = kTwoSites}), 0b111U);
  EXPECT_EQ(holders_of({.nodes = 4, .copies = 3, .replication_groups = {0, 0, 1, 2}}), 0b1101U);
}

TEST(Copies, AHolderThatIsLostIsReplacedByOneOfItsReplicationGroupAndHoldersThatStayAreKept) {
  World world(2, {.nodes = 4, .copies = 2, .replication_groups = kTwoSites});
  Model model(world);
  boot_all(world);
  lose(world, model, 0b100);
  ASSERT_TRUE(world.run_until([&] { return are_members(world, 0b1011); }));
  EXPECT_EQ(holders(world, 1), 0b1001U);
  world.boot(2);
  ASSERT_TRUE(world.run_until([&] { return are_members(world, 0b1111); }));
  EXPECT_EQ(holders(world, 1), 0b1001U);
}

TEST(Copies, OneIsRefused) {
  World world(3, {.nodes = 3, .copies = 1});
  world.boot(0);
  ASSERT_TRUE(world.run_until([&] { return world.processes[0]->open_error.has_value(); }));
  EXPECT_EQ(world.processes[0]->open_error->code, Errc::kInvalid);
}

TEST(Copies, AWritersStoresGoToTheHoldersAlone) {
  World world(4, {.nodes = 4, .copies = 2});
  boot_all(world);
  ASSERT_EQ(holders(world, 0), 0b11U);
  for (std::size_t writer = 0; writer < 4; ++writer) {
    std::array<std::uint64_t, 4> before{};
    for (std::size_t to = 0; to < 4; ++to) {
      before[to] = world.wire.stores(writer, to);
    }
    ASSERT_TRUE(write(world, writer, 0, 3, writer).ok());
    ASSERT_TRUE(world.run(world.group(writer)->flush()).ok());
    for (std::size_t to = 0; to < 4; ++to) {
      // Its pages, its slot, and the end of it.
      const std::uint64_t wanted = to < 2 && to != writer ? 3 : 0;
      EXPECT_EQ(world.wire.stores(writer, to) - before[to], wanted) << writer << " to " << to;
    }
  }
}

TEST(Copies, OfThreeAnyTwoNodesAreLostAtOnceAndNothingIsLost) {
  for (const std::size_t nodes : {std::size_t{3}, std::size_t{4}}) {
    for (std::uint64_t turns = 0; turns < 120; turns += 3) {
      const NodeSet all = (1U << nodes) - 1;
      World world(turns, {.nodes = nodes, .copies = 3});
      Model model(world);
      boot_all(world);
      write_everywhere(world, model);
      run_turns(world, turns);
      const auto first = static_cast<std::uint8_t>(turns % nodes);
      const auto other =
          static_cast<std::uint8_t>((first + 1 + turns / nodes % (nodes - 1)) % nodes);
      const NodeSet dead = only(NodeId{first}) | only(NodeId{other});
      lose(world, model, dead);
      go_on(world, model, all & ~dead);
      ASSERT_FALSE(HasFailure()) << nodes << " nodes, turn " << turns;
    }
  }
}

TEST(Copies, OfTwoOneHolderAfterTheOtherIsLostAndNothingIsLost) {
  for (std::uint64_t turns = 0; turns < 150; turns += 3) {
    World world(turns, {.nodes = 4, .copies = 2});
    Model model(world);
    boot_all(world);
    NodeSet left = 0b1111;
    while (std::popcount(left) > 1) {
      write_everywhere(world, model);
      run_turns(world, turns);
      const NodeSet held = holders(world, static_cast<std::size_t>(std::countr_zero(left)));
      const NodeSet dead = turns % 2 == 0 ? held & (~held + 1) : std::bit_floor(held);
      lose(world, model, dead);
      left &= ~dead;
      go_on(world, model, left);
      ASSERT_FALSE(HasFailure()) << "turn " << turns << ", left " << left;
    }
  }
}

TEST(Copies, AWholeSiteIsLostAtOnceAndTheOtherGoesOn) {
  for (std::uint64_t turns = 0; turns < 150; turns += 3) {
    World world(turns, {.nodes = 4, .copies = 2, .replication_groups = kTwoSites});
    Model model(world);
    boot_all(world);
    write_everywhere(world, model);
    run_turns(world, turns);
    const NodeSet site = turns % 2 == 0 ? 0b0011 : 0b1100;
    lose(world, model, site);
    go_on(world, model, 0b1111 & ~site);
    ASSERT_FALSE(HasFailure()) << "turn " << turns;
    EXPECT_EQ(holders(world, turns % 2 == 0 ? 2 : 0), 0b1111 & ~site);
  }
}

TEST(Copies, WithoutAHolderTheOthersEndAndAHolderThatIsBackHasAllThatWasAnswered) {
  for (std::uint64_t turns = 0; turns < 150; turns += 3) {
    World world(turns, {.nodes = 4, .copies = 2});
    Model model(world);
    boot_all(world);
    write_everywhere(world, model);
    run_turns(world, turns);
    lose(world, model, 0b0011);
    ASSERT_TRUE(world.run_until([&] { return world.orphaned(2) && world.orphaned(3); }));
    const std::size_t back = turns / 3 % 2;
    const std::uint64_t other = world.started[1 - back];
    world.boot(back);
    if (turns == 0) {
      ASSERT_FALSE(world.run_until([&] { return world.active(back); })) << "others may be at work";
    }
    lose(world, model, 0b1100);
    if (turns % 2 == 0) {  // their memories alone are not enough
      world.boot(2);
      world.boot(3);
    }
    ASSERT_TRUE(world.run_until([&] { return world.group(back) != nullptr; }));
    world.fence(1 - back, other);
    const NodeSet here = only(World::node_id(back)) | (turns % 2 == 0 ? 0b1100U : 0);
    go_on(world, model, here);
    ASSERT_FALSE(HasFailure()) << "turn " << turns;
  }
}

TEST(Copies, FromColdAHolderCarriesOutTheIntentsOfAll) {
  for (std::uint64_t turns = 0; turns < 200; turns += 2) {
    World world(turns, {.nodes = 4, .copies = 2});
    Model model(world);
    boot_all(world);
    write_everywhere(world, model);
    run_turns(world, turns);
    const std::size_t back = turns / 2 % 2;
    lose(world, model, 0b1111);
    model.lose_power();
    world.boot(back);
    ASSERT_TRUE(world.run_until([&] { return world.group(back) != nullptr; }));
    go_on(world, model, only(World::node_id(back)));
    ASSERT_FALSE(HasFailure()) << "turn " << turns;
  }
}

TEST(Copies, NobodyBecomesAHolderBeforeEveryMemberCouldSendItsIntents) {
  World world(9, {.nodes = 4, .copies = 2});
  Model model(world);
  boot_all(world);
  world.wire.disconnect(2, 3);
  lose(world, model, 0b0010);
  EXPECT_FALSE(world.run_until([&] { return are_members(world, 0b1101); }));
  world.wire.connect(2, 3);
  ASSERT_TRUE(world.run_until([&] { return are_members(world, 0b1101); }));
  EXPECT_EQ(holders(world, 3), 0b101U);
}

TEST(Copies, WhoHoldsNothingDoesNotStartFromCold) {
  World world(8, {.nodes = 3, .copies = 2});
  Model model(world);
  boot_all(world);
  lose(world, model, 0b111);
  world.boot(2);
  ASSERT_TRUE(world.run_until([&] { return world.group(2) != nullptr; }));
  world.fence(0, world.started[0]);
  world.fence(1, world.started[1]);
  EXPECT_FALSE(world.run_until([&] { return world.active(2); })) << "the intents are elsewhere";
  world.boot(1);
  ASSERT_TRUE(world.run_until([&] { return are_members(world, 0b110); }));
}

// The write was answered, and no holder has its intent: it may be lost, but not first read.
TEST(Copies, AReadBehindAWriteThatIsGivenUpAtTheEndGivesNothing) {
  World world(10, {.nodes = 3, .copies = 2});
  Model model(world);
  boot_all(world);
  model.write(2, 0, 3, WriteKind::kInPlace);
  ASSERT_TRUE(world.run(world.group(2)->flush()).ok());
  model.answer = Answer::kAsynchronous;
  bool answered = false;
  model.begin_write(2, 0, 3, WriteKind::kInPlace, [&](const Status& s) { answered = s.ok(); });
  ASSERT_TRUE(world.run_until([&] { return answered; }));
  std::optional<Status> read;
  model.begin_read(2, 0, 3, [&](const Status& status) { read = status; });
  lose(world, model, 0b011);
  ASSERT_TRUE(world.run_until([&] { return world.orphaned(2) && read.has_value(); }));
  EXPECT_FALSE(read->ok());
}

// ---- one is lost while the holders change ----

TEST(Copies, ALeaderIsLostAtAnyTurnInWhichHoldersChangeAndTheOthersGoOn) {
  for (std::uint64_t turns = 0; turns < 400; ++turns) {
    // Nodes 0 and 1 hold; when node 2 comes, of another site, it takes the place of node 1.
    World world(turns, {.nodes = 3, .copies = 2, .replication_groups = {0, 0, 1}});
    Model model(world);
    world.boot(0);
    world.boot(1);
    ASSERT_TRUE(world.run_until([&] { return world.group(0) != nullptr && world.group(1); }));
    world.fence(2, 1);
    ASSERT_TRUE(world.run_until([&] { return are_members(world, 0b11); }));
    model.fill(0);
    write_everywhere(world, model);
    world.boot(2);
    run_turns(world, turns);
    lose(world, model, 0b001);
    go_on(world, model, 0b110);
    ASSERT_FALSE(HasFailure()) << "turn " << turns;
  }
}

TEST(Copies, ATakeoverThatEndsAtAnyTurnIsCarriedOnByANewHolder) {
  bool ended = false;
  bool went_on = false;
  bool carried_on = false;
  for (std::uint64_t turns = 0; turns < 600; ++turns) {
    World world(turns, {.nodes = 4, .copies = 2});
    Model model(world);
    boot_all(world);
    write_everywhere(world, model);
    run_turns(world, 40 + 20 * (turns % 7));
    const Generation view = world.group(2)->status().view;
    lose(world, model, 0b0010);
    run_turns(world, turns);
    // Before the label says so nobody else holds the intents; then node 2 does.
    lose(world, model, 0b0001);
    const bool in_label =
        world.present_labels().front().generation != static_cast<std::uint64_t>(view);
    carried_on = carried_on || (in_label && world.group(2)->status().view == view);
    ASSERT_TRUE(world.run_until([&] {
      return are_members(world, 0b1100) || (world.orphaned(2) && world.orphaned(3));
    })) << "turn "
        << turns;
    const bool orphans = world.orphaned(2);
    EXPECT_EQ(orphans, !in_label);
    ended = ended || orphans;
    went_on = went_on || !orphans;
    if (orphans) {
      lose(world, model, 0b1100);
      world.boot(0);
      ASSERT_TRUE(world.run_until([&] { return world.group(0) != nullptr; }));
    }
    go_on(world, model, orphans ? 0b0001 : 0b1100);
    ASSERT_FALSE(HasFailure()) << "turn " << turns;
  }
  EXPECT_TRUE(ended) << "too late";
  EXPECT_TRUE(went_on) << "too early";
  EXPECT_TRUE(carried_on) << "never between label and commit";
}

TEST(Copies, AllHoldersMayCloseAndTheOthersHold) {
  for (std::uint64_t turns = 0; turns < 200; ++turns) {
    World world(turns, {.nodes = 4, .copies = 2});
    Model model(world);
    boot_all(world);
    model.fill(0);
    write_everywhere(world, model);
    std::array<bool, 2> closed{};
    for (std::size_t node = 0; node < 2; ++node) {
      model.begin_close(node,
                        [&closed, node](const Status& status) { closed[node] = status.ok(); });
    }
    if (turns > 0) {  // and one of them is lost meanwhile
      run_turns(world, 4 * turns);
      lose(world, model, 0b0001);
    } else {
      ASSERT_TRUE(world.run_until([&] { return closed[0] && closed[1]; }));
      lose(world, model, 0b0001);
    }
    ASSERT_TRUE(world.run_until([&] { return !world.active(1); }));
    lose(world, model, 0b0010);
    go_on(world, model, 0b1100);
    ASSERT_FALSE(HasFailure()) << "turn " << turns;
    EXPECT_EQ(holders(world, 2), 0b1100U);
  }
}

}  // namespace
}  // namespace duet::raid::testing
