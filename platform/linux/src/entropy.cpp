#include "platform/linux/entropy.h"

#include <sys/random.h>

#include <array>
#include <cstddef>

#include "base/check.h"

namespace duet::os {

namespace {

// getrandom() gives up to 256 bytes whole, and one call then serves 32 numbers.
struct Supply {
  std::array<std::uint64_t, 32> numbers{};
  std::size_t left = 0;
};
thread_local Supply supply;

}  // namespace

std::uint64_t SystemEntropy::next() {
  if (supply.left == 0) {
    DUET_CHECK(getrandom(supply.numbers.data(), sizeof(supply.numbers), 0) ==
               sizeof(supply.numbers));
    supply.left = supply.numbers.size();
  }
  std::uint64_t& number = supply.numbers[--supply.left];
  const std::uint64_t given = number;
  number = 0;  // a key that was given out is not kept here
  return given;
}

}  // namespace duet::os
