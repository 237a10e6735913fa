// What simulated disks keep, lose, tear and get wrong.

#include "sim/sim_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "platform/task_scope.h"
#include "sim/faulty_block_device.h"
#include "sim/sim_block_device.h"

namespace duet::sim {
namespace {

constexpr std::uint64_t kBlocks = 64;

struct alignas(kBlockBytes) Buffer {
  explicit Buffer(int value = 0) { bytes.fill(static_cast<std::byte>(value)); }
  SimDisk::Block bytes;
};

// The value of every sector of a block, as digits.
std::string sectors(const SimDisk::Block& block) {
  std::string digits;
  for (std::size_t at = 0; at < kBlockBytes; at += kSectorBytes) {
    const auto sector = std::span(block).subspan(at, kSectorBytes);
    const bool whole = std::ranges::all_of(sector, [&](std::byte b) { return b == sector[0]; });
    digits.push_back(whole ? static_cast<char>('0' + std::to_integer<int>(sector[0])) : '?');
  }
  return digits;
}
std::string all(char digit) { return std::string(kBlockBytes / kSectorBytes, digit); }

Task<Status> write(BlockDevice& disk, std::uint64_t block, int value) {
  Buffer* const buffer = new Buffer(value);
  const std::unique_ptr<Buffer> owner(buffer);
  const std::array<MutableBytes, 1> parts{MutableBytes(buffer->bytes)};
  const Status written = co_await disk.write(block, parts);
  co_return written;
}

Task<void> expect_write(BlockDevice& disk, std::uint64_t block, int value, bool ok) {
  const Status written = co_await write(disk, block, value);
  EXPECT_EQ(written.ok(), ok);
}

Task<void> expect_flush(BlockDevice& disk, bool ok) {
  const Status flushed = co_await disk.flush();
  EXPECT_EQ(flushed.ok(), ok);
}

Task<void> read_to(BlockDevice& disk, std::uint64_t block, Buffer& buffer, bool& ok) {
  const std::array<MutableBytes, 1> parts{MutableBytes(buffer.bytes)};
  const Status got = co_await disk.read(block, parts);
  ok = got.ok();
}

void run(SimScheduler& scheduler, Task<void> task) {
  TaskScope scope(scheduler);
  scope.spawn(std::move(task));
  EXPECT_TRUE(scheduler.run());
  EXPECT_TRUE(scope.idle());
}

Task<void> write_two_and_flush_one(BlockDevice& disk) {
  const Status first = co_await write(disk, 1, 1);
  const Status flushed = co_await disk.flush();
  const Status second = co_await write(disk, 2, 2);
  EXPECT_TRUE(first.ok() && flushed.ok() && second.ok());
}

TEST(SimDisk, PowerLossKeepsWhatWasFlushedAndAnySectorsOfTheRest) {
  std::map<std::string, int> outcomes;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SimScheduler scheduler(seed);
    SimDisk disk("d", kBlocks);
    SimBlockDevice device(scheduler, disk);
    run(scheduler, write_two_and_flush_one(device));
    EXPECT_EQ(sectors(disk.block(2)), all('2')) << "a read gives the last write";
    EXPECT_EQ(disk.unflushed(), 1U);
    disk.lose_power(scheduler.random());
    EXPECT_EQ(sectors(disk.block(1)), all('1'));
    ++outcomes[sectors(disk.block(2))];
  }
  EXPECT_GT(outcomes[all('0')], 20);
  EXPECT_GT(outcomes[all('2')], 20);
  EXPECT_GT(outcomes.size(), 20U) << "torn in many ways";
  EXPECT_FALSE(std::ranges::any_of(outcomes, [](const auto& outcome) {
    return outcome.first.find_first_not_of("02") != std::string::npos;
  }));
}

TEST(SimDisk, PowerLossKeepsTheWritesThatAreNamed) {
  SimScheduler scheduler(1);
  SimDisk disk("d", kBlocks);
  SimBlockDevice device(scheduler, disk);
  run(scheduler, expect_write(device, 1, 1, true));
  run(scheduler, expect_write(device, 2, 2, true));
  run(scheduler, expect_write(device, 3, 3, true));
  disk.lose_power({false, true, false});
  EXPECT_EQ(sectors(disk.block(1)), all('0'));
  EXPECT_EQ(sectors(disk.block(2)), all('2'));
  EXPECT_EQ(sectors(disk.block(3)), all('0'));
  EXPECT_EQ(disk.unflushed(), 0U);
}

TEST(SimDisk, AFlushCoversOnlyWritesThatEndedBeforeItBegan) {
  Random random(1);
  SimDisk disk("d", kBlocks);
  Buffer one(1);
  Buffer two(2);
  const std::array<MutableBytes, 1> first{MutableBytes(one.bytes)};
  const std::array<MutableBytes, 1> second{MutableBytes(two.bytes)};
  const SimDisk::WriteId ended = disk.begin_write(1, first);
  disk.end_write(ended);
  const SimDisk::WriteId late = disk.begin_write(2, second);
  const SimDisk::FlushMark flush = disk.begin_flush();
  disk.end_write(late);
  disk.end_flush(flush);
  disk.lose_power(random, SimDisk::Keep::kNothing);
  EXPECT_EQ(sectors(disk.block(1)), all('1'));
  EXPECT_EQ(sectors(disk.block(2)), all('0'));
}

TEST(SimDisk, ACopyAtAnyEventIsAnotherDiskWithTheSamePast) {
  SimScheduler scheduler(5);
  SimDisk disk("d", kBlocks);
  std::vector<SimDisk> copies;
  std::string events;
  disk.observe([&](const SimDisk::Event& event) {
    events.push_back(event.kind == SimDisk::EventKind::kWrite ? 'w' : 'f');
    copies.emplace_back(disk);
  });
  {
    SimBlockDevice device(scheduler, disk);
    run(scheduler, write_two_and_flush_one(device));
  }
  ASSERT_EQ(events, "wfw");
  Random random(1);
  const auto after = [&](std::size_t event, SimDisk::Keep keep) {
    SimDisk copy(copies[event]);
    copy.lose_power(random, keep);
    return sectors(copy.block(1)).substr(0, 1) + sectors(copy.block(2)).substr(0, 1);
  };
  EXPECT_EQ(after(0, SimDisk::Keep::kNothing), "00");
  EXPECT_EQ(after(0, SimDisk::Keep::kEverything), "10") << "a write under way may have happened";
  EXPECT_EQ(after(1, SimDisk::Keep::kNothing), "10");
  EXPECT_EQ(after(2, SimDisk::Keep::kNothing), "10");
  EXPECT_EQ(after(2, SimDisk::Keep::kEverything), "12");
  EXPECT_EQ(sectors(disk.block(2)), all('2')) << "the original goes on";
}

TEST(SimBlockDevice, DestroyingItLeavesWritesUnderWayDoneOrNotAndTheRestInTheCache) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SimScheduler scheduler(seed);
    SimDisk disk("d", kBlocks);
    {
      auto device = std::make_unique<SimBlockDevice>(scheduler, disk);
      run(scheduler, expect_write(*device, 1, 1, true));
      TaskScope process(scheduler);
      process.spawn(expect_write(*device, 2, 2, true));
      EXPECT_EQ(device->under_way(), 1U);
      device.reset();
    }
    EXPECT_TRUE(scheduler.run()) << "nobody hears of it";
    SimBlockDevice again(scheduler, disk);
    Buffer buffer;
    bool ok = false;
    run(scheduler, read_to(again, 1, buffer, ok));
    EXPECT_TRUE(ok);
    EXPECT_EQ(sectors(buffer.bytes), all('1'));
    run(scheduler, read_to(again, 2, buffer, ok));
    outcomes.insert(sectors(buffer.bytes));
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{all('0'), all('2')}));
}

TEST(SimBlockDevice, OperationsEndInAnyOrder) {
  std::set<bool> second_first;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimScheduler scheduler(seed);
    SimDisk disk("d", kBlocks);
    SimBlockDevice device(scheduler, disk);
    TaskScope scope(scheduler);
    scope.spawn(expect_write(device, 1, 1, true));
    scope.spawn(expect_write(device, 1, 2, true));
    EXPECT_TRUE(scheduler.run());
    second_first.insert(sectors(disk.block(1)) == all('1'));
  }
  EXPECT_EQ(second_first.size(), 2U);
}

TEST(SimBlockDeviceDeathTest, StopsWhoChangesBytesThatAreBeingWritten) {
  SimScheduler scheduler(1);
  SimDisk disk("d", kBlocks);
  SimBlockDevice device(scheduler, disk);
  struct Operation final : BlockOperation {
    void run() override {}
  } operation;
  Buffer buffer(1);
  const std::array<MutableBytes, 1> parts{MutableBytes(buffer.bytes)};
  operation.kind = BlockOperation::Kind::kWrite;
  operation.parts = parts;
  device.start(operation);
  buffer.bytes[100] = std::byte{7};
  EXPECT_DEATH((void)scheduler.run(), "unchanged");
}

class Faulty : public testing::Test {
 protected:
  std::string read(std::uint64_t block) {
    Buffer buffer;
    bool ok = false;
    run(scheduler_, read_to(faulty_, block, buffer, ok));
    return ok ? sectors(buffer.bytes) : "error";
  }
  void write_block(std::uint64_t block, int value, bool ok = true) {
    run(scheduler_, expect_write(faulty_, block, value, ok));
  }
  SimScheduler scheduler_{1};
  SimDisk disk_{"d", kBlocks};
  SimBlockDevice device_{scheduler_, disk_};
  FaultyBlockDevice faulty_{scheduler_, device_};
};

TEST_F(Faulty, FailsTheOperationItWasArmedForAndNoOther) {
  faulty_.arm({.fault = Fault::kReadError, .skip = 1, .block = 3});
  EXPECT_EQ(read(3), all('0'));
  EXPECT_EQ(read(4), all('0'));
  EXPECT_EQ(read(3), "error");
  EXPECT_EQ(read(3), all('0'));
  faulty_.arm({.fault = Fault::kReadError, .block = 3, .always = true});
  EXPECT_EQ(read(3), "error");
  EXPECT_EQ(read(3), "error");
  EXPECT_EQ(faulty_.happened(Fault::kReadError), 3U);
  faulty_.disarm();
  EXPECT_EQ(read(3), all('0'));
  faulty_.arm({.fault = Fault::kReadError, .block = 3, .until_written = true});
  EXPECT_EQ(read(3), "error");
  write_block(4, 1);
  EXPECT_EQ(read(3), "error");
  write_block(3, 1);
  EXPECT_EQ(read(3), all('1'));
}

TEST_F(Faulty, CorruptReadsTurnOneBitInTheBufferOnly) {
  write_block(5, 1);
  faulty_.arm({.fault = Fault::kCorruptRead});
  const std::string seen = read(5);
  EXPECT_EQ(std::ranges::count(seen, '?'), 1) << seen;
  EXPECT_EQ(read(5), all('1'));
}

TEST_F(Faulty, LostAndMisdirectedWritesReportSuccess) {
  write_block(5, 1);
  faulty_.arm({.fault = Fault::kLostWrite});
  write_block(5, 2);
  EXPECT_EQ(read(5), all('1'));
  faulty_.arm({.fault = Fault::kMisdirectedWrite});
  write_block(5, 3);
  int found = 0;
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    found += sectors(disk_.block(block)) == all('3') ? 1 : 0;
  }
  EXPECT_EQ(found, 1);
}

TEST_F(Faulty, AWriteErrorMayHaveWrittenAndAFlushErrorFlushedNothing) {
  std::set<std::string> outcomes;
  for (int i = 0; i < 30; ++i) {
    write_block(5, 1);
    faulty_.arm({.fault = Fault::kWriteError});
    write_block(5, 2, false);
    outcomes.insert(read(5));
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{all('1'), all('2')}));
  faulty_.arm({.fault = Fault::kFlushError});
  run(scheduler_, expect_flush(faulty_, false));
  EXPECT_GT(disk_.unflushed(), 0U);
  run(scheduler_, expect_flush(faulty_, true));
  EXPECT_EQ(disk_.unflushed(), 0U);
}

TEST_F(Faulty, AChanceIsTakenAboutAsOftenAsItSays) {
  faulty_.chance(Fault::kReadError, 4);
  int errors = 0;
  for (int i = 0; i < 1000; ++i) {
    errors += read(1) == "error" ? 1 : 0;
  }
  EXPECT_GT(errors, 150);
  EXPECT_LT(errors, 350);
}

}  // namespace
}  // namespace duet::sim
