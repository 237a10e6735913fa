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

TEST_P(ArbiterTest, IsFormattedOnce) {
  Arbiter a(writer(Node::kA, 1), *connect(Node::kA, 1, 1)[0]);
  EXPECT_EQ(run(a.read()).error().code, Errc::kNotFound);
  ASSERT_TRUE(run(a.format(kFirst)).ok());
  EXPECT_EQ(run(a.format(taken_by(kFirst, Node::kA))).error().code, Errc::kRefused);
  EXPECT_EQ(run(a.read()).value().owners, kFirst);
}

}  // namespace
}  // namespace duet::mailbox::testing
