// Group: one node's manager of a redundancy group that several nodes manage at once.
//
//   open --others connected or fenced, intents recovered, label written--> active <-> changing view
//                                                                            |
//                              closed <-- close(), or kFenced from a disk ---+
//
// A view says which nodes manage the group and which disks are in sync.  It changes when a node
// comes, goes, or was unreachable for a while, and when a disk fails or is replaced.  The lowest
// node of the view leads a change; the new view is in the label of every disk before it counts.
//
// What holds (raid/README.md has the reasons):
//   I12  one exclusive holder per stripe, and nobody beside it (lock_table.h)
//   I13  no stripe is written before its intent is durable at every node of the view; alone,
//        before the label says so
//   I14  after recovery check data matches everywhere, and no block has changed that was not
//        written; also when as many disks as the level allows fail at the same time
//
// Ownership: borrows everything it is given.  Destroying it is what a crash is to the others;
// close() first to leave nothing to recover.
// Thread-safety: the scheduler's thread.

#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "platform/block_device.h"
#include "platform/persistent_memory.h"
#include "platform/task.h"
#include "raid/label.h"
#include "raid/lock_table.h"
#include "raid/peers.h"

namespace duet::raid {

class Core;

// What a crash before the write was answered may leave in the blocks that it writes.
enum class WriteKind : std::uint8_t {
  kInPlace,  // of each block, the old or the new bytes
  kFresh,    // anything: nobody refers to these blocks yet
};

struct GroupOptions {
  GroupId group{};
  NodeId self{};
  std::uint64_t incarnation = 0;  // of this process; no other of this node had it
  // Free ranges behind the one that is asked for.
  std::uint8_t prefetch = 3;
  // Intents are settled this long after the first write that is not.
  Duration settle_after = std::chrono::milliseconds(20);
  bool force = false;  // assemble()
};

struct GroupCounters {
  std::uint64_t reads = 0;
  std::uint64_t degraded_reads = 0;  // some blocks were computed
  std::uint64_t whole_stripes = 0;   // updates that read nothing, as they write whole rows
  std::uint64_t read_modify = 0;     // updates that read what they replace
  std::uint64_t reconstruct = 0;     // updates that read what they do not write
  std::uint64_t blocks_read = 0;     // of disks
  std::uint64_t blocks_written = 0;
  std::uint64_t settles = 0;    // flushes of all disks to end intents
  std::uint64_t recovered = 0;  // intents of others that were carried out
  std::uint64_t views = 0;
  std::uint64_t messages = 0;  // to other nodes
  std::uint64_t packets = 0;   // in which they went
  LockCounters locks;
};

struct GroupStatus {
  bool active = false;
  Generation view{};
  NodeSet members = 0;
  bool leads = false;
  std::size_t intents = 0;  // not ended
  GroupLabel label;
};

struct FormatOptions {
  std::uint32_t range_stripes = 1;  // that one lock covers
  std::span<const VirtualDiskEntry> virtual_disks;
};

// Makes a new group: labels on all disks, which must be all zeros or all alike from
// kDataStartBlock on (a new group's check data matches).
// REQUIRES: `ids` has one id for each device.
// Error: kInvalid: the numbers make no group, or the virtual disks no table; kNoSpace: a disk is
// too small; kExists: two disks have one id; kIo.
Task<Status> format_group(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                          const GroupId& group, const Geometry& geometry, NodeSet nodes,
                          FormatOptions options = {});

// Makes persistent memory ready for a node's part of a group.
Status format_intents(PersistentMemory& memory, const GroupId& group, NodeId node,
                      std::uint32_t slots, std::uint32_t pages);

class Group {
 public:
  // Finds the group among `devices`, given in any order.  No I/O of an older process of this node
  // is under way on them.
  // Error: as assemble(); kNotFound, kForeign: the memory is not this node's and group's.
  static Task<Result<std::unique_ptr<Group>>> open(Scheduler& scheduler,
                                                   std::vector<BlockDevice*> devices,
                                                   PersistentMemory& memory, Peers& peers,
                                                   GroupOptions options);
  explicit Group(std::unique_ptr<Core> core);
  ~Group();

  [[nodiscard]] const Geometry& geometry() const;
  [[nodiscard]] GroupStatus status() const;
  [[nodiscard]] GroupCounters counters() const;
  // Devices that are not used, and why.
  [[nodiscard]] const std::vector<Assembly::Refusal>& refused() const;

  // Resumes when this node manages the group.  Error: kFenced, kClosed.
  Task<Status> wait_active();

  // Error, of all: kIo: more disks failed than the level allows; kFenced; kClosed.
  // `parts` as in BlockOperation, and unchanged until the task is done.
  Task<Status> read(std::uint64_t block, std::span<const MutableBytes> parts);
  Task<Status> write(std::uint64_t block, std::span<const MutableBytes> parts, WriteKind kind);
  // What was written before is on the disks, and no intent of it is left.
  Task<Status> flush();

  // The failover layer has fenced this process of the node: no I/O of it is under way, none will
  // come, and nothing it has sent arrives any more.
  void node_fenced(NodeId node, std::uint64_t incarnation);
  // A newer process of a node starts, and may not be connected yet.  Told before it opens the
  // group: until there is a view this matters, somebody else may be at work again.  That an older
  // one of the node was fenced may be told later, and does not hide this one.
  void node_started(NodeId node, std::uint64_t incarnation);
  // The operator, or who sees it first: this disk is not to be used any more.
  void disk_failed(std::uint32_t disk);

  // Ends in order: leaves nothing to recover.  Requests under way are waited for, new ones refused.
  Task<Status> close();

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace duet::raid
