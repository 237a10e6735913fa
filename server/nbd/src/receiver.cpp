#include "receiver.h"

#include <algorithm>
#include <cstring>

namespace duet::nbd {

// REQUIRES: nothing is there.
Task<bool> Receiver::read_ahead() {
  const Result<std::size_t> got = co_await stream_.read_some(MutableBytes(ahead_));
  at_ = 0;
  end_ = got.ok() ? got.value() : 0;
  co_return end_ > 0;
}

Task<bool> Receiver::ready() {
  if (there() > 0) {
    co_return true;
  }
  co_return co_await read_ahead();
}

Task<bool> Receiver::fill(MutableBytes into) {
  while (!into.empty()) {
    if (there() > 0) {
      const std::size_t taken = std::min(there(), into.size());
      std::memcpy(into.data(), ahead_.data() + at_, taken);
      at_ += taken;
      into = into.subspan(taken);
    } else if (into.size() >= ahead_.size()) {
      const Result<std::size_t> got = co_await stream_.read_some(into);
      if (!got.ok() || got.value() == 0) {
        co_return false;
      }
      into = into.subspan(got.value());
    } else {
      const bool more = co_await read_ahead();
      if (!more) {
        co_return false;
      }
    }
  }
  co_return true;
}

Task<bool> Receiver::skip(std::uint64_t bytes) {
  while (bytes > 0) {
    const bool more = co_await ready();
    if (!more) {
      co_return false;
    }
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(there(), bytes));
    at_ += taken;
    bytes -= taken;
  }
  co_return true;
}

}  // namespace duet::nbd
