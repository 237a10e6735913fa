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
//   I13  no stripe is written before its intent is durable at every holder of the view; alone,
//        before the label says so
//   I14  after recovery check data matches everywhere, and no block has changed that was not
//        written; also when as many disks as the level allows fail at the same time
//
// Ownership: borrows everything it is given.  Destroying it is what a crash is to the others;
// close() first to leave nothing to recover.
// Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "platform/block_device.h"
#include "platform/persistent_memory.h"
#include "platform/task.h"
#include "raid/answer.h"
#include "raid/label.h"
#include "raid/lock_table.h"
#include "raid/peers.h"

namespace duet::raid {

class Core;

// Whether any of `count` blocks of the group from `first` on holds anything that is needed.
using Needed = std::function<bool(std::uint64_t first, std::uint64_t count)>;

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
  // Rebuilds, expansions and scrubs together read and write so many blocks per second at most, each
  // node; 0: as they can.
  std::uint64_t background_blocks_per_s = 0;
  // Before each stripe it waits so long at most for requests that are under way.
  Duration give_way = std::chrono::milliseconds(2);
  // How long add_spare() and its like wait for the label to say so.
  Duration patience = std::chrono::seconds(10);
  // Of each intent, in so many memories at least; all but one of those nodes may be lost at once.
  // 0: in those of all nodes.  The same at all nodes; not 1.
  std::uint32_t copies = 0;
  // Of each node, what it is lost together with: a site, a rack.  Copies are in as many of them as
  // can be.  The same at all nodes.
  std::array<std::uint8_t, kNodesMax> replication_groups{};
};

struct GroupCounters {
  std::uint64_t reads = 0;
  std::uint64_t degraded_reads = 0;  // some blocks were computed
  std::uint64_t whole_stripes = 0;   // updates that read nothing, as they write whole rows
  std::uint64_t read_modify = 0;     // updates that read what they replace
  std::uint64_t reconstruct = 0;     // updates that read what they do not write
  std::uint64_t blocks_read = 0;     // of disks
  std::uint64_t blocks_written = 0;
  std::uint64_t settles = 0;      // flushes of all disks to end intents
  std::uint64_t recovered = 0;    // intents of others that were carried out
  std::uint64_t rebuilt = 0;      // stripes of disks that are rebuilt
  std::uint64_t passed_by = 0;    // stripes that nobody needed
  std::uint64_t scrubbed = 0;     // stripes
  std::uint64_t moved = 0;        // stripes that this node has written in an expansion
  std::uint64_t others_read = 0;  // by read_other()
  std::uint64_t healed = 0;       // blocks that repair() wrote
  // Of each disk of the group, blocks that were wrong or could not be read, and were put right: by
  // repair() or a scrub.
  std::array<std::uint64_t, kDisksMax> put_right{};
  std::uint64_t views = 0;
  std::uint64_t messages = 0;  // to other nodes
  std::uint64_t packets = 0;   // in which they went
  LockCounters locks;
};

// Of the disks that are being rebuilt, together.
struct RebuildStatus {
  ColumnSet disks = 0;            // none: nothing is being rebuilt
  std::uint64_t stripes = 0;      // of the group
  std::uint64_t done = 0;         // all stripes below are in sync, as far as this node knows
  std::uint64_t recorded = 0;     // and of these the label says so
  std::uint64_t done_before = 0;  // when this node first saw it
  Instant began{};                // when this node first saw it
  // Stripes that each node has rebuilt since then, as far as this node was told.
  std::array<std::uint64_t, kNodesMax> shares{};
  std::optional<Error> trouble;  // of the last step that this node tried
};

// Of the expansion that is under way.
struct ExpansionStatus {
  std::uint32_t disks_before = 0;  // 0: none is
  std::uint32_t disks_after = 0;
  std::uint64_t stripes = 0;  // of the group
  std::uint64_t done = 0;     // stripes that are in their new places: the label says so
  bool waits = false;         // a disk has failed, or is rebuilt: nothing moves before that is over
  Instant began{};            // when this node first saw it
  // Stripes that each node has moved since then, as far as this node was told.
  std::array<std::uint64_t, kNodesMax> shares{};
  std::optional<Error> trouble;  // of the last stripes that this node tried to move
};

// What is done about rows that do not match, and do not tell which column is wrong.
enum class ScrubKind : std::uint8_t {
  kCompare = 0,    // they are counted: nobody knows whether the data or the check data is wrong
  kTrustData = 1,  // somebody does: the data is right, and check data is computed from it
};
// A row whose columns did not match, or a column of it that could not be read.
struct ScrubFinding {
  static constexpr std::uint32_t kUnknown = ~0U;
  Stripe stripe{};
  std::uint32_t row = 0;
  std::uint32_t column = kUnknown;  // the one that was wrong, or could not be read
  friend bool operator==(const ScrubFinding&, const ScrubFinding&) = default;
};
struct ScrubCounts {
  std::uint64_t repaired = 0;    // rows in which one column alone was wrong, and told which
  std::uint64_t unreadable = 0;  // blocks that could not be read, and were written again
  // Rows that do not match, and do not tell what is wrong; or of which more cannot be read than can
  // be computed.
  std::uint64_t unsure = 0;
  std::uint64_t trusted = 0;  // of those rows, those that got new check data (kTrustData)
  // Of stripes that a rebuild may have passed by, where nobody needs the data: rows that did not
  // match and were made to; rows that do not, and perhaps are needed, so they stay as they are.
  std::uint64_t loose = 0;
  std::uint64_t loose_left = 0;
  friend bool operator==(const ScrubCounts&, const ScrubCounts&) = default;
};
// Of the scrub that runs, or of the last one.
struct ScrubStatus {
  bool running = false;
  ScrubKind kind = ScrubKind::kCompare;
  std::uint64_t stripes = 0;
  std::uint64_t done = 0;                         // all stripes below, as far as this node was told
  Instant began{};                                // when this node first heard of it
  std::array<std::uint64_t, kNodesMax> shares{};  // stripes
  ScrubCounts counts;                             // of all nodes
  std::vector<ScrubFinding> found;                // the first of each node
  std::optional<Error> trouble;                   // of the last step that this node tried
};

struct GroupStatus {
  bool active = false;
  std::optional<Error> ended;  // for good: why; open it again
  Generation view{};
  NodeSet members = 0;
  NodeSet holders = 0;                                  // of those: who has the intents of all
  std::array<std::uint64_t, kNodesMax> incarnations{};  // of the members
  bool leads = false;
  std::size_t intents = 0;  // not ended
  RebuildStatus rebuild;
  ExpansionStatus expansion;
  ScrubStatus scrub;
  GroupLabel label;
};

struct FormatOptions {
  std::uint32_t range_stripes = 1;  // that one lock covers
  std::span<const VirtualDiskEntry> virtual_disks;
  // Hot spares, and an id for each.
  std::span<BlockDevice* const> spares;
  std::span<const DiskId> spare_ids;
  // Of a rebuild: what one node does before it tells the others; whole ranges.  0: about 16 MiB
  // of a disk.
  std::uint32_t step_stripes = 0;
};

// Makes a new group: labels on all disks, which must be all zeros or all alike from
// kDataStartBlock on (a new group's check data matches).
// REQUIRES: `ids` has one id for each device, options.spare_ids for each spare.
// Error: kInvalid: the numbers make no group, or the virtual disks no table; kNoSpace: a disk is
// too small; kExists: two disks have one id; kIo.
Task<Status> format_group(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                          const GroupId& group, const Geometry& geometry, NodeSet nodes,
                          FormatOptions options = {});

// Makes persistent memory ready for a node's part of a group.
Status format_intents(PersistentMemory& memory, const GroupId& group, NodeId node,
                      std::uint32_t slots, std::uint32_t pages);

// Of a disk that no group uses any more: it counts as blank for add_spare() and its like.
// Error: kIo; kFenced.
Task<Status> erase_disk(BlockDevice& device);

class Group {
 public:
  // Finds the group among `devices`, given in any order.  No I/O of an older process of this node
  // is under way on them.
  // Error: as assemble(); kNotFound, kForeign: the memory is not this node's and group's;
  // kInvalid: one copy.
  static Task<Result<std::unique_ptr<Group>>> open(Scheduler& scheduler,
                                                   std::vector<BlockDevice*> devices,
                                                   PersistentMemory& memory, Peers& peers,
                                                   GroupOptions options);
  explicit Group(std::unique_ptr<Core> core);
  ~Group();

  // What its capacity goes by: while it is expanded, as it was before.
  [[nodiscard]] Geometry geometry() const;
  [[nodiscard]] GroupStatus status() const;
  [[nodiscard]] GroupCounters counters() const;
  // Devices that are not used, and why.
  [[nodiscard]] const std::vector<Assembly::Refusal>& refused() const;

  // Resumes when this node manages the group.  Error: kFenced, kClosed.
  Task<Status> wait_active();

  // Error, of all: kIo: more disks failed than the level allows; kFenced; kClosed.
  // `parts` as in BlockOperation, and unchanged until the task is done.
  Task<Status> read(std::uint64_t block, std::span<const MutableBytes> parts);
  // With an early answer `parts` are free once the task is done; of fresh writes, whose intents
  // carry no blocks, there is none.
  Task<Status> write(std::uint64_t block, std::span<const MutableBytes> parts, WriteKind kind,
                     Answer answer = Answer::kWritten);
  // What was answered before is on the disks, and no intent of it is left.
  Task<Status> flush();

  // The failover layer has fenced this process of the node: no I/O of it is under way, none will
  // come, and nothing it has sent arrives any more.
  void node_fenced(NodeId node, std::uint64_t incarnation);
  // A newer process of a node starts, and may not be connected yet.  Told before it opens the
  // group: until there is a view this matters, somebody else may be at work again.  That an older
  // one of the node was fenced may be told later, and does not hide this one.
  void node_started(NodeId node, std::uint64_t incarnation);
  // Who sees it first: this disk is not to be used any more.
  void disk_failed(std::uint32_t disk);
  // An operator says so: it fails for all, and does not come back before take_back().  Also of one
  // that has failed.  Error: kRefused: the group can lose no more disks; kTryAgain: there was no
  // leader; kIo; kFenced; kClosed.
  Task<Status> keep_out(std::uint32_t disk);

  // Disks come and go.  What a node is to use it must have been given: a disk that is new is
  // given to every node, by add_device(), before one node is told what it is for.  It outlives the
  // group.  Does nothing with one that it has.
  void add_device(BlockDevice& device);
  // Which of those given this disk is, as far as this node knows; null: none.
  [[nodiscard]] const BlockDevice* device_called(const DiskId& id) const;
  // Who lives on these blocks says whether any of some of them, `count` from `first` on as the
  // group counts, holds anything that is needed.  A rebuild asks at any time, and passes by a step
  // whose blocks are all not needed; what they hold is nothing then, until it is written.  What is
  // being written is needed.  Blocks that nobody of this node speaks for are needed.  While the
  // group is expanded nothing is passed by.  Null: nobody any more.
  void set_needed(const Part& part, Needed needed);
  // `device`, one of those given, becomes a hot spare called `id`, or takes the place of member
  // `disk`, which has failed; it is rebuilt then.  The label of the group's disks says so when
  // this comes back.  A spare takes the place of the next disk that fails, at once.
  // Error: kExists: the id is in use, or the device by this group; kNoSpace: it is too small, or
  // there are as many spares as can be; kRefused: it holds something, and `force` is not set; or
  // the disk that is to be replaced has not failed; kIo; kTryAgain: a node does not see the
  // device, or there was no leader; kFenced; kClosed.
  Task<Status> add_spare(BlockDevice& device, const DiskId& id, bool force);
  Task<Status> replace(std::uint32_t disk, BlockDevice& device, const DiskId& id, bool force);
  // A member that has failed is used again, by all nodes: one that an operator failed, or whose
  // path was lost.  Where it is recorded what it has missed (LabelDisk::flags), only that is
  // written to it; else it is rebuilt.  Its own label must be there, and say who it is. Error:
  // kInvalid: no such disk; kExists: it has not failed; kNotFound: it does not answer, or is
  // another; kRefused: another disk has its place by now, or `by_itself` is set, so that no
  // operator says this, and one failed it; kTryAgain: a node does not see it, or none leads;
  // kFenced; kClosed.
  Task<Status> take_back(std::uint32_t disk, bool by_itself = false);
  // A spare is none any more.  Error: kNotFound; kTryAgain; kFenced; kClosed.
  Task<Status> remove_spare(const DiskId& id);

  // The group gets these disks too, one or more, and spreads over all of its disks while it is
  // used; each of `devices` was given to every node before, by add_device(), and is called by the
  // id at the same place.  When this comes back the label of the group's disks says so, and all
  // nodes move stripes, as they do in a rebuild: GroupStatus::expansion.  Redundancy is never less;
  // while a disk has failed, or is rebuilt, nothing moves.  At its end geometry() has the new
  // disks, and blocks behind those that were, which are zero.
  // Error: kNotSupported: a mirror; kInvalid: no disks, or too many; kExists: it is being expanded,
  // or as of add_spare(); kRefused: a disk of the group has failed or is rebuilt, or as of
  // add_spare(); kNoSpace: a disk is too small, or the persistent memory for one stripe of so many
  // disks; kIo; kTryAgain; kFenced; kClosed.
  // REQUIRES: as many ids as devices.
  Task<Status> expand(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                      bool force);

  // The group gets a virtual disk of at least so many blocks, in room that none has, where there is
  // enough in one piece; it begins with a stripe.  It holds what was there: zeros, if the room came
  // with an expansion.  virtual_disks_of(status().label) says where it is.
  // Error: kInvalid: the name; kExists: the name is in use; kNoSpace; kTryAgain; kFenced; kClosed.
  Task<Status> add_virtual_disk(std::string name, std::uint64_t blocks);

  // All nodes compare the data of every stripe with its check data, each a share.  Where it can be
  // told what is wrong (of three copies, of P and Q) that is put right; where it cannot, nothing is
  // changed: whoever has checksums of the data finds out (read_other).  A scrub ends with the last
  // node that knows of it; it does not go on after all were down.
  // kTrustData, when whoever has them has found all data right: what is left is wrong check data,
  // and such rows get new one.  Of a mirror the data is the copy that reads give.  For this, all
  // disks must be in sync; rows stay as they are from the moment on in which one is not any more.
  // Stripes that a rebuild passed by are made to match where nobody of this node's needs them
  // (set_needed; with kTrustData all are); the label says so at the end.
  // Error: kExists: one runs; kTryAgain: this node is in no view; kRefused: kTrustData, and a disk
  // is not in sync, or the group is being expanded; kNotFound: none runs.
  Status start_scrub(ScrubKind kind = ScrubKind::kCompare);
  Status stop_scrub();

  // For the layer above, whose checksum says that a block it has read is wrong.  Gives what the
  // other disks say the block is: attempts 0, 1, ... are the different ways to compute it.
  // Error: kNotFound: there are no more ways; kIo: this one is not possible; kFenced; kClosed, also
  // if more disks failed than the level allows: there is no use in trying the others.
  // REQUIRES: `bytes` is one block, aligned to 4096.
  Task<Status> read_other(std::uint64_t block, std::uint32_t attempt, MutableBytes bytes);
  // `good`, which read_other() gave, is right: writes what was wrong, wherever in its row that is.
  // Error: kRefused: the disks do not say so any more, as somebody has written the block meanwhile;
  // kIo; kFenced; kClosed.
  Task<Status> repair(std::uint64_t block, ConstBytes good);

  // Ends in order: leaves nothing to recover.  Requests under way are waited for, new ones refused.
  Task<Status> close();

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace duet::raid
