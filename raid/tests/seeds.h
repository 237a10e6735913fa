// Which seeds a random test tries: some that are always the same, some that nobody has tried; or,
// to replay, the one in the environment variable DUET_SEED; or, to hunt, as many that nobody has
// tried as DUET_FRESH says.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

namespace duet::raid::testing {

inline std::vector<std::uint64_t> seeds(std::uint64_t same, int fresh) {
  if (const char* const seed = std::getenv("DUET_SEED")) {
    return {std::strtoull(seed, nullptr, 10)};
  }
  std::vector<std::uint64_t> all;
  if (const char* const hunt = std::getenv("DUET_FRESH")) {
    same = 0;
    fresh = static_cast<int>(std::strtol(hunt, nullptr, 10));
  }
  for (std::uint64_t seed = 1; seed <= same; ++seed) {
    all.push_back(seed);
  }
  std::random_device random;
  for (int i = 0; i < fresh; ++i) {
    all.push_back(random());
  }
  return all;
}

}  // namespace duet::raid::testing
