// Persistent memory of this machine: a file on a DAX file system, or a DAX device,
// mapped by libpmem.
//
// Other files can be accepted: the page cache survives the end of the process (kill -9
// as well), but not that of the kernel or the power.  persist() then costs nothing:
// msync would take 100 us and more, and still promise less than its caller needs.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "platform/persistent_memory.h"

namespace duet::os {

class MappedMemory : public PersistentMemory {
 public:
  // Whether what is persisted survives power loss.
  [[nodiscard]] virtual bool persistent() const = 0;
};

struct PersistentMemoryOptions {
  bool create = false;           // creates a missing file, full of zeros
  bool accept_volatile = false;  // takes memory that power loss erases
  // How long to wait for another process to let go: of one that was just killed the kernel
  // holds the files until its I/O has ended.
  std::chrono::milliseconds lock_wait{0};
  // The memory of another process, which holds the lock: mapped beside it.  Who writes where
  // is between the two.
  bool of_another = false;
  // Every page is mapped now and not at its first use, which would stop the caller's strand: the
  // first look through 100 MiB of a file took a busy machine seconds.
  bool populate = false;
};

// Maps all of `path`, which holds exactly `bytes`, and keeps every other process
// and every other call from mapping it so.  Of a DAX device, which may be larger, it maps
// the first `bytes`.
// Errors: kNotFound, kAccess, kNoSpace, kReadOnly as the system says; kRefused: in
// use by another; kNotSupported: volatile and that is not accepted (a file created here is
// removed again); kInvalid: of another size; kIo.
Result<std::unique_ptr<MappedMemory>> map_persistent_memory(
    const std::string& path, std::uint64_t bytes, const PersistentMemoryOptions& options = {});

}  // namespace duet::os
