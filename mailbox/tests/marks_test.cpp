// The solo mark and the members: DESIGN section 4, rule 2.

#include "mailbox/marks.h"

#include "world.h"

namespace duet::mailbox::testing {
namespace {

class MarksTest : public World {
 protected:
  Marks marks(Node node, std::size_t members, std::uint64_t incarnation = 1) {
    return {scheduler, writer(node, incarnation), 0, connect(node, incarnation, members)};
  }
};

TEST_F(MarksTest, AMarkOnOneOfTwoIsSeenByWhoReadsBoth) {
  Marks a = marks(Node::kA, 2);
  Marks b = marks(Node::kB, 2);
  EXPECT_FALSE(run(b.read()).mark.has_value());
  disk(1).path_a.cut();
  ASSERT_TRUE(run(a.set(3, 100)).ok());
  const MarkReading seen = run(b.read());
  EXPECT_TRUE(seen.quorum);
  ASSERT_TRUE(seen.mark.has_value());
  EXPECT_EQ(seen.mark->epoch, 3U);
  EXPECT_EQ(seen.mark->first_unmirrored, 100U);
}

TEST_F(MarksTest, WhoReadsOneOfTwoKnowsNoAbsence) {
  Marks a = marks(Node::kA, 2);
  Marks b = marks(Node::kB, 2);
  disk(1).path_a.cut();
  ASSERT_TRUE(run(a.set(3, 100)).ok());
  disk(0).path_b.cut();
  const MarkReading seen = run(b.read());
  EXPECT_FALSE(seen.mark.has_value());
  EXPECT_FALSE(seen.quorum);
}

TEST_F(MarksTest, OneOfThreeIsNoQuorum) {
  Marks a = marks(Node::kA, 3);
  disk(1).path_a.cut();
  disk(2).path_a.cut();
  std::optional<Status> done;
  TaskScope scope(scheduler);
  scope.spawn(store_result(a.set(3, 100), done));
  pass(1s);
  EXPECT_FALSE(done.has_value());
  disk(1).path_a.heal();
  pass(1s);
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(done->ok());
}

TEST_F(MarksTest, AMemberThatComesBackGetsTheMarkToo) {
  Marks a = marks(Node::kA, 2);
  Marks b = marks(Node::kB, 2);
  disk(1).path_a.cut();
  ASSERT_TRUE(run(a.set(3, 100)).ok());
  pass(5s);
  disk(1).path_a.heal();
  pass(1s);
  disk(0).path_b.cut();
  EXPECT_TRUE(run(b.read()).mark.has_value());
}

TEST_F(MarksTest, ClearingMeansEveryMember) {
  Marks a = marks(Node::kA, 2);
  Marks b = marks(Node::kB, 2);
  ASSERT_TRUE(run(a.set(3, 100)).ok());
  pass(100ms);
  disk(1).path_a.cut();
  EXPECT_FALSE(run(a.clear(3)).ok());
  EXPECT_TRUE(run(b.read()).mark.has_value()) << "one member still carries it";
  disk(1).path_a.heal();
  pass(500ms);
  EXPECT_TRUE(run(a.clear(3)).ok());
  EXPECT_FALSE(run(b.read()).mark.has_value());
}

// Section 4: one write is outstanding per sector, so a late one cannot erase it.
TEST_F(MarksTest, ALateClearDoesNotEraseANewMark) {
  Marks a = marks(Node::kA, 2);
  Marks b = marks(Node::kB, 2);
  ASSERT_TRUE(run(a.set(3, 100)).ok());
  pass(50ms);
  disk(0).path_a.cut();
  disk(1).path_a.cut();
  std::optional<Status> cleared;
  TaskScope scope(scheduler);
  scope.spawn(store_result(a.clear(3), cleared));
  ASSERT_TRUE(scheduler.run_until([&] { return cleared.has_value(); }, 1'000'000));
  EXPECT_FALSE(cleared->ok());
  disk(0).path_a.heal();
  ASSERT_TRUE(run(a.set(3, 200)).ok());
  disk(1).path_a.heal();
  pass(5s);
  const MarkReading seen = run(b.read());
  EXPECT_TRUE(seen.quorum);
  ASSERT_TRUE(seen.mark.has_value());
  EXPECT_EQ(seen.mark->first_unmirrored, 200U);
  EXPECT_EQ(disk(0).data.block(kMarkBlock), disk(1).data.block(kMarkBlock));
}

TEST_F(MarksTest, AFencedNodeSetsNoMark) {
  Marks a = marks(Node::kA, 2);
  const auto b = connect(Node::kB, 1, 2);
  for (shelf::SharedDisk* const each : b) {
    ASSERT_TRUE(run(shelf::fence_disk(*each, shelf::Reservation::kWriteExclusive)).ok());
  }
  EXPECT_EQ(run(a.set(3, 100)).error().code, Errc::kFenced);
}

// Rule 2: while the members change, what is set counts when each set holds it.
TEST_F(MarksTest, WhileMembersChangeAMarkIsOnTheOldAndTheNew) {
  const MemberDisks all = connect(Node::kA, 1, 3);
  Marks a(scheduler, writer(Node::kA, 1), 0, {all[0], all[1]});
  disk(0).path_a.cut();
  disk(2).path_a.cut();
  a.use({{all[0], all[1]}, {all[0], all[2]}});
  std::optional<Status> done;
  TaskScope scope(scheduler);
  scope.spawn(store_result(a.set(3, 100), done));
  pass(500ms);
  EXPECT_FALSE(done.has_value()) << "who reads the new members would see none";
  disk(2).path_a.heal();
  pass(500ms);
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(done->ok());
}

TEST_F(MarksTest, ANewMemberGetsTheMarkThatAnOlderProcessSet) {
  const MemberDisks first = connect(Node::kA, 1, 3);
  {
    Marks a(scheduler, writer(Node::kA, 1), 0, {first[0], first[1]});
    ASSERT_TRUE(run(a.set(3, 100)).ok());
    pass(100ms);
  }
  const MemberDisks all = connect(Node::kA, 2, 3);
  Marks a(scheduler, writer(Node::kA, 2), 0, {all[0], all[1]});
  a.use({{all[0], all[1]}, {all[0], all[2]}});
  ASSERT_TRUE(run(a.carry()).ok());
  a.use({{all[0], all[2]}});
  const MemberDisks b = connect(Node::kB, 1, 3);
  Marks other(scheduler, writer(Node::kB, 1), 0, {b[2]});
  const MarkReading seen = run(other.read());
  ASSERT_TRUE(seen.mark.has_value());
  EXPECT_EQ(seen.mark->first_unmirrored, 100U);
}

// A disk that was a member long ago says nothing that still holds.
TEST_F(MarksTest, ANewMemberForgetsAMarkOfAnEarlierMembership) {
  const MemberDisks all = connect(Node::kA, 1, 3);
  Marks old(scheduler, writer(Node::kA, 1), 0, {all[2]});
  ASSERT_TRUE(run(old.set(2, 50)).ok());
  Marks a(scheduler, writer(Node::kA, 1), 0, {all[0], all[1]});
  a.use({{all[0], all[1]}, {all[0], all[2]}});
  ASSERT_TRUE(run(a.carry()).ok());
  a.use({{all[0], all[2]}});
  EXPECT_FALSE(run(a.read()).mark.has_value());
}

TEST_F(MarksTest, TheRootSaysWhichMembershipCounts) {
  const MemberDisks all = connect(Node::kA, 1, 3);
  const Membership first{1, {{1, 1}, {2, 2}}};
  const Membership second{2, {{1, 1}, {3, 3}}};
  MembersWriter note(scheduler, writer(Node::kA, 1));
  EXPECT_TRUE(run(read_members(kPair, Node::kA, all)).sectors.empty());
  ASSERT_TRUE(run(note.write(members_sector(first, {}), {all[0], all[1]}, 2)).ok());
  ASSERT_TRUE(run(note.write(members_sector(second, first), {all[0], all[2]}, 2)).ok());
  const MembersRead seen = run(read_members(kPair, Node::kA, {all[0], all[2]}));
  EXPECT_TRUE(seen.all);
  EXPECT_EQ(seen.highest(), 2U);
  EXPECT_EQ(seen.of(1), first) << "the attempt that never got into the root costs nothing";
  EXPECT_EQ(seen.of(2), second);
  EXPECT_FALSE(seen.of(3).has_value());
}

TEST_F(MarksTest, AMemberThatIsAwayHoldsUpTheNoteOnlyIfAllAreNeeded) {
  const MemberDisks all = connect(Node::kA, 1, 3);
  MembersWriter note(scheduler, writer(Node::kA, 1));
  disk(1).path_a.cut();
  const MembersSector sector = members_sector({1, {{1, 1}, {2, 2}}}, {});
  EXPECT_TRUE(run(note.write(sector, {all[0], all[1]}, 1)).ok());
  EXPECT_FALSE(run(note.write(sector, {all[0], all[1]}, 2)).ok());
}

}  // namespace
}  // namespace duet::mailbox::testing
