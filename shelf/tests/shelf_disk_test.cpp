// The client and the server of a shelf, over streams that cut, delay and lie.

#include "shelf/shelf_disk.h"

#include <vector>

#include "shelf/fence.h"
#include "shelf/label_format.h"
#include "wire_fixture.h"

namespace duet::shelf::testing {
namespace {

using namespace std::chrono_literals;

constexpr Reservation kWe = Reservation::kWriteExclusive;

// Blocks in one piece of memory, or in many.
struct Many {
  explicit Many(std::size_t blocks) : data(blocks) {
    for (auto& block : data) {
      parts.emplace_back(block.bytes);
    }
  }
  std::vector<TestBlock> data;
  std::vector<MutableBytes> parts;
};

Task<Status> write_many(SharedDisk& disk, std::uint64_t block, const Many& many) {
  co_return co_await disk.write(block, many.parts);
}
Task<Status> read_many(SharedDisk& disk, std::uint64_t block, const Many& many) {
  co_return co_await disk.read(block, many.parts);
}

class ShelfDiskTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  template <typename T>
  T now(Task<T> task) {
    return run(shelf_.scheduler, std::move(task));
  }
  void pass(Duration time) { ASSERT_TRUE(shelf_.scheduler.run_for(time, 10'000'000)); }
  std::unique_ptr<ShelfDisk> open(DiskKey key) { return open_disk(shelf_.scheduler, wire_, key); }
  Errc open_error(const ShelfDiskOptions& options) {
    auto opened = try_open(shelf_.scheduler, wire_, options);
    return opened.ok() ? Errc{} : opened.error().code;
  }
  std::byte on_disk(std::uint64_t block) { return shelf_.disk.block(block)[0]; }

  Shelf shelf_{GetParam()};
  WireShelf wire_{shelf_};
};
INSTANTIATE_TEST_SUITE_P(Seeds, ShelfDiskTest, ::testing::Range<std::uint64_t>(1, 9));

TEST_P(ShelfDiskTest, CarriesEveryKindOfRequest) {
  const auto a = open(kA1);
  const auto b = open(kB1);
  EXPECT_EQ(a->block_count(), kBlocks);
  EXPECT_EQ(a->name(), "d0");
  EXPECT_EQ(a->disk_id(), kIdentity.id);
  EXPECT_EQ(a->features(), Target::features());
  EXPECT_OK(now(join_disk(*a, kWe)));
  EXPECT_OK(now(join_disk(*b, kWe)));
  EXPECT_OK(now(do_write(*a, 3, TestBlock(7))));
  EXPECT_OK(now(do_durable(*b, 4, TestBlock(8))));
  EXPECT_OK(now(do_flush(*a)));
  EXPECT_EQ(shelf_.disk.unflushed(), 0U);
  TestBlock block;
  EXPECT_OK(now(do_read(*b, 3, block)));
  EXPECT_EQ(block.bytes[4095], std::byte{7});
  EXPECT_OK(now(do_swap(*a, 4, TestBlock(8), TestBlock(9))));
  EXPECT_ERRC(now(do_swap(*a, 4, TestBlock(8), TestBlock(9))), Errc::kOutOfSync);
  EXPECT_ERRC(now(do_reserve(*b, kWe)), Errc::kRefused);
  EXPECT_OK(now(do_raise(*b, 5)));
  a->use_epoch(4);
  EXPECT_ERRC(now(do_write(*a, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_OK(now(fence_disk(*b, kWe)));
  a->use_epoch(0);
  EXPECT_ERRC(now(do_write(*a, 3, TestBlock(1))), Errc::kFenced);
  const Result<DiskState> state = now(do_state(*a));
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state.value(), shelf_.target->state());
  EXPECT_OK(now(do_release(*b)));
  EXPECT_OK(now(do_clear(*b)));
  EXPECT_OK(now(do_unregister(*b)));
  EXPECT_EQ(on_disk(3), std::byte{7});
  EXPECT_EQ(on_disk(4), std::byte{9});
}

TEST_P(ShelfDiskTest, DividesWhatIsLargeAndJoinsWhatIsScattered) {
  const auto a = open(kA1);
  Many out(33);
  for (std::size_t i = 0; i < out.data.size(); ++i) {
    out.data[i].bytes.fill(static_cast<std::byte>(i + 1));
  }
  EXPECT_OK(now(write_many(*a, 20, out)));
  for (std::size_t i = 0; i < 33; ++i) {
    EXPECT_EQ(on_disk(20 + i), static_cast<std::byte>(i + 1));
  }
  Many in(33);
  EXPECT_OK(now(read_many(*a, 20, in)));
  for (std::size_t i = 0; i < 33; ++i) {
    ASSERT_EQ(in.data[i].bytes, out.data[i].bytes);
  }
  EXPECT_EQ(shelf_.target->counters().writes, 9U) << "of four blocks each";
  const Many none(0);
  EXPECT_OK(now(write_many(*a, 64, none)));
}

TEST_P(ShelfDiskTest, SaysWhyAShelfRefuses) {
  ShelfDiskOptions options = disk_options(kA1);
  options.disk = "d1";
  EXPECT_EQ(open_error(options), Errc::kNotFound);
  options.disk = std::string(65, 'x');
  EXPECT_EQ(open_error(options), Errc::kInvalid);
  const auto newer = open(kA2);
  EXPECT_EQ(open_error(disk_options(kA1)), Errc::kFenced);
  wire_.refusing = true;
  const Instant before = shelf_.scheduler.now();
  EXPECT_EQ(open_error(disk_options(kB1)), Errc::kIo);
  EXPECT_GE(shelf_.scheduler.now() - before, 2s) << "it went on trying";
}

TEST_P(ShelfDiskTest, GoesOnAfterTheShelfWasKilledWithItsKeysAndItsWrites) {
  auto a = open(kA1);
  EXPECT_OK(now(join_disk(*a, kWe)));
  for (std::uint8_t i = 1; i <= 5; ++i) {
    const TestBlock block(i);
    std::optional<Status> written;
    std::optional<Status> swapped;
    const TestBlock expected(static_cast<std::uint8_t>(i - 1));
    TaskScope scope(shelf_.scheduler);
    scope.spawn(store_result(do_write(*a, i, block), written));
    scope.spawn(store_result(do_swap(*a, 40, expected, block), swapped));
    pass(std::chrono::microseconds(shelf_.scheduler.random().below(1500)));
    wire_.kill();
    pass(30ms);
    if (!written) {
      EXPECT_FALSE(a->health().connected);
    }
    wire_.restart();
    ASSERT_TRUE(shelf_.scheduler.run_until([&] { return written && swapped; }));
    EXPECT_OK(*written);
    EXPECT_OK(*swapped);
    EXPECT_EQ(on_disk(i), std::byte{i});
    EXPECT_EQ(on_disk(40), std::byte{i});
  }
  EXPECT_OK(now(do_flush(*a)));
  EXPECT_EQ(now(do_state(*a)).value().keys, std::vector{kA1});
  EXPECT_EQ(a->health().reconnects, 5U);
  a.reset();
  wire_.kill();
}

TEST_P(ShelfDiskTest, ALostShelfStallsThenFailsThenServesAgain) {
  auto a = open(kA1);
  wire_.kill();
  const TestBlock block(1);
  std::optional<Status> written;
  TaskScope scope(shelf_.scheduler);
  scope.spawn(store_result(do_write(*a, 3, block), written));
  pass(1500ms);
  EXPECT_FALSE(written.has_value());
  EXPECT_FALSE(a->health().connected);
  EXPECT_EQ(a->health().operations, 1U);
  EXPECT_FALSE(a->health().last_error.empty());
  pass(1s);
  ASSERT_TRUE(written.has_value());
  EXPECT_ERRC(*written, Errc::kIo);
  wire_.restart();
  EXPECT_OK(now(do_write(*a, 3, block)));
  EXPECT_TRUE(a->health().connected);
  a.reset();
  wire_.kill();
}

// A shelf that is frozen closes nothing.
TEST_P(ShelfDiskTest, AShelfThatDoesNotAnswerIsLost) {
  wire_.frozen = true;
  EXPECT_EQ(open_error(disk_options(kA1)), Errc::kIo);
  wire_.frozen = false;
  auto a = open(kA1);
  wire_.frozen = true;
  wire_.cut();
  const TestBlock block(1);
  std::optional<Status> written;
  TaskScope scope(shelf_.scheduler);
  scope.spawn(store_result(do_write(*a, 3, block), written));
  pass(1s);
  EXPECT_EQ(a->health().last_error, "the shelf does not answer");
  wire_.frozen = false;
  pass(600ms);
  ASSERT_TRUE(written.has_value());
  EXPECT_OK(*written);
}

TEST_P(ShelfDiskTest, ASlowDiskIsNotALostShelf) {
  auto a = open(kA1);
  shelf_.held->hold();
  const TestBlock block(1);
  std::optional<Status> written;
  TaskScope scope(shelf_.scheduler);
  scope.spawn(store_result(do_write(*a, 3, block), written));
  pass(5s);
  EXPECT_FALSE(written.has_value());
  EXPECT_TRUE(a->health().connected);
  EXPECT_EQ(a->health().reconnects, 0U);
  shelf_.held->let_go();
  pass(100ms);
  ASSERT_TRUE(written.has_value());
  EXPECT_OK(*written);
}

// What the old session had under way ends before the new one is let in, and is sent again.
TEST_P(ShelfDiskTest, ALostConnectionLosesAndDoublesNothing) {
  auto a = open(kA1);
  sim::Random& random = shelf_.scheduler.random();
  std::uint8_t last = 0;
  for (int round = 0; round < 20; ++round) {
    const TestBlock expected(last);
    const TestBlock desired(++last);
    std::optional<Status> swapped;
    TaskScope scope(shelf_.scheduler);
    scope.spawn(store_result(do_swap(*a, 3, expected, desired), swapped));
    pass(std::chrono::microseconds(random.below(2000)));
    if (!swapped) {
      wire_.cut();
    }
    ASSERT_TRUE(shelf_.scheduler.run_until([&] { return swapped.has_value(); }));
    EXPECT_OK(*swapped);
    EXPECT_EQ(on_disk(3), std::byte{last});
  }
  EXPECT_GT(a->health().reconnects, 0U);
}

TEST_P(ShelfDiskTest, ATurnedBitIsFoundInEveryPlace) {
  auto a = open(kA1);
  EXPECT_OK(now(do_write(*a, 3, TestBlock(5))));
  std::uint64_t reconnects = 0;
  for (std::uint64_t at = 0; at < 64 + 4096; at += at < 64 ? 1 : 403) {
    wire_.flip_there = at;
    EXPECT_OK(now(do_write(*a, 4, TestBlock(6))));
    EXPECT_EQ(shelf_.disk.block(4), TestBlock(6).bytes);
    TestBlock block;
    wire_.flip_here = at % (32 + 4096);
    EXPECT_OK(now(do_read(*a, 3, block)));
    EXPECT_EQ(block.bytes, TestBlock(5).bytes);
    EXPECT_EQ(a->health().reconnects, reconnects + 2) << at;
    reconnects = a->health().reconnects;
  }
  EXPECT_GT(wire_.server().counters().corrupt, 0U);
}

TEST_P(ShelfDiskTest, AFlushNeverHidesThatTheShelfLostItsPower) {
  auto a = open(kA1);
  EXPECT_OK(now(do_write(*a, 3, TestBlock(1))));
  EXPECT_OK(now(do_flush(*a)));
  wire_.lose_power();
  wire_.restart();
  EXPECT_OK(now(do_flush(*a)));  // all was durable
  EXPECT_OK(now(do_write(*a, 4, TestBlock(1))));
  wire_.kill();
  wire_.restart();
  EXPECT_OK(now(do_flush(*a)));  // a kill loses nothing
  EXPECT_OK(now(do_write(*a, 5, TestBlock(1))));
  wire_.lose_power();
  wire_.restart();
  EXPECT_ERRC(now(do_flush(*a)), Errc::kIo);
  EXPECT_ERRC(now(do_flush(*a)), Errc::kIo);  // others may ask as well
  EXPECT_EQ(on_disk(4), std::byte{1});
  EXPECT_EQ(on_disk(5), std::byte{0});
  // Who begins again from what is there, as an opened filer does, is answered for what it writes.
  a->begin_anew();
  EXPECT_OK(now(do_write(*a, 6, TestBlock(1))));
  EXPECT_OK(now(do_flush(*a)));
  EXPECT_OK(now(do_write(*a, 7, TestBlock(1))));
  wire_.lose_power();
  wire_.restart();
  EXPECT_ERRC(now(do_flush(*a)), Errc::kIo);
  a.reset();
  wire_.kill();
}

TEST_P(ShelfDiskTest, AFencedProcessIsToldSoByItsNewerOne) {
  auto old = open(kA1);
  EXPECT_OK(now(join_disk(*old, kWe)));
  auto young = open(kA2);
  EXPECT_OK(now(join_disk(*young, kWe)));
  EXPECT_ERRC(now(do_write(*old, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_ERRC(now(do_register(*old)), Errc::kFenced);
  EXPECT_OK(now(do_write(*young, 3, TestBlock(2))));
  EXPECT_EQ(on_disk(3), std::byte{2});
}

TEST_P(ShelfDiskTest, OneProcessMayCloseItsDiskAndOpenItAgain) {
  for (int i = 0; i < 5; ++i) {
    auto a = open(kA1);
    const TestBlock block(static_cast<std::uint8_t>(i));
    std::optional<Status> written;
    TaskScope scope(shelf_.scheduler);
    scope.spawn(store_result(do_write(*a, 3, block), written));
    a.reset();
    EXPECT_FALSE(written.has_value()) << "it is told in a later turn";
    pass(0ms);
    ASSERT_TRUE(written.has_value());
    EXPECT_ERRC(*written, Errc::kClosed);
  }
}

TEST_P(ShelfDiskTest, MoreThanTheShelfTakesAtATimeWaitsItsTurn) {
  wire_.kill();
  wire_.~WireShelf();
  shelf_.open();
  new (&wire_) WireShelf(shelf_, {.requests_max = 4, .bytes_max = 8 * kBlockBytes});
  auto a = open(kA1);
  Many many(40);
  std::vector<std::optional<Status>> written(40);
  shelf_.held->hold();
  {
    TaskScope scope(shelf_.scheduler);
    std::vector<std::unique_ptr<TestBlock>> blocks;
    for (std::uint8_t i = 0; i < 40; ++i) {
      blocks.push_back(std::make_unique<TestBlock>(static_cast<std::uint8_t>(i + 1)));
      scope.spawn(store_result(do_write(*a, i, *blocks.back()), written[i]));
    }
    pass(100ms);
    EXPECT_EQ(shelf_.held->waiting(), 4U);
    shelf_.held->let_go();
    pass(1s);
  }
  for (std::uint8_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(written[i].has_value());
    EXPECT_OK(*written[i]);
    EXPECT_EQ(on_disk(i), static_cast<std::byte>(i + 1));
  }
}

TEST_P(ShelfDiskTest, WithoutItsShelfItCanBeClosed) {
  auto a = open(kA1);
  wire_.kill();
  pass(300ms);
  a.reset();
}

}  // namespace
}  // namespace duet::shelf::testing
