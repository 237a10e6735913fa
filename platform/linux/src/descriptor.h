// A file descriptor that closes itself, and the lock that keeps two processes apart.

#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <utility>

#include "base/result.h"

namespace duet::os {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }

  [[nodiscard]] int get() const { return number_; }
  // The caller closes it.
  [[nodiscard]] int release() { return std::exchange(number_, -1); }
  [[nodiscard]] bool valid() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

// Until it is closed nobody else, here or in another process, gets this lock.  Asks for up to
// `wait`.  Error: kRefused.
Status lock_exclusively(const Descriptor& file, std::chrono::milliseconds wait);

// Creates `path` with `bytes` of zeros, space included, and makes its name durable.
// Error: kExists; otherwise as os_error.  Nothing remains of a failed attempt.
Result<Descriptor> create_file(const char* path, std::uint64_t bytes);

}  // namespace duet::os
