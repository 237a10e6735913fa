// DirectoryBlocks: the blocks of one directory as its tree sees them, within one turn.
//
// Implementations: InodeBlocks (a directory's inode), and a map in the tests.
// Thread-safety: one thread.

#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace duet::wafl {

class DirectoryBlocks {
 public:
  virtual ~DirectoryBlocks() = default;

  [[nodiscard]] virtual std::uint64_t count() const = 0;
  [[nodiscard]] virtual std::uint64_t free_head() const = 0;

  // The block as it is now; valid until it is changed.
  // Error: kMiss; kCorrupt (behind the end, a hole).
  virtual Result<ConstBytes> read(std::uint64_t index) = 0;
  // Whether read() was ok, so that it cannot miss again.
  [[nodiscard]] virtual bool held(std::uint64_t index) const = 0;
  // Forgets what was read.  REQUIRES: nothing was changed.
  virtual void forget() = 0;

  // --- Changing never fails.
  // REQUIRES: held(index).
  virtual MutableBytes modify(std::uint64_t index) = 0;
  // One more block at the end; its bytes are undefined.
  virtual MutableBytes append() = 0;
  // Only block 0 remains.
  virtual void cut_to_root() = 0;
  virtual void set_free_head(std::uint64_t index) = 0;
};

}  // namespace duet::wafl
