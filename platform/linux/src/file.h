// Files: made whole, and the lock that keeps two processes apart.

#pragma once

#include <chrono>
#include <cstdint>

#include "base/result.h"
#include "platform/linux/descriptor.h"

namespace duet::os {

// Until it is closed nobody else, here or in another process, gets this lock.  Asks for up to
// `wait`.  Error: kRefused.
Status lock_exclusively(const Descriptor& file, std::chrono::milliseconds wait);

// Creates `path` with `bytes` of zeros, space included, and makes its name durable.
// Error: kExists; otherwise as os_error.  Nothing remains of a failed attempt.
Result<Descriptor> create_file(const char* path, std::uint64_t bytes);

}  // namespace duet::os
