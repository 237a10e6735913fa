// Beater and Observer: rules 1, 2, 4 and 5.

#include "mailbox/beater.h"
#include "mailbox/observer.h"
#include "world.h"

namespace duet::mailbox::testing {
namespace {

constexpr Duration kPatience = 80ms;

class Beats : public World {
 protected:
  std::unique_ptr<Beater> beater(std::size_t members, std::uint64_t incarnation = 1) {
    auto result = std::make_unique<Beater>(scheduler, clock, writer(Node::kA, incarnation),
                                           connect(Node::kA, incarnation, members), BeatOptions());
    result->describe({.state = NodeState::kServing, .serving = 1});
    result->start();
    return result;
  }
  std::unique_ptr<Observer> observer(std::size_t members) {
    return std::make_unique<Observer>(scheduler, kPair, Node::kA, connect(Node::kB, 1, members),
                                      BeatOptions{.lease = 2s, .beat = 1s});
  }
  void look(Observer& observer) {
    bool done = false;
    TaskScope scope(scheduler);
    scope.spawn(look_then(observer, done));
    ASSERT_TRUE(scheduler.run_until([&] { return done; }, 10'000'000));
  }
  static Task<void> look_then(Observer& observer, bool& done) {
    co_await observer.look(kPatience);
    done = true;
  }
};

TEST_F(Beats, ARenewalCountsFromItsStart) {
  const auto a = beater(2);
  const Instant before = clock.now();
  EXPECT_FALSE(a->renewed().has_value());
  pass(20ms);
  ASSERT_TRUE(a->renewed().has_value());
  EXPECT_GE(*a->renewed(), before);
  EXPECT_LE(*a->renewed(), before + 1ms) << "a write takes longer than to start it";
}

TEST_F(Beats, OneOfTwoMembersRenews) {
  const auto a = beater(2);
  pass(150ms);
  disk(1).path_a.cut();
  pass(1s);
  EXPECT_LT(clock.now() - *a->renewed(), 150ms);
  EXPECT_EQ(a->reached(), 2U) << "a write that hangs has not failed";
  pass(2500ms);
  EXPECT_EQ(a->reached(), 1U);
  EXPECT_LT(clock.now() - *a->renewed(), 150ms);
  disk(0).path_a.cut();
  const Instant last = *a->renewed();
  pass(1s);
  EXPECT_LE(*a->renewed(), last + 101ms);
}

TEST_F(Beats, TwoOfThreeMembersRenewAndOneDoesNot) {
  const auto a = beater(3);
  disk(2).path_a.cut();
  pass(1s);
  EXPECT_LT(clock.now() - *a->renewed(), 150ms);
  disk(1).path_a.cut();
  pass(1s);
  EXPECT_GT(clock.now() - *a->renewed(), 800ms);
}

// A write that was on its way through a cut says when it was started, not when it arrived.
TEST_F(Beats, ALateRenewalIsWorthWhatIsLeftOfIt) {
  const auto a = beater(1);
  pass(150ms);
  disk(0).path_a.cut();
  pass(1s);
  const Instant before = *a->renewed();
  disk(0).path_a.heal();
  ASSERT_TRUE(scheduler.run_until([&] { return *a->renewed() != before; }, 1'000'000));
  EXPECT_GT(clock.now() - *a->renewed(), 800ms);
}

TEST_F(Beats, NoWriteStartsWhileItIsHeld) {
  const auto a = beater(2);
  pass(150ms);
  a->hold();
  pass(150ms);
  const Instant held = *a->renewed();
  pass(1s);
  EXPECT_EQ(*a->renewed(), held);
  a->resume();
  pass(150ms);
  EXPECT_GT(*a->renewed(), held);
}

TEST_F(Beats, AStrandThatStandsStillStopsTheBeat) {
  const auto a = beater(2);
  bool moves = true;
  a->progress = [&] { return moves; };
  pass(300ms);
  const Instant last = *a->renewed();
  moves = false;
  pass(1s);
  EXPECT_LE(*a->renewed(), last + 101ms);
}

TEST_F(Beats, AFencedNodeHearsOfIt) {
  const auto a = beater(2);
  int fenced = 0;
  a->on_fenced = [&] { ++fenced; };
  const auto b = connect(Node::kB, 1, 2);
  pass(300ms);
  EXPECT_EQ(fenced, 0);
  ASSERT_TRUE(run(shelf::fence_disk(*b[0], shelf::Reservation::kWriteExclusive)).ok());
  pass(300ms);
  EXPECT_GT(fenced, 0);
}

TEST_F(Beats, ALivingPartnerChangesAndADeadOneDoesNot) {
  auto a = beater(2);
  const auto b = observer(2);
  pass(50ms);
  for (int i = 0; i < 10; ++i) {
    look(*b);
    EXPECT_EQ(b->readable(), Readable::kBoth);
    EXPECT_FALSE(b->stale());
    pass(100ms);
  }
  EXPECT_EQ(b->lease(), 500ms) << "the lease in the peer's record, not one's own";
  ASSERT_TRUE(b->beat().has_value());
  EXPECT_EQ(b->beat()->serving, 1U);
  a.reset();
  pass(200ms);
  const BeatSnapshot before = b->snapshot();
  look(*b);
  look(*b);
  EXPECT_FALSE(b->lease_is_over());
  const BeatSnapshot then = b->snapshot();
  pass(400ms);
  look(*b);
  EXPECT_TRUE(b->stale());
  EXPECT_FALSE(b->lease_is_over()) << "the tenth is waited for too";
  pass(200ms);
  look(*b);
  EXPECT_TRUE(b->lease_is_over());
  EXPECT_FALSE(b->moved_since(then));
}

TEST_F(Beats, AnUnreadableMemberIsNoInformation) {
  auto a = beater(2);
  const auto b = observer(2);
  look(*b);
  a.reset();
  disk(1).path_b.cut();
  for (int i = 0; i < 20; ++i) {
    pass(100ms);
    look(*b);
    EXPECT_EQ(b->readable(), Readable::kOne);
    EXPECT_FALSE(b->stale());
    EXPECT_FALSE(b->lease_is_over());
  }
  EXPECT_TRUE(b->moved_since(b->snapshot())) << "what cannot be read may have moved";
}

TEST_F(Beats, TwoOfThreeReadMembersAreEnoughToConcludeDeath) {
  auto a = beater(3);
  const auto b = observer(3);
  look(*b);
  a.reset();
  pass(100ms);
  disk(1).path_b.cut();
  look(*b);
  pass(1s);
  look(*b);
  EXPECT_EQ(b->readable(), Readable::kBoth);
  EXPECT_TRUE(b->lease_is_over());
}

TEST_F(Beats, ATornSectorIsNoInformation) {
  auto a = beater(2);
  const auto b = observer(2);
  pass(150ms);
  look(*b);
  a.reset();
  pass(50ms);
  disk(0).data.flip_bit(kBeatBlock, 100, 3);
  look(*b);
  EXPECT_EQ(b->readable(), Readable::kOne);
  pass(1s);
  look(*b);
  EXPECT_FALSE(b->lease_is_over());
}

TEST_F(Beats, OneMovingMemberIsLife) {
  const auto a = beater(2);
  const auto b = observer(2);
  disk(1).path_a.cut();
  for (int i = 0; i < 20; ++i) {
    pass(100ms);
    look(*b);
    EXPECT_FALSE(b->stale());
  }
}

TEST_F(Beats, LastWordsAreReadFromAnyMember) {
  const auto b = observer(2);
  const MemberDisks mine = connect(Node::kA, 2, 2);
  look(*b);
  EXPECT_FALSE(run(b->read_words()).has_value());
  disk(0).path_a.cut();
  disk(0).target.kill();
  ASSERT_TRUE(
      run(write_words(writer(Node::kA, 2), mine, Incarnation{1}, Cause::kCrashed, 3s, 1)).ok());
  disk(0).target.start();
  disk(0).path_a.heal();
  pass(100ms);
  look(*b);
  const auto words = run(b->read_words());
  ASSERT_TRUE(words.has_value());
  EXPECT_EQ(words->dead_incarnation, 1U);
  EXPECT_EQ(words->restart_ms, 3000U);
}

}  // namespace
}  // namespace duet::mailbox::testing
