// What strangers send: random bytes, and good calls with some bytes changed.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "fuzz_input.h"
#include "sim/random.h"
#include "wire.h"

namespace duet::server::test {
namespace {

constexpr int kInputs = 3000;

// DUET_SEED=... repeats a run.
std::uint64_t fresh_seed() {
  const char* given = std::getenv("DUET_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("DUET_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

TEST(Hostile, RandomBytesBreakNoPromise) {
  sim::Random random(fresh_seed());
  for (int i = 0; i < kInputs; ++i) {
    std::vector<std::byte> input(2 + random.below(600));
    for (std::byte& byte : input) {
      byte = static_cast<std::byte>(random.one_in(3) ? 0 : random.next());
    }
    fuzz_connection(input);
  }
}

TEST(Hostile, ChangedBytesOfGoodCallsBreakNoPromise) {
  sim::Random random(fresh_seed());
  const Wire name = Wire().text("dir").text("name");
  const Wire set = Wire().u32(1).u32(0600).u32(0).u32(0).u32(0).u32(1).u32(1);
  const std::vector<Wire> arguments{
      Wire().text("fh"),
      Wire(name).text("dir2").text("name2"),
      Wire().text("fh").u64(9).u32(700).u32(2).text(std::string(700, 'w')),
      Wire().text("fh").u64(0).u32(9000),
      Wire(name).u32(1).add(set),
      Wire(name).u32(4).add(set).u32(1).u32(2),
      Wire(name).add(set).text("target"),
      Wire().text("dir").u64(0).u64(0).u32(4096).u32(4096)};
  for (int i = 0; i < kInputs; ++i) {
    const Wire& good = arguments[random.below(arguments.size())];
    std::vector<std::byte> input{
        static_cast<std::byte>(random.next()), std::byte{1}, static_cast<std::byte>(random.next()),
        static_cast<std::byte>(random.next()), static_cast<std::byte>(random.next())};
    input.insert(input.end(), good.bytes().begin(), good.bytes().end());
    for (std::uint64_t changes = random.below(4); changes > 0; --changes) {
      input[5 + random.below(input.size() - 5)] = static_cast<std::byte>(random.next());
    }
    fuzz_connection(input);
  }
}

}  // namespace
}  // namespace duet::server::test
