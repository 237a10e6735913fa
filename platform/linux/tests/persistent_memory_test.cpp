// Mapped memory, on files that stand for persistent memory and on files that are not.

#include "platform/linux/persistent_memory.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "platform/linux/clock.h"
#include "platform/linux/entropy.h"
#include "temporary_directory.h"

namespace duet::os {
namespace {

constexpr std::uint64_t kBytes = 1U << 20U;
constexpr PersistentMemoryOptions kNewVolatile{.create = true, .accept_volatile = true};

class MapPersistentMemory : public testing::Test {
 protected:
  Errc code(std::uint64_t bytes, const PersistentMemoryOptions& options) {
    const auto memory = map_persistent_memory(path_, bytes, options);
    return memory.ok() ? Errc{} : memory.error().code;
  }
  TemporaryDirectory directory_;
  std::string path_ = directory_.file("memory");
};

TEST_F(MapPersistentMemory, OfAnotherIsMappedBesideItsOwnerAndNeverMade) {
  const PersistentMemoryOptions of_another{
      .create = true, .accept_volatile = true, .of_another = true};
  EXPECT_EQ(code(kBytes, of_another), Errc::kNotFound);
  const auto owned = map_persistent_memory(path_, kBytes, kNewVolatile);
  ASSERT_TRUE(owned.ok());
  EXPECT_EQ(code(kBytes, kNewVolatile), Errc::kRefused);
  const auto beside = map_persistent_memory(path_, kBytes, of_another);
  ASSERT_TRUE(beside.ok());
  const std::array<std::byte, 3> data{std::byte{1}, std::byte{2}, std::byte{3}};
  beside.value()->store(100, data);
  ASSERT_TRUE(beside.value()->persist().ok());
  EXPECT_TRUE(std::ranges::equal(owned.value()->bytes().subspan(100, 3), data));
}

TEST_F(MapPersistentMemory, RefusesWhatPowerLossErasesUnlessThatIsAccepted) {
  EXPECT_EQ(code(kBytes, {.create = true}), Errc::kNotSupported);
  EXPECT_EQ(access(path_.c_str(), F_OK), -1) << "a refused file was left behind";
  const auto accepted = map_persistent_memory(path_, kBytes, kNewVolatile);
  ASSERT_TRUE(accepted.ok());
  EXPECT_FALSE(accepted.value()->persistent());
}

TEST_F(MapPersistentMemory, CreatesOnlyWhenAskedAndRefusesAnotherSize) {
  EXPECT_EQ(code(kBytes, {.accept_volatile = true}), Errc::kNotFound);
  EXPECT_EQ(code(kBytes, kNewVolatile), Errc{});
  EXPECT_EQ(code(kBytes, {.accept_volatile = true}), Errc{});
  EXPECT_EQ(code(kBytes * 2, kNewVolatile), Errc::kInvalid);
  EXPECT_EQ(code(kBytes / 2, kNewVolatile), Errc::kInvalid);
  EXPECT_EQ(code(kBytes, {.accept_volatile = true}), Errc{}) << "a refusal changed the file";
}

TEST_F(MapPersistentMemory, StartsAsZerosAndIsOnePartysAtATime) {
  const auto memory = map_persistent_memory(path_, kBytes, kNewVolatile);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory.value()->bytes().size(), kBytes);
  EXPECT_TRUE(std::ranges::all_of(memory.value()->bytes(),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_EQ(code(kBytes, kNewVolatile), Errc::kRefused);
}

void store_and_die(const std::string& path, const char* text) {
  const auto memory = map_persistent_memory(path, kBytes, kNewVolatile);
  if (memory.ok()) {
    memory.value()->store(kBytes - 3, std::as_bytes(std::span(text, 3)));
    (void)memory.value()->persist();
  }
  raise(SIGKILL);
}

TEST_F(MapPersistentMemory, KeepsWhatWasPersistedWhenTheProcessIsKilled) {
  EXPECT_EXIT(store_and_die(path_, "abc"), testing::KilledBySignal(SIGKILL), "");
  const auto memory = map_persistent_memory(path_, kBytes, {.accept_volatile = true});
  ASSERT_TRUE(memory.ok());
  EXPECT_TRUE(
      std::ranges::equal(memory.value()->bytes().last(3), std::as_bytes(std::span("abc", 3))));
}

void store_persistently(const std::string& path) {
  const auto memory = map_persistent_memory(path, kBytes, {.create = true});
  if (!memory.ok() || !memory.value()->persistent()) {
    std::exit(1);
  }
  std::array<std::byte, 5000> bytes;
  bytes.fill(std::byte{0x5A});
  memory.value()->store(77, bytes);
  std::exit(memory.value()->persist().ok() ? 0 : 2);
}

// libpmem reads its environment when it is loaded, so another process has to do this.
TEST_F(MapPersistentMemory, UsesTheInstructionsOfRealPersistentMemoryWhereItIs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  // That process runs this test from its start, with another directory.
  const char* const inherited = getenv("DUET_TEST_PATH");
  const std::string path = inherited != nullptr ? inherited : path_;
  if (inherited != nullptr) {
    std::filesystem::remove(directory_.file(""));
  }
  setenv("DUET_TEST_PATH", path.c_str(), 1);
  setenv("PMEM_IS_PMEM_FORCE", "1", 1);
  EXPECT_EXIT(store_persistently(path), testing::ExitedWithCode(0), "");
  unsetenv("PMEM_IS_PMEM_FORCE");
  unsetenv("DUET_TEST_PATH");
  const auto memory = map_persistent_memory(path, kBytes, {.accept_volatile = true});
  ASSERT_TRUE(memory.ok());
  const auto stored = memory.value()->bytes().subspan(76, 5002);
  EXPECT_EQ(stored.front(), std::byte{0});
  EXPECT_EQ(stored.back(), std::byte{0});
  EXPECT_TRUE(std::ranges::all_of(stored.subspan(1, 5000),
                                  [](std::byte byte) { return byte == std::byte{0x5A}; }));
}

TEST(SystemClock, GivesTheTimeOfDay) {
  const auto now = SystemClock().since_epoch();
  EXPECT_GT(now, std::chrono::hours(24 * 365 * 50));  // after 2020
  EXPECT_LE(now, std::chrono::system_clock::now().time_since_epoch());
}

TEST(SystemEntropy, DoesNotRepeatItself) {
  SystemEntropy entropy;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(seen.insert(entropy.next()).second);
  }
}

}  // namespace
}  // namespace duet::os
