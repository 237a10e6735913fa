// What strangers may say.  Fresh seeds; DUET_SEED=n repeats one.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "fuzz_input.h"
#include "nbd_client.h"

namespace duet::nbd::test {
namespace {

std::uint64_t seed() {
  const char* const given = std::getenv("DUET_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

std::vector<std::byte> random_bytes(std::mt19937_64& random, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

TEST(NbdHostile, RandomBytesAndDamagedHandshakesEndAConnectionAndNoMore) {
  const std::uint64_t chosen = seed();
  SCOPED_TRACE("DUET_SEED=" + std::to_string(chosen));
  std::mt19937_64 random(chosen);
  const Wire good = Wire()
                        .u32(3)
                        .add(option(3))
                        .add(option(6, named("tank/host", {3})))
                        .add(option(7, named("tank/host")))
                        .add(request(0, 1, 0, 4096))
                        .add(request(1, 2, 4096, 4096))
                        .fill(4096, 'x')
                        .add(request(3, 3, 0, 0));
  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> input = random_bytes(random, 2);
    input[1] &= std::byte{0xFE};  // raw
    if (i % 3 == 0) {
      const std::vector<std::byte> noise = random_bytes(random, random() % 300);
      input.insert(input.end(), noise.begin(), noise.end());
    } else {
      std::vector<std::byte> bytes = good.bytes();
      for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
        bytes[random() % 250] = static_cast<std::byte>(random());
      }
      input.insert(input.end(), bytes.begin(), bytes.end());
    }
    fuzz_connection(input);
  }
}

TEST(NbdHostile, RequestsOfAllKindsAreAnsweredOneByOne) {
  const std::uint64_t chosen = seed();
  SCOPED_TRACE("DUET_SEED=" + std::to_string(chosen));
  std::mt19937_64 random(chosen);
  for (int i = 0; i < 100; ++i) {
    std::vector<std::byte> input = random_bytes(random, 2 + 8 * (random() % 40));
    input[1] |= std::byte{1};
    fuzz_connection(input);
  }
}

TEST(NbdHostile, AHugeClaimCostsNoMemory) {
  sim::SimScheduler scheduler(1);
  TestDisk disk(scheduler, 64);
  std::vector<Export> exports;
  exports.push_back({"d", {rule("*", true)}, [&disk] { return &disk; }});
  Server server(scheduler, std::move(exports), nullptr);
  NbdClient option_client(scheduler, server);
  option_client.send(Wire().u32(3).u64(kOptionMagic).u32(7).u32(0xFFFF'FFFF));
  NbdClient request_client(scheduler, server);
  request_client.send(Wire().u32(3).add(option(7, named("d"))).add(request(1, 1, 0, 0xFFFF'F000)));
  ASSERT_TRUE(scheduler.run_for(std::chrono::milliseconds(500)));
  EXPECT_TRUE(option_client.ended());
  EXPECT_TRUE(request_client.ended());
  EXPECT_EQ(server.counters().violations, 2U);
  EXPECT_EQ(server.counters().buffer_bytes, 0U);
}

}  // namespace
}  // namespace duet::nbd::test
