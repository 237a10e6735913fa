// Entropy that repeats itself with its seed.

#pragma once

#include "platform/entropy.h"
#include "sim/random.h"

namespace duet::sim {

class SimEntropy final : public Entropy {
 public:
  explicit SimEntropy(std::uint64_t seed) : random_(seed) {}
  [[nodiscard]] std::uint64_t next() override { return random_.next(); }

 private:
  Random random_;
};

}  // namespace duet::sim
