// Onlooker: reads what stands on a group's disks, for whoever does not manage the group.
//
// Without locks: a block that is being written reads as old, as new or, computed from the others of
// its row, as neither.  So it is for what carries a checksum and stands in two places, as a root
// does.  Of a group that is being expanded it is where the label said when this one was opened.
//
// Ownership: borrows the devices.  Thread-safety: the scheduler's thread.

#pragma once

#include <memory>
#include <span>
#include <vector>

#include "platform/block_device.h"
#include "platform/task.h"
#include "raid/label.h"

namespace duet::raid {

class Onlooker {
 public:
  // Finds the group among `devices`, in any order.  Error: as assemble().
  static Task<Result<std::unique_ptr<Onlooker>>> open(std::vector<BlockDevice*> devices,
                                                      const GroupId& group);
  ~Onlooker();

  [[nodiscard]] const GroupLabel& label() const;
  // `block` as the group counts; `parts` as in BlockOperation.
  // REQUIRES: all lie in the group.  Error: kIo: too few disks can be read; kFenced.
  Task<Status> read(std::uint64_t block, std::span<const MutableBytes> parts);

 private:
  struct State;
  explicit Onlooker(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

}  // namespace duet::raid
