// A stand-in: nothing waits for it, nothing is written before it was admitted.

#include "shelf/late_disk.h"

#include "shelf/fence.h"
#include "wire_fixture.h"

namespace duet::shelf::testing {
namespace {

using namespace std::chrono_literals;

class LateDiskTest : public ::testing::Test {
 protected:
  template <typename T>
  T now(Task<T> task) {
    return run(shelf_.scheduler, std::move(task));
  }
  void pass(Duration time) { ASSERT_TRUE(shelf_.scheduler.run_for(time, 10'000'000)); }
  Task<Result<std::unique_ptr<SharedDisk>>> open() {
    ++attempts_;
    if (!up_) {
      co_return Error{refused_, "nobody listens"};
    }
    ShelfDiskOptions options{.disk = "d0", .key = kA1};
    auto opened = co_await ShelfDisk::open(shelf_.scheduler, std::make_unique<TestConnector>(wire_),
                                           std::move(options));
    if (!opened.ok()) {
      co_return opened.error();
    }
    co_return std::unique_ptr<SharedDisk>(std::move(opened.value()));
  }
  std::unique_ptr<LateDisk> late() {
    return std::make_unique<LateDisk>(
        shelf_.scheduler, kA1, "late", [this] { return open(); }, 1s);
  }
  static Task<Status> write(SharedDisk& disk, TestBlock& block) {
    co_return co_await disk.write(3, std::span(&block.part, 1));
  }
  static Task<Status> write_durable(SharedDisk& disk, TestBlock& block) {
    co_return co_await disk.write_durable(3, std::span(&block.part, 1));
  }
  static Task<Status> read(SharedDisk& disk, TestBlock& block) {
    co_return co_await disk.read(3, std::span(&block.part, 1));
  }
  static Task<Status> swap(SharedDisk& disk, TestBlock& from, TestBlock& to) {
    co_return co_await disk.compare_and_swap(3, from.bytes, to.bytes);
  }
  static Task<Status> flush(SharedDisk& disk) { co_return co_await disk.flush(); }
  static Task<Status> registers(SharedDisk& disk) { co_return co_await disk.register_key(); }
  static Task<Status> joins(SharedDisk& disk) {
    co_return co_await join_disk(disk, Reservation::kWriteExclusive);
  }

  Shelf shelf_{1};
  WireShelf wire_{shelf_};
  bool up_ = false;
  Errc refused_ = Errc::kIo;
  int attempts_ = 0;
};

TEST_F(LateDiskTest, AwayEverythingFailsAtOnce) {
  const auto disk = late();
  TestBlock block;
  const Instant begun = shelf_.scheduler.now();
  EXPECT_EQ(now(read(*disk, block)).error().code, Errc::kIo);
  EXPECT_EQ(now(write(*disk, block)).error().code, Errc::kIo);
  EXPECT_EQ(now(flush(*disk)).error().code, Errc::kIo);
  EXPECT_EQ(now(registers(*disk)).error().code, Errc::kIo);
  EXPECT_EQ(now(swap(*disk, block, block)).error().code, Errc::kIo);
  EXPECT_LT(shelf_.scheduler.now() - begun, 1s);
  EXPECT_EQ(disk->block_count(), 0U);
  EXPECT_FALSE(disk->health().connected);
  EXPECT_EQ(disk->health().last_error, "nobody listens");
}

TEST_F(LateDiskTest, IsTriedAgainUntilItIsHere) {
  const auto disk = late();
  pass(3500ms);
  EXPECT_EQ(attempts_, 4);
  EXPECT_FALSE(disk->here());
  up_ = true;
  pass(1500ms);
  ASSERT_TRUE(disk->here());
  EXPECT_EQ(disk->block_count(), kBlocks);
  EXPECT_FALSE(disk->health().connected) << "nobody may plan with it yet";
  pass(5s);
  EXPECT_EQ(attempts_, 5);
}

TEST_F(LateDiskTest, NothingIsWrittenBeforeItWasAdmitted) {
  up_ = true;
  const auto disk = late();
  pass(500ms);
  ASSERT_TRUE(disk->here());
  TestBlock zero;
  TestBlock one;
  one.bytes.fill(std::byte{1});
  ASSERT_TRUE(now(joins(*disk)).ok());
  EXPECT_EQ(now(write(*disk, one)).error().code, Errc::kIo);
  EXPECT_EQ(now(write_durable(*disk, one)).error().code, Errc::kIo);
  EXPECT_EQ(now(swap(*disk, zero, one)).error().code, Errc::kIo);
  TestBlock found;
  ASSERT_TRUE(now(read(*disk, found)).ok());
  EXPECT_EQ(found.bytes[0], std::byte{0});
  disk->admit();
  EXPECT_TRUE(disk->health().connected);
  ASSERT_TRUE(now(write(*disk, one)).ok());
  ASSERT_TRUE(now(flush(*disk)).ok());
  ASSERT_TRUE(now(read(*disk, found)).ok());
  EXPECT_EQ(found.bytes[0], std::byte{1});
}

TEST_F(LateDiskTest, OneThatIsLostBeforeItsUserBeganIsAdmittedAnew) {
  up_ = true;
  const auto disk = late();
  pass(500ms);
  ASSERT_TRUE(now(joins(*disk)).ok());
  disk->admit();
  TestBlock one(1);
  ASSERT_TRUE(now(write(*disk, one)).ok());
  wire_.refusing = true;
  wire_.cut();
  pass(500ms);
  EXPECT_TRUE(disk->here());
  EXPECT_FALSE(disk->reachable());
  disk->dismiss();
  wire_.refusing = false;
  pass(500ms);
  EXPECT_TRUE(disk->reachable());
  EXPECT_FALSE(disk->health().connected);
  EXPECT_EQ(now(write(*disk, one)).error().code, Errc::kIo);
  disk->admit();
  EXPECT_TRUE(now(write(*disk, one)).ok());
}

TEST_F(LateDiskTest, SaysThatANewerProcessOfTheNodeIsThere) {
  refused_ = Errc::kFenced;
  const auto disk = late();
  pass(100ms);
  EXPECT_TRUE(disk->superseded());
  EXPECT_EQ(now(registers(*disk)).error().code, Errc::kFenced);
}

}  // namespace
}  // namespace duet::shelf::testing
