// The arbitration record: rule 3.

#include "mailbox/arbiter.h"

#include "world.h"

namespace duet::mailbox::testing {
namespace {

constexpr Owners kFirst{OwnerEntry{.owner = 0, .previous = 0, .epoch = 1},
                        OwnerEntry{.owner = 1, .previous = 1, .epoch = 1}};

class ArbiterTest : public World, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  ArbiterTest() : World(GetParam()) {}
  static Owners taken_by(Owners owners, Node node) {
    for (OwnerEntry& entry : owners) {
      entry.previous = entry.owner;
      entry.owner = index_of(node);
      entry.incarnation = 10 + index_of(node);
      ++entry.epoch;
    }
    return owners;
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, ArbiterTest, ::testing::Range<std::uint64_t>(1, 21));

TEST_P(ArbiterTest, OfTwoClaimantsExactlyOneWins) {
  Arbiter a(writer(Node::kA, 1), *connect(Node::kA, 1, 1)[0]);
  Arbiter b(writer(Node::kB, 1), *connect(Node::kB, 1, 1)[0]);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  const OwnersRead read_a = run(a.read()).value();
  const OwnersRead read_b = run(b.read()).value();
  std::optional<Status> done_a;
  std::optional<Status> done_b;
  TaskScope scope(scheduler);
  scope.spawn(store_result(a.swap(read_a, taken_by(kFirst, Node::kA)), done_a));
  scope.spawn(store_result(b.swap(read_b, taken_by(kFirst, Node::kB)), done_b));
  pass(1s);
  ASSERT_TRUE(done_a && done_b);
  ASSERT_NE(done_a->ok(), done_b->ok());
  EXPECT_EQ((done_a->ok() ? *done_b : *done_a).error().code, Errc::kOutOfSync);
  EXPECT_EQ(run(b.read()).value().owners, taken_by(kFirst, done_a->ok() ? Node::kA : Node::kB));
}

TEST_P(ArbiterTest, ASwapWhoseAnswerWasLostIsKnownAfterwards) {
  Arbiter a(writer(Node::kA, 1), *connect(Node::kA, 1, 1)[0]);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  const OwnersRead before = run(a.read()).value();
  disk(0).path_a.cut_back();
  std::optional<Status> done;
  TaskScope scope(scheduler);
  scope.spawn(store_result(a.swap(before, taken_by(kFirst, Node::kA)), done));
  pass(500ms);
  disk(0).path_a.heal();
  pass(1s);
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(done->ok()) << done->error().context;
}

// Rule 3: a move is agreed, and its answer says what either node knows.
TEST_P(ArbiterTest, AMovedRecordForgetsNoSwap) {
  const MemberDisks disks_a = connect(Node::kA, 1, 2);
  const MemberDisks disks_b = connect(Node::kB, 1, 2);
  Arbiter a(writer(Node::kA, 1), *disks_a[0]);
  Arbiter b(writer(Node::kB, 1), *disks_b[0]);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  ASSERT_TRUE(run(a.read()).ok());
  const OwnersRead before = run(b.read()).value();
  // Its answer does not come: the disk's way back is cut, then all of it is away.
  disk(0).path_b.cut_back();
  std::optional<Status> swapped;
  TaskScope scope(scheduler);
  scope.spawn(store_result(b.swap(before, taken_by(kFirst, Node::kB)), swapped));
  pass(100ms);
  disk(0).path_a.cut();
  disk(0).path_b.cut();
  a.bind(*disks_a[1], 1);
  b.bind(*disks_b[1], 1);
  const PlaceRead there = run(read_place(kPair, *disks_a[1])).value();
  const Owners owners = merge(a.claims(), b.claims());
  EXPECT_EQ(owners, taken_by(kFirst, Node::kB)) << "it may have happened";
  ASSERT_TRUE(run(put_record(writer(Node::kA, 1), *disks_a[1], there, owners, 1)).ok());
  disk(0).path_a.heal();
  disk(0).path_b.heal();
  // Neither believes the old disk again, told or not.
  EXPECT_EQ(run(a.read()).value().owners, owners);
  EXPECT_EQ(run(b.read()).value().owners, owners);
  EXPECT_EQ(b.generation(), 1U);
  pass(3s);
  EXPECT_TRUE(swapped.has_value());
}

// Of two swaps without an answer either may have happened, and somebody finds out which.
TEST_P(ArbiterTest, OfOneEpochNobodyEverSeesTwoOwners) {
  const MemberDisks disks_a = connect(Node::kA, 1, 2);
  const MemberDisks disks_b = connect(Node::kB, 1, 2);
  Arbiter a(writer(Node::kA, 1), *disks_a[0]);
  Arbiter b(writer(Node::kB, 1), *disks_b[0]);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  const OwnersRead before_a = run(a.read()).value();
  const OwnersRead before_b = run(b.read()).value();
  std::optional<Status> lands;
  std::optional<Status> lost;
  TaskScope scope(scheduler);
  disk(0).path_a.cut_back();
  disk(0).path_b.cut();
  scope.spawn(store_result(a.swap(before_a, taken_by(kFirst, Node::kA)), lands));
  scope.spawn(store_result(b.swap(before_b, taken_by(kFirst, Node::kB)), lost));
  pass(100ms);
  a.bind(*disks_a[1], 1);
  b.bind(*disks_b[1], 1);
  const PlaceRead there = run(read_place(kPair, *disks_b[1])).value();
  const Owners owners = merge(b.claims(), a.claims());
  disk(0).path_a.heal();
  const Owners found = run(a.read()).value().owners;  // before the record is at its new place
  EXPECT_EQ(found, taken_by(kFirst, Node::kA));
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (owners[filer] != found[filer]) {
      EXPECT_GT(owners[filer].epoch, found[filer].epoch);
    }
  }
  ASSERT_TRUE(run(put_record(writer(Node::kB, 1), *disks_b[1], there, owners, 1)).ok());
  EXPECT_EQ(run(a.read()).value().owners, owners);
  disk(0).path_b.heal();
  pass(3s);
  EXPECT_TRUE(lands.has_value() && lost.has_value());
}

TEST_P(ArbiterTest, ASwapMayHaveHappenedUntilItIsRefusedOrSomethingNewerIsRead) {
  const MemberDisks disks_a = connect(Node::kA, 1, 1);
  const MemberDisks disks_b = connect(Node::kB, 1, 1);
  Arbiter a(writer(Node::kA, 1), *disks_a[0]);
  Arbiter b(writer(Node::kB, 1), *disks_b[0]);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  const OwnersRead before_a = run(a.read()).value();
  const OwnersRead before_b = run(b.read()).value();
  disk(0).path_a.cut();
  EXPECT_EQ(run(a.swap(before_a, taken_by(kFirst, Node::kA))).error().code, Errc::kIo);
  EXPECT_EQ(a.claims().maybe, taken_by(kFirst, Node::kA));
  ASSERT_TRUE(run(b.swap(before_b, taken_by(kFirst, Node::kB))).ok());
  EXPECT_EQ(b.claims().maybe, Owners{});
  disk(0).path_a.heal();
  const OwnersRead newer = run(a.read()).value();
  EXPECT_EQ(newer.owners, taken_by(kFirst, Node::kB));
  EXPECT_EQ(a.claims().maybe, Owners{});
  EXPECT_EQ(run(a.swap(before_a, taken_by(kFirst, Node::kA))).error().code, Errc::kOutOfSync);
  EXPECT_EQ(a.claims().maybe, Owners{});
}

TEST_P(ArbiterTest, WhoHasPromisedSwapsNothing) {
  const MemberDisks disks_a = connect(Node::kA, 1, 2);
  Arbiter a(writer(Node::kA, 1), *disks_a[0]);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  const OwnersRead before = run(a.read()).value();
  a.bind(*disks_a[1], 1);
  EXPECT_EQ(run(a.swap(before, taken_by(kFirst, Node::kA))).error().code, Errc::kTryAgain);
  a.release();
  EXPECT_TRUE(run(a.swap(before, taken_by(kFirst, Node::kA))).ok());
}

// Of the record and of giving it up exactly one comes to be.
TEST_P(ArbiterTest, AMoveHappensOrIsGivenUp) {
  const MemberDisks disks_a = connect(Node::kA, 1, 1);
  const MemberDisks disks_b = connect(Node::kB, 1, 1);
  const PlaceRead for_a = run(read_place(kPair, *disks_a[0])).value();
  const PlaceRead for_b = run(read_place(kPair, *disks_b[0])).value();
  std::optional<Status> put;
  std::optional<Status> given_up;
  TaskScope scope(scheduler);
  scope.spawn(store_result(put_record(writer(Node::kA, 1), *disks_a[0], for_a, kFirst, 1), put));
  scope.spawn(store_result(give_up(writer(Node::kB, 1), *disks_b[0], for_b, 1), given_up));
  pass(1s);
  ASSERT_TRUE(put && given_up);
  EXPECT_NE(put->ok(), given_up->ok());
  const PlaceRead now = run(read_place(kPair, *disks_b[0])).value();
  EXPECT_EQ(now.generation, 1U);
  EXPECT_EQ(now.kind, put->ok() ? PlaceRead::Kind::kRecord : PlaceRead::Kind::kGivenUp);
}

TEST_P(ArbiterTest, TheRecordOfTheGreatestGenerationCounts) {
  const MemberDisks all = connect(Node::kA, 1, 3);
  Arbiter a(writer(Node::kA, 1), *all[0]);
  EXPECT_EQ(run(find_record(kPair, all)).error().code, Errc::kNotFound);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  const PlaceRead there = run(read_place(kPair, *all[2])).value();
  const Owners later = taken_by(kFirst, Node::kB);
  ASSERT_TRUE(run(put_record(writer(Node::kA, 1), *all[2], there, later, 1)).ok());
  const auto found = run(find_record(kPair, all));
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found.value().disk, 2U);
  EXPECT_EQ(found.value().read.owners, later);
  disk(1).path_a.cut();
  EXPECT_EQ(run(find_record(kPair, all)).error().code, Errc::kIo) << "it may hold a newer one";
}

TEST_P(ArbiterTest, IsFormattedOnce) {
  Arbiter a(writer(Node::kA, 1), *connect(Node::kA, 1, 1)[0]);
  EXPECT_EQ(run(a.read()).error().code, Errc::kNotFound);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  EXPECT_EQ(run(a.format(taken_by(kFirst, Node::kA))).error().code, Errc::kRefused);
  EXPECT_EQ(run(a.read()).value().owners, kFirst);
}

}  // namespace
}  // namespace duet::mailbox::testing
