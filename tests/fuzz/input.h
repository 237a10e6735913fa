// Input: what a fuzzer makes of its bytes; any bytes are an input.

#pragma once

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"

namespace duet::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : left_(reinterpret_cast<const std::byte*>(data), size) {}

  [[nodiscard]] bool empty() const { return left_.empty(); }
  // Zero behind the end.
  template <typename T>
  T take() {
    T value{};
    const std::size_t bytes = std::min(sizeof(T), left_.size());
    std::memcpy(&value, left_.data(), bytes);
    left_ = left_.subspan(bytes);
    return value;
  }
  ConstBytes take(std::size_t bytes) {
    const ConstBytes taken = left_.first(std::min(bytes, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  ConstBytes rest() { return take(left_.size()); }

 private:
  ConstBytes left_;
};

}  // namespace duet::fuzz
