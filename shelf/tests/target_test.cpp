// What a shelf's disk promises to those who fence each other (shared_disk.h, (1) to (6)).

#include "shelf/target.h"

#include "fixture.h"
#include "shelf/fence.h"

namespace duet::shelf::testing {
namespace {

constexpr Reservation kWe = Reservation::kWriteExclusive;
constexpr Reservation kEa = Reservation::kExclusiveAccess;

// A task that runs beside the test.
class Beside {
 public:
  Beside(sim::SimScheduler& scheduler, Task<Status> task) : scope_(scheduler) {
    scope_.spawn(store_result(std::move(task), result_));
  }
  [[nodiscard]] bool done() const { return result_.has_value(); }
  [[nodiscard]] const Status& result() const { return *result_; }

 private:
  std::optional<Status> result_;
  TaskScope scope_;
};

// Everything that can happen, has, but for what is held.
void settle(sim::SimScheduler& scheduler) { ASSERT_TRUE(scheduler.run()); }

class TargetTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  template <typename T>
  T now(Task<T> task) {
    return run(shelf_.scheduler, std::move(task));
  }
  DiskState state(SharedDisk& disk) { return now(do_state(disk)).value(); }
  std::byte on_disk(std::uint64_t block) { return shelf_.disk.block(block)[0]; }

  Shelf shelf_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Seeds, TargetTest, ::testing::Range<std::uint64_t>(1, 9));

TEST_P(TargetTest, WithoutAReservationEverybodyMayWrite) {
  LocalDisk a = shelf_.enter(kA1);
  EXPECT_OK(now(do_write(a, 3, TestBlock(1))));
  EXPECT_EQ(on_disk(3), std::byte{1});
}

TEST_P(TargetTest, AReservationAdmitsOnlyTheRegistered) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_ERRC(now(do_reserve(a, kWe)), Errc::kFenced);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_reserve(a, kWe)));
  TestBlock block;
  EXPECT_ERRC(now(do_write(b, 3, TestBlock(2))), Errc::kFenced);
  EXPECT_ERRC(now(do_durable(b, 3, TestBlock(2))), Errc::kFenced);
  EXPECT_ERRC(now(do_flush(b)), Errc::kFenced);
  EXPECT_ERRC(now(do_swap(b, 3, TestBlock(0), TestBlock(2))), Errc::kFenced);
  EXPECT_OK(now(do_read(b, 3, block)));
  EXPECT_EQ(on_disk(3), std::byte{0});
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_write(b, 3, TestBlock(2))));
  EXPECT_ERRC(now(do_reserve(b, kWe)), Errc::kRefused);
  EXPECT_ERRC(now(do_reserve(a, kEa)), Errc::kRefused);
  EXPECT_EQ(shelf_.target->counters().fenced, 5U);
}

TEST_P(TargetTest, ExclusiveAccessRefusesReadsToo) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_reserve(a, kEa)));
  TestBlock block;
  EXPECT_ERRC(now(do_read(b, 3, block)), Errc::kFenced);
  EXPECT_OK(now(do_read(a, 3, block)));
  EXPECT_EQ(state(b).keys, std::vector{kA1}) << "the keys can be read by anybody";
}

TEST_P(TargetTest, CommandsThatFindTheirWorkDoneSucceed) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_reserve(a, kWe)));
  EXPECT_OK(now(do_reserve(a, kWe)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_preempt(a, kB1)));
  EXPECT_OK(now(do_preempt(a, kB1)));
  EXPECT_OK(now(do_raise(a, 5)));
  EXPECT_OK(now(do_raise(a, 5)));
  EXPECT_OK(now(do_release(a)));
  EXPECT_OK(now(do_release(a)));
  EXPECT_OK(now(do_unregister(a)));
  EXPECT_OK(now(do_unregister(a)));
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_clear(a)));
  EXPECT_ERRC(now(do_clear(a)), Errc::kFenced);
  a.repeat();
  EXPECT_OK(now(do_clear(a)));
}

TEST_P(TargetTest, TheHolderTakesItsReservationWithIt) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_reserve(a, kWe)));
  EXPECT_OK(now(do_release(b)));
  EXPECT_OK(now(do_unregister(b)));
  EXPECT_EQ(state(a).holder, kA1) << "others cannot end it";
  EXPECT_OK(now(do_unregister(a)));
  EXPECT_EQ(state(a).reservation, Reservation::kNone);
  EXPECT_TRUE(state(a).keys.empty());
}

TEST_P(TargetTest, PreemptingTheHolderTakesOverTheReservation) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_reserve(a, kWe)));
  EXPECT_ERRC(now(do_preempt(b, kA1)), Errc::kFenced);
  EXPECT_OK(now(do_register(b)));
  EXPECT_ERRC(now(do_preempt(b, kB1)), Errc::kInvalid);
  EXPECT_OK(now(do_preempt(b, kA1, kEa)));
  const DiskState found = state(b);
  EXPECT_EQ(found.keys, std::vector{kB1});
  EXPECT_EQ(found.holder, kB1);
  EXPECT_EQ(found.reservation, kEa);
  EXPECT_ERRC(now(do_write(a, 3, TestBlock(1))), Errc::kFenced);
}

TEST_P(TargetTest, OfTwoThatPreemptEachOtherExactlyOneWins) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_reserve(a, kWe)));
  Beside first(shelf_.scheduler, do_preempt(a, kB1));
  Beside second(shelf_.scheduler, do_preempt(b, kA1));
  settle(shelf_.scheduler);
  EXPECT_NE(first.result().ok(), second.result().ok());
  EXPECT_EQ(state(a).keys, std::vector{first.result().ok() ? kA1 : kB1});
  EXPECT_EQ(state(a).holder, state(a).keys[0]);
}

TEST_P(TargetTest, PreemptCompletesOnlyWhenTheVictimsIoHasEnded) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_reserve(b, kWe)));
  const TestBlock old(1);
  shelf_.held->hold();
  Beside late(shelf_.scheduler, do_write(a, 3, old));
  settle(shelf_.scheduler);
  Beside fence(shelf_.scheduler, do_preempt(b, kA1));
  settle(shelf_.scheduler);
  EXPECT_FALSE(fence.done()) << "a write of the victim is under way";
  const TestBlock later(2);
  Beside refused(shelf_.scheduler, do_write(a, 4, later));
  settle(shelf_.scheduler);
  ASSERT_TRUE(refused.done()) << "the key is gone although the fence is not complete";
  EXPECT_ERRC(refused.result(), Errc::kFenced);
  Beside own(shelf_.scheduler, do_write(b, 5, later));
  settle(shelf_.scheduler);
  EXPECT_EQ(shelf_.held->waiting(), 2U);
  shelf_.held->let_go();
  settle(shelf_.scheduler);
  ASSERT_TRUE(fence.done());
  EXPECT_OK(fence.result());
  EXPECT_OK(late.result());
  EXPECT_EQ(on_disk(3), std::byte{1}) << "before the fence, not after it";
}

TEST_P(TargetTest, PreemptDrainsADurableWriteUntilItsFlushHasEnded) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_reserve(b, kWe)));
  const TestBlock block(1);
  Beside write(shelf_.scheduler, do_durable(a, 3, block));
  Beside fence(shelf_.scheduler, do_preempt(b, kA1));
  ASSERT_TRUE(shelf_.scheduler.run_until([&] { return fence.done(); }));
  EXPECT_TRUE(a.session().under_way() == 0 || write.done());
  EXPECT_EQ(shelf_.disk.unflushed(), 0U);
  settle(shelf_.scheduler);
}

TEST_P(TargetTest, AFencedNodeThatRegistersAgainGoesOn) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_reserve(b, kWe)));
  EXPECT_OK(now(do_preempt(b, kA1)));
  EXPECT_ERRC(now(do_write(a, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_write(a, 3, TestBlock(1))));
}

TEST_P(TargetTest, IoOfAnOlderEpochIsRefused) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_raise(a, 4)));
  a.use_epoch(4);
  EXPECT_OK(now(do_write(a, 3, TestBlock(1))));
  EXPECT_OK(now(do_raise(b, 5)));
  TestBlock block;
  EXPECT_ERRC(now(do_write(a, 3, TestBlock(2))), Errc::kFenced);
  EXPECT_ERRC(now(do_durable(a, 3, TestBlock(2))), Errc::kFenced);
  EXPECT_ERRC(now(do_read(a, 3, block)), Errc::kFenced);
  EXPECT_ERRC(now(do_raise(a, 4)), Errc::kFenced);
  EXPECT_EQ(on_disk(3), std::byte{1});
  a.use_epoch(0);
  EXPECT_OK(now(do_write(a, 3, TestBlock(3))));  // its mailbox: the key alone counts
  b.use_epoch(5);
  EXPECT_OK(now(do_write(b, 3, TestBlock(4))));
}

TEST_P(TargetTest, RaisingTheEpochDrainsWhatCarriesAnOlderOne) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(a)));
  EXPECT_OK(now(do_register(b)));
  EXPECT_OK(now(do_raise(a, 4)));
  const TestBlock block(1);
  shelf_.held->hold();
  a.use_epoch(0);
  Beside mailbox(shelf_.scheduler, do_write(a, 9, block));
  settle(shelf_.scheduler);
  Beside alone(shelf_.scheduler, do_raise(b, 5));
  settle(shelf_.scheduler);
  EXPECT_TRUE(alone.done()) << "I/O without an epoch does not count";
  a.use_epoch(5);
  Beside filer(shelf_.scheduler, do_write(a, 3, block));
  settle(shelf_.scheduler);
  Beside raise(shelf_.scheduler, do_raise(b, 6));
  settle(shelf_.scheduler);
  EXPECT_FALSE(raise.done());
  shelf_.held->let_go();
  settle(shelf_.scheduler);
  ASSERT_TRUE(raise.done());
  EXPECT_OK(raise.result());
}

TEST_P(TargetTest, ANewSessionEntersOnlyWhenTheOlderOnesIoHasEnded) {
  LocalDisk old = shelf_.enter(kA1, 1);
  LocalDisk b = shelf_.enter(kB1);
  const TestBlock block(1);
  shelf_.held->hold();
  Beside late(shelf_.scheduler, do_write(old, 3, block));
  settle(shelf_.scheduler);
  std::optional<Result<std::unique_ptr<Target::Session>>> entered;
  TaskScope scope(shelf_.scheduler);
  scope.spawn(store_result(shelf_.target->enter({.key = kA1, .number = 2}), entered));
  settle(shelf_.scheduler);
  EXPECT_FALSE(entered.has_value());
  EXPECT_TRUE(old.session().closed());
  const TestBlock later(2);
  Beside refused(shelf_.scheduler, do_write(old, 4, later));
  settle(shelf_.scheduler);
  ASSERT_TRUE(refused.done());
  EXPECT_ERRC(refused.result(), Errc::kFenced);
  shelf_.held->let_go();
  settle(shelf_.scheduler);
  ASSERT_TRUE(entered.has_value() && entered->ok());
  EXPECT_EQ(on_disk(3), std::byte{1});
  EXPECT_EQ(on_disk(4), std::byte{0});
  EXPECT_ERRC(now(do_register(old)), Errc::kFenced);
  EXPECT_OK(now(do_write(b, 5, later)));  // the other node's session is not touched
}

// The owner of a session may close it (its connection broke) while its I/O is under way.
TEST_P(TargetTest, ANewSessionWaitsForIoOfASessionThatWasClosedBefore) {
  LocalDisk old = shelf_.enter(kA1, 1);
  const TestBlock block(1);
  shelf_.held->hold();
  Beside late(shelf_.scheduler, do_write(old, 3, block));
  settle(shelf_.scheduler);
  old.session().close();
  std::optional<Result<std::unique_ptr<Target::Session>>> entered;
  TaskScope scope(shelf_.scheduler);
  scope.spawn(store_result(shelf_.target->enter({.key = kA2, .number = 1}), entered));
  settle(shelf_.scheduler);
  EXPECT_FALSE(entered.has_value());
  shelf_.held->let_go();
  settle(shelf_.scheduler);
  ASSERT_TRUE(entered.has_value() && entered->ok());
}

TEST_P(TargetTest, AnOlderSessionNeverReplacesANewerOne) {
  LocalDisk session = shelf_.enter(kA2, 5);
  EXPECT_EQ(shelf_.error_of_entering(kA2, 4), Errc::kFenced);
  EXPECT_EQ(shelf_.error_of_entering(kA2, 5), Errc::kFenced);
  EXPECT_EQ(shelf_.error_of_entering(kA1, 9), Errc::kFenced);
  EXPECT_OK(now(do_register(session)));
  LocalDisk next = shelf_.enter(kA2, 6);
  EXPECT_TRUE(session.session().closed());
  EXPECT_OK(now(do_write(next, 1, TestBlock(1))));
}

TEST_P(TargetTest, AnOlderIncarnationDoesNotRegisterBesideANewerOne) {
  {
    LocalDisk newer = shelf_.enter(kA2);
    EXPECT_OK(now(do_register(newer)));
  }
  LocalDisk older = shelf_.enter(kA1);
  EXPECT_EQ(state(older).keys, std::vector{kA2}) << "it may look";
  EXPECT_ERRC(now(do_register(older)), Errc::kFenced);
}

TEST_P(TargetTest, KeysReservationAndEpochSurviveAKill) {
  {
    LocalDisk a = shelf_.enter(kA1);
    LocalDisk b = shelf_.enter(kB1);
    EXPECT_OK(now(do_register(a)));
    EXPECT_OK(now(do_register(b)));
    EXPECT_OK(now(do_reserve(a, kEa)));
    EXPECT_OK(now(do_raise(a, 7)));
    EXPECT_OK(now(do_preempt(b, kA1, kEa)));
  }
  const DiskState before = shelf_.target->state();
  shelf_.kill();
  shelf_.label.lose_power(shelf_.scheduler.random());
  shelf_.open();
  LocalDisk a = shelf_.enter(kA1);
  EXPECT_EQ(state(a), before);
  TestBlock block;
  EXPECT_ERRC(now(do_read(a, 3, block)), Errc::kFenced);
  LocalDisk b = shelf_.enter(kB1);
  b.use_epoch(6);
  EXPECT_ERRC(now(do_write(b, 3, block)), Errc::kFenced);
}

// The label fails in the middle of a removal: what is told afterwards is what a restart finds.
TEST_P(TargetTest, NobodyIsToldAStateThatARestartMayNotFind) {
  sim::SimDisk& label = shelf_.label;
  {
    LocalDisk first = shelf_.enter(kA1);
    EXPECT_OK(now(do_register(first)));
    EXPECT_OK(now(do_reserve(first, kWe)));
    LocalDisk b = shelf_.enter(kB1);
    EXPECT_OK(now(do_register(b)));
    // The fence stops in the middle of its save, and the shelf is killed there.
    shelf_.held_label->hold();
    Beside fence(shelf_.scheduler, do_preempt(b, kA1));
    settle(shelf_.scheduler);
    EXPECT_FALSE(fence.done());
    const TestBlock block(1);
    Beside write(shelf_.scheduler, do_write(first, 3, block));
    settle(shelf_.scheduler);
    EXPECT_ERRC(write.result(), Errc::kFenced);  // gone from memory first
    std::optional<Result<DiskState>> told;
    TaskScope scope(shelf_.scheduler);
    scope.spawn(store_result(do_state(b), told));
    settle(shelf_.scheduler);
    EXPECT_FALSE(told.has_value()) << "the removal is not durable yet";
    shelf_.held_label->let_go();
    settle(shelf_.scheduler);
    ASSERT_TRUE(told.has_value() && told->ok());
    EXPECT_EQ(told->value().keys, std::vector{kB1});
  }
  shelf_.kill();
  label.lose_power(shelf_.scheduler.random(), sim::SimDisk::Keep::kNothing);
  shelf_.open();
  EXPECT_EQ(shelf_.target->state().keys, std::vector{kB1});
}

// While the label cannot be written nobody learns anything, and what was removed stays out.
TEST_P(TargetTest, AFailingLabelNeitherAdmitsNorTellsAnything) {
  {
    LocalDisk a = shelf_.enter(kA1);
    LocalDisk b = shelf_.enter(kB1);
    EXPECT_OK(now(do_register(a)));
    EXPECT_OK(now(do_register(b)));
    EXPECT_OK(now(do_reserve(b, kWe)));
    shelf_.faulty_label->arm({.fault = sim::Fault::kWriteError, .always = true});
    EXPECT_ERRC(now(do_preempt(b, kA1)), Errc::kIo);
    EXPECT_ERRC(now(do_write(a, 3, TestBlock(1))), Errc::kFenced);
    EXPECT_FALSE(now(do_state(b)).ok());
    EXPECT_ERRC(now(do_preempt(b, kA1)), Errc::kIo);  // its key is gone, but not yet durably
    EXPECT_ERRC(now(do_raise(b, 2)), Errc::kIo);
    shelf_.faulty_label->disarm();
    EXPECT_EQ(state(a).keys, std::vector{kB1});
  }
  shelf_.kill();
  shelf_.label.lose_power(shelf_.scheduler.random(), sim::SimDisk::Keep::kNothing);
  shelf_.open();
  EXPECT_EQ(shelf_.target->state().keys, std::vector{kB1});
}

TEST_P(TargetTest, SwapsOnlyWhatIsExpected) {
  LocalDisk a = shelf_.enter(kA1);
  EXPECT_OK(now(do_swap(a, 3, TestBlock(0), TestBlock(1))));
  EXPECT_EQ(on_disk(3), std::byte{1});
  EXPECT_EQ(shelf_.disk.unflushed(), 0U);
  EXPECT_ERRC(now(do_swap(a, 3, TestBlock(0), TestBlock(2))), Errc::kOutOfSync);
  EXPECT_EQ(on_disk(3), std::byte{1});
}

TEST_P(TargetTest, ARepeatedSwapThatHasHappenedSucceeds) {
  LocalDisk a = shelf_.enter(kA1);
  EXPECT_OK(now(do_swap(a, 3, TestBlock(0), TestBlock(1))));
  EXPECT_ERRC(now(do_swap(a, 3, TestBlock(0), TestBlock(1))), Errc::kOutOfSync);
  a.repeat();
  EXPECT_OK(now(do_swap(a, 3, TestBlock(0), TestBlock(1))));
  EXPECT_ERRC(now(do_swap(a, 3, TestBlock(0), TestBlock(2))), Errc::kOutOfSync);
}

TEST_P(TargetTest, OfTwoSwapsThatExpectTheSameOneSucceeds) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  const TestBlock zero(0);
  const TestBlock one(1);
  const TestBlock two(2);
  Beside first(shelf_.scheduler, do_swap(a, 3, zero, one));
  Beside second(shelf_.scheduler, do_swap(b, 3, zero, two));
  settle(shelf_.scheduler);
  EXPECT_NE(first.result().ok(), second.result().ok());
  EXPECT_EQ(on_disk(3), std::byte(first.result().ok() ? 1 : 2));
}

TEST_P(TargetTest, ASwapIsAtomicAgainstWritesOfItsBlock) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  const TestBlock zero(0);
  const TestBlock one(1);
  const TestBlock two(2);
  shelf_.held->hold();
  Beside before(shelf_.scheduler, do_write(b, 3, two));
  settle(shelf_.scheduler);
  Beside swap(shelf_.scheduler, do_swap(a, 3, two, one));
  settle(shelf_.scheduler);
  EXPECT_EQ(shelf_.held->waiting(), 1U) << "it reads only when the write before it has ended";
  Beside after(shelf_.scheduler, do_write(b, 3, zero));
  Beside elsewhere(shelf_.scheduler, do_write(b, 4, two));
  settle(shelf_.scheduler);
  EXPECT_EQ(shelf_.held->waiting(), 2U) << "a write of the block waits, others do not";
  shelf_.held->let_go();
  settle(shelf_.scheduler);
  EXPECT_OK(swap.result());
  EXPECT_OK(after.result());
  EXPECT_EQ(on_disk(3), std::byte{0});
}

TEST_P(TargetTest, ADurableWriteSurvivesPowerLoss) {
  LocalDisk a = shelf_.enter(kA1);
  EXPECT_OK(now(do_durable(a, 3, TestBlock(9))));
  EXPECT_OK(now(do_write(a, 4, TestBlock(9))));
  sim::SimDisk image(shelf_.disk);
  image.lose_power(shelf_.scheduler.random(), sim::SimDisk::Keep::kNothing);
  EXPECT_EQ(image.block(3)[0], std::byte{9});
  EXPECT_EQ(image.block(4)[0], std::byte{0});
}

TEST_P(TargetTest, ManyKeysAreRefusedAndNoneIsLost) {
  for (std::uint64_t i = 1; i <= 64; ++i) {
    LocalDisk one = shelf_.enter(make_key(static_cast<std::uint8_t>(i), i));
    EXPECT_OK(now(do_register(one)));
  }
  LocalDisk more = shelf_.enter(make_key(100, 1));
  EXPECT_ERRC(now(do_register(more)), Errc::kNoSpace);
  EXPECT_EQ(state(more).keys.size(), 64U);
}

TEST_P(TargetTest, TellsWhatChangedAndOnlyThat) {
  using Kind = TargetEvent::Kind;
  std::vector<Kind> told;
  shelf_.target->observe([&](const TargetEvent& event) { told.push_back(event.kind); });
  {
    LocalDisk a = shelf_.enter(kA1, 1);
    LocalDisk again = shelf_.enter(kA1, 2);
    LocalDisk b = shelf_.enter(kB1);
    EXPECT_OK(now(do_register(again)));
    EXPECT_OK(now(do_register(again)));
    EXPECT_OK(now(do_register(b)));
    EXPECT_OK(now(do_reserve(b, kWe)));
    EXPECT_OK(now(do_preempt(b, kA1)));
    EXPECT_OK(now(do_preempt(b, kA1)));
    EXPECT_OK(now(do_raise(b, 2)));
    EXPECT_OK(now(do_release(b)));
    EXPECT_OK(now(do_clear(b)));
    EXPECT_ERRC(now(do_reserve(b, kWe)), Errc::kFenced);
  }
  EXPECT_EQ(told, (std::vector{Kind::kEntered, Kind::kReplaced, Kind::kEntered, Kind::kRegistered,
                               Kind::kRegistered, Kind::kReserved, Kind::kRemoved, Kind::kEpoch,
                               Kind::kReleased, Kind::kCleared}));
  shelf_.target->observe({});
}

// ---- the sequences of fence.h

TEST_P(TargetTest, JoiningRemovesTheOlderIncarnationAndHoldsAReservation) {
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(do_register(b)));
  {
    LocalDisk older = shelf_.enter(kA1);
    EXPECT_OK(now(join_disk(older, kWe)));
  }
  LocalDisk a = shelf_.enter(kA2);
  EXPECT_OK(now(join_disk(a, kWe)));
  EXPECT_EQ(state(a).keys, (std::vector{kA2, kB1}));
  EXPECT_EQ(state(a).holder, kA2);
  EXPECT_OK(now(join_disk(b, kWe)));
  EXPECT_EQ(state(a).holder, kA2);
}

TEST_P(TargetTest, FencingLeavesMyKeyAlone) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_OK(now(join_disk(a, kWe)));
  EXPECT_ERRC(now(fence_disk(b, kWe)), Errc::kFenced);
  EXPECT_OK(now(join_disk(b, kWe)));
  EXPECT_OK(now(fence_disk(b, kWe)));
  EXPECT_EQ(state(b).keys, std::vector{kB1});
  EXPECT_EQ(state(b).holder, kB1);
  EXPECT_ERRC(now(do_write(a, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_ERRC(now(fence_disk(a, kWe)), Errc::kFenced);
}

TEST_P(TargetTest, WithoutCompareAndSwapTheKeysDecideWhoSwaps) {
  LocalDisk a = shelf_.enter(kA1);
  LocalDisk b = shelf_.enter(kB1);
  a.without_swap();
  b.without_swap();
  EXPECT_OK(now(join_disk(a, kWe)));
  EXPECT_OK(now(join_disk(b, kWe)));
  const TestBlock zero(0);
  const TestBlock one(1);
  const TestBlock two(2);
  const auto swap = [&](SharedDisk& disk, const TestBlock& desired) {
    return swap_block(disk, 3, zero.bytes, desired.bytes);
  };
  Beside first(shelf_.scheduler, swap(a, one));
  Beside second(shelf_.scheduler, swap(b, two));
  settle(shelf_.scheduler);
  EXPECT_FALSE(first.result().ok() && second.result().ok());
  EXPECT_TRUE(first.result().ok() || second.result().ok());
  EXPECT_EQ(on_disk(3), std::byte(first.result().ok() ? 1 : 2));
}

}  // namespace
}  // namespace duet::shelf::testing
