// Label: the durable record of who may use one disk: keys, reservation, epoch.
//
// Invariants:
//   (1) load() gives the state of the last save() that succeeded, or that of a later one which did
//       not; never an older one, whatever write power loss tears.
//   (2) One copy that decays is no loss: a save writes both, one after the other, and load() makes
//       both equal again before it gives anything.
//
// Ownership: borrows the device, which outlives it.  Thread-safety: the scheduler's thread only.
// One operation at a time.

#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "platform/block_device.h"
#include "platform/task.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

struct DiskIdentity {
  std::array<std::uint64_t, 2> id{};  // drawn at random
  std::uint64_t blocks = 0;
  friend bool operator==(const DiskIdentity&, const DiskIdentity&) = default;
};

class Label {
 public:
  explicit Label(BlockDevice& device) : device_(device), buffer_(std::make_unique<Buffer>()) {}

  // Writes a label that allows everything to everybody.  kInvalid: the device is too small.
  Task<Status> create(const DiskIdentity& disk);

  // kNotFound: there is none, all is zero.  kCorrupt: there was one.  kNotSupported: of a newer
  // version.  kInvalid: the device is too small.
  // Nothing else but save() may follow, once it succeeded.
  Task<Status> load();

  // As load(), for showing: writes nothing.
  Task<Status> peek();

  // Makes `state` the label's.  kIo: it may or may not be.
  // REQUIRES: load() or create() succeeded; state.keys.size() <= kKeysMax.
  Task<Status> save(const DiskState& state);

  [[nodiscard]] const DiskIdentity& disk() const { return disk_; }
  // What the last load(), peek() or successful save() says.
  [[nodiscard]] const DiskState& state() const { return state_; }

 private:
  struct alignas(kBlockBytes) Buffer {
    std::array<std::byte, kBlockBytes> bytes{};
  };
  struct Copy {
    bool good = false;
    bool blank = false;
    bool newer = false;  // whole, and of a version or with features that this build does not know
    std::uint64_t sequence = 0;
    DiskIdentity disk;
    DiskState state;
  };

  static Copy decode(ConstBytes bytes);
  Task<Result<Copy>> read_copy(std::uint64_t block);
  Task<Status> write_copy(std::uint64_t block);
  Task<Status> read_both();
  void encode(const DiskState& state, std::uint64_t sequence);

  BlockDevice& device_;
  std::unique_ptr<Buffer> buffer_;
  DiskIdentity disk_;
  DiskState state_;
  std::uint64_t sequence_ = 0;  // the greatest ever written, or perhaps written
  std::uint64_t first_ = 0;     // the copy to write first: never the only good one
};

}  // namespace duet::shelf
