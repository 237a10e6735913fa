// check: reads an aggregate that nobody has open and says what is wrong with it.
//
// It knows the format (wafl/tree_format.h, wafl/directory_format.h) and shares nothing else with
// the code that writes it.  It changes nothing and believes nothing: any bytes may be on the
// disks, and the work is bounded by their size.
//
// Thread-safety: the devices' scheduler's thread.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/block_device.h"
#include "platform/task.h"

namespace duet::wafl {

enum class ProblemKind : std::uint8_t {
  kUnreadable,    // the disk failed the read
  kChecksum,      // a block is not what its parent says
  kLabel,         // a disk's label, or the disk table
  kRoot,          // no valid root, or a root that contradicts itself
  kPointer,       // points nowhere: out of range, reserved, or unused bits set
  kBirth,         // born after what points to it
  kDoubleUse,     // reached twice
  kOwner,         // the owner map says something else
  kLeak,          // allocated, and nothing reaches it
  kNotAllocated,  // reached, and the block map says free
  kFreeCount,     // free blocks of an area, or of the root
  kDataset,       // a volume's or snapshot's record
  kInode,         // an inode that makes no sense
  kInodeMap,      // inode map or count against the inodes
  kSize,          // blocks behind the size, or a count of blocks that is wrong
  kSymlink,       // no target, or an impossible one
  kDirectory,     // a directory's blocks or entries
  kLinks,         // link counts, and names that lead nowhere
  kOrphan,        // an inode in use without a name, or not below the root
  kDeadList,      // a dead list that is not what died
  kZombie,        // a zombie that makes no sense
  kVolumeUsed,    // a volume's used blocks
};
[[nodiscard]] std::string_view problem_name(ProblemKind kind);

inline constexpr std::uint64_t kNoBlock = ~std::uint64_t{0};

struct CheckProblem {
  ProblemKind kind{};
  std::uint64_t block = kNoBlock;  // of the aggregate, where one can be named
  std::string text;                // where and what, for people
};

struct CheckProgress {
  std::uint64_t blocks_done = 0;   // of those allocated
  std::uint64_t blocks_total = 0;  // as the root says
  std::string_view stage;
};

struct CheckOptions {
  std::size_t problems_max = 1000;  // kept; all are counted
  bool read_data = true;            // contents of files too, not only what points to them
  bool names_of_snapshots = false;  // directories and link counts of every snapshot too
  std::function<void(const CheckProgress&)> progress;  // every few thousand blocks; may be empty
};

struct CheckReport {
  std::vector<CheckProblem> problems;  // the first problems_max
  std::uint64_t problem_count = 0;
  std::vector<std::string> notes;  // what a crash may leave and the next start repairs
  std::uint32_t cp = 0;
  std::uint64_t blocks = 0;          // of the aggregate
  std::uint64_t blocks_reached = 0;  // without the reserved ones
  std::uint64_t volumes = 0;         // the system volume included
  std::uint64_t snapshots = 0;
  std::uint64_t inodes = 0;  // in use in live trees
  [[nodiscard]] bool clean() const { return problem_count == 0; }
};

// Checks the aggregate on `devices` (all of its disks, in any order), as of its newest root.
// What cannot be read is a problem in the report.  The devices outlive the task.
Task<CheckReport> check(std::vector<BlockDevice*> devices, CheckOptions options);

}  // namespace duet::wafl
