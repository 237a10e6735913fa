// The kernel's random numbers.

#pragma once

#include "platform/entropy.h"

namespace duet::os {

class SystemEntropy final : public Entropy {
 public:
  [[nodiscard]] std::uint64_t next() override;
};

}  // namespace duet::os
