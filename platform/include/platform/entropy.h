// Entropy: unpredictable numbers, for keys, ids and verifiers.
//
// Implementations: platform/linux (getrandom) and sim (the seed).
// Thread-safety: any thread in platform/linux; one thread in sim.

#pragma once

#include <cstdint>

namespace duet {

class Entropy {
 public:
  virtual ~Entropy() = default;
  [[nodiscard]] virtual std::uint64_t next() = 0;
};

}  // namespace duet
