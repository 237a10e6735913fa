// What simulated memory remembers.

#include "sim/sim_persistent_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace duet::sim {
namespace {

void fill(SimPersistentMemory& memory, std::uint64_t offset, std::size_t count, int value) {
  memory.store(offset, std::vector<std::byte>(count, static_cast<std::byte>(value)));
}

int at(const SimPersistentMemory& memory, std::size_t offset) {
  return std::to_integer<int>(memory.bytes()[offset]);
}

TEST(SimPersistentMemory, PowerLossKeepsWhatWasPersisted) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    SimPersistentMemory memory(1000);
    fill(memory, 10, 500, 1);
    ASSERT_TRUE(memory.persist().ok());
    memory.lose_power(random);
    EXPECT_EQ(at(memory, 9), 0);
    EXPECT_TRUE(std::ranges::all_of(memory.bytes().subspan(10, 500),
                                    [](std::byte byte) { return byte == std::byte{1}; }));
  }
}

TEST(SimPersistentMemory, PowerLossLeavesEachUnpersistedLineInAnyOfItsStates) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    Random random(seed);
    SimPersistentMemory memory(128);
    fill(memory, 0, 128, 1);
    ASSERT_TRUE(memory.persist().ok());
    fill(memory, 0, 128, 2);
    fill(memory, 60, 8, 3);
    memory.lose_power(random);
    std::string outcome;
    for (const std::size_t offset : {59U, 60U, 67U, 68U}) {
      outcome.push_back(static_cast<char>('0' + at(memory, offset)));
    }
    outcomes.insert(outcome);
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"1111", "1122", "1132", "2211", "2222", "2232", "2311",
                                             "2322", "2332"}));
}

TEST(SimPersistentMemory, PowerLossWithoutChanceLosesAllThatWasNotPersisted) {
  SimPersistentMemory memory(100);
  fill(memory, 0, 100, 1);
  ASSERT_TRUE(memory.persist().ok());
  fill(memory, 5, 20, 2);
  fill(memory, 10, 90, 3);
  memory.lose_power();
  EXPECT_TRUE(
      std::ranges::all_of(memory.bytes(), [](std::byte byte) { return byte == std::byte{1}; }));
}

TEST(SimPersistentMemory, AFailedPersistPersistsNothing) {
  SimPersistentMemory memory(100);
  memory.fail_next_persist();
  fill(memory, 0, 100, 1);
  EXPECT_FALSE(memory.persist().ok());
  memory.lose_power();
  EXPECT_EQ(at(memory, 0), 0);
}

TEST(SimPersistentMemory, ACopyAtAnyEventIsAnotherMemoryWithTheSamePast) {
  SimPersistentMemory memory(64);
  std::vector<SimPersistentMemory> copies;
  std::vector<SimPersistentMemory::Event> events;
  memory.observe([&](SimPersistentMemory::Event event) {
    events.push_back(event);
    copies.emplace_back(memory);
  });
  fill(memory, 0, 8, 1);
  ASSERT_TRUE(memory.persist().ok());
  fill(memory, 0, 8, 2);
  using enum SimPersistentMemory::Event;
  EXPECT_EQ(events, (std::vector{kStore, kPersist, kStore}));
  copies[0].lose_power();
  copies[1].lose_power();
  EXPECT_EQ(at(copies[0], 0), 0);
  EXPECT_EQ(at(copies[1], 0), 1);
  EXPECT_EQ(at(copies[2], 0), 2);
  copies[2].lose_power();
  EXPECT_EQ(at(copies[2], 0), 1);
  EXPECT_EQ(at(memory, 0), 2);
}

}  // namespace
}  // namespace duet::sim
