// What managers of a group say to each other.  See raid/FORMAT.md.
//
// A packet is a header and a row of messages, each with a head.  Little-endian, no padding.
// Nothing in a packet is believed before its checksum is right and its lengths fit.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "platform/scheduler.h"
#include "raid/label.h"
#include "raid/lock_table.h"
#include "raid/peers.h"

namespace duet::raid {

enum class MessageKind : std::uint16_t {
  kLock = 1,       // LockBody
  kHello = 2,      // HelloBody: first in each session
  kPrepare = 3,    // PrepareBody: the leader proposes a view
  kPrepared = 4,   // PreparedBody: ready for the view of this generation
  kCommit = 5,     // CommitBody: the view is in the label, and counts; or a newer label of it
  kReport = 6,     // ReportBody: to the leader
  kStep = 7,       // StepBody: a step of the rebuild is on the disks
  kScrub = 8,      // ScrubBody: a scrub begins, runs or was stopped.  Of no view, as the next
  kScrubStep = 9,  // ScrubStepBody: a step of it is done
  kMove = 10,      // MoveBody: these stripes of an expansion are on the disks
  kKnows = 11,     // KnowsBody: which label the sender goes by.  Of no view
  kMissed = 12,    // MissedBody: the label is to say so, before a write there begins
};

struct PacketHead {
  std::uint32_t magic = 0x4744'5244;  // "DRDG"
  std::uint32_t checksum = 0;         // CRC-32C of what follows
};
static_assert(sizeof(PacketHead) == 8);

struct MessageHead {
  std::uint16_t kind = 0;
  std::uint16_t body_bytes = 0;
  std::uint32_t reserved0 = 0;
  std::uint64_t generation = 0;  // of the view that it belongs to, or proposes
};
static_assert(sizeof(MessageHead) == 16);

struct LockBody {
  std::uint8_t verb = 0;
  std::uint8_t mode = 0;
  std::uint8_t keep = 0;
  std::uint8_t flags = 0;  // 1: release when done; 2: prefetched
  std::uint8_t extra = 0;
  std::array<std::uint8_t, 3> reserved0{};
  std::uint64_t range = 0;
};
static_assert(sizeof(LockBody) == 16);
static_assert(std::has_unique_object_representations_v<LockBody>, "no implicit padding");

struct HelloBody {
  std::uint64_t incarnation = 0;
  std::uint64_t memory_generation = 0;
  std::uint64_t memory_before = 0;
  std::uint32_t active = 0;  // 1: in the view of the message's generation; 2: leads a change to one
  std::uint32_t answer = 0;  // 1: say hello, too: the sender may not have heard
};
static_assert(sizeof(HelloBody) == 32);

struct PrepareBody {
  std::uint64_t before = 0;  // the view in the label
  std::uint32_t members = 0;
  std::uint32_t joiners = 0;  // of those: who has no intents
  std::uint32_t owed = 0;     // nodes that are gone, whose intents are to be carried out
  std::uint32_t holders = 0;  // of the members: who has the intents of all
  std::array<std::uint64_t, kNodesMax> incarnations{};  // of the members
};
static_assert(sizeof(PrepareBody) == 88);

struct PreparedBody {
  Regions unsettled{};  // with stripes of which the sender has intents
};
static_assert(sizeof(PreparedBody) == kRegions / 8);

struct CommitBody {
  std::array<std::uint64_t, kNodesMax> incarnations{};
  GroupLabel label;
};
static_assert(sizeof(CommitBody) == 64 + kBlockBytes);

// What an operator wants of the group's disks, until the label has it.
enum class WishVerb : std::uint32_t {
  kNone = 0,
  kAddSpare = 1,        // `id` becomes a spare
  kRemoveSpare = 2,     // `id` is none any more
  kReplace = 3,         // `id` takes the place of `disk`, which has failed
  kExpand = 4,          // `disk` more disks: `id`, and `disk` - 1 of `more`
  kAddVirtualDisk = 5,  // one of at least `blocks` called `name`
  kReturn = 6,          // `id`, which is `disk` and has failed, is used again
  kReturnItself = 7,    // the same, unless an operator has failed it
  kKeepOut = 8,  // `id`, which is `disk`, has failed, and stays so until an operator's kReturn
};
struct Wish {
  std::uint32_t verb = 0;  // WishVerb
  std::uint32_t disk = 0;
  DiskId id{};
  std::array<DiskId, kExpandMax - 1> more{};
  std::uint64_t blocks = 0;
  std::array<char, kVirtualDiskNameMax + 1> name{};  // zeros behind it
  friend bool operator==(const Wish&, const Wish&) = default;
};
static_assert(sizeof(Wish) == 176);
// Disks that the group is to get.
std::vector<DiskId> ids_of(const Wish& wish);
[[nodiscard]] inline bool is_return(const Wish& wish) {
  return wish.verb == static_cast<std::uint32_t>(WishVerb::kReturn) ||
         wish.verb == static_cast<std::uint32_t>(WishVerb::kReturnItself);
}
// Whether some disk is to be used that is not: all nodes must see it.
[[nodiscard]] inline bool is_about_a_disk_to_come(const Wish& wish) {
  return is_return(wish) || !ids_of(wish).empty();
}
std::string name_of(const Wish& wish);

struct ReportBody {
  std::uint32_t failed = 0;   // set of disks
  std::uint32_t renew = 0;    // 1: a session was lost, the locks must be told again
  std::uint32_t leaving = 0;  // 1: all is settled, I go
  std::uint32_t reserved0 = 0;
  Wish wish;
  // Of each node's wish: its id, if the sender knows all disks of it.
  std::array<DiskId, kNodesMax> seen{};
};
static_assert(sizeof(ReportBody) == 192 + kNodesMax * sizeof(DiskId));

struct StepBody {
  std::uint64_t step = 0;
  std::uint64_t passed_by = 0;  // 1: nobody needs its stripes, nothing was done
};
static_assert(sizeof(StepBody) == 16);

// The sender keeps the locks of it until every node goes by a label that says it.  Of no stripes:
// it could not move the one at `begin`.
struct MoveBody {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
static_assert(sizeof(MoveBody) == 16);

struct MissedBody {
  std::uint64_t stripe = 0;
};
static_assert(sizeof(MissedBody) == 8);

struct KnowsBody {
  std::uint64_t incarnation = 0;
  std::uint64_t sequence = 0;  // of the label, or of an older one
};
static_assert(sizeof(KnowsBody) == 16);

// Which scrub.  The one with the greatest number counts; of two with one number, that of the
// greater kind.
struct ScrubName {
  std::uint64_t number = 0;  // 0: none
  // Of the group's disks when it began (Core::whole_since()); 0: they were not all in sync, or it
  // is not known.  While they are the same, what the scrub made to match does so.
  std::uint64_t whole_since = 0;
  std::uint32_t kind = 0;  // ScrubKind
  std::uint32_t reserved0 = 0;
};
static_assert(sizeof(ScrubName) == 24);
[[nodiscard]] bool is_later(const ScrubName& a, const ScrubName& b);

struct ScrubBody {
  ScrubName of;
  std::uint64_t reached = 0;  // all steps below are done
  std::uint32_t running = 0;  // 0: it was stopped, or is done
  std::uint32_t reserved0 = 0;
  // Regions with a step, below `reached` or above, that is done and not all of which matches.
  Regions left{};
};
static_assert(sizeof(ScrubBody) == 40 + sizeof(Regions));

struct ScrubRow {
  std::uint64_t stripe = 0;
  std::uint32_t row = 0;
  std::uint32_t column = 0;
};
inline constexpr std::uint32_t kScrubRowsMax = 8;
struct ScrubStepBody {
  ScrubName of;
  std::uint64_t step = 0;
  // What the sender has found in all its steps.
  std::uint64_t repaired = 0;
  std::uint64_t unreadable = 0;
  std::uint64_t unsure = 0;
  std::uint64_t trusted = 0;
  std::uint64_t loose = 0;
  std::uint64_t loose_left = 0;
  std::uint32_t matches = 0;  // 1: all rows of this step match, on the disks
  std::uint32_t rows = 0;     // of those that follow
  std::array<ScrubRow, kScrubRowsMax> first{};
};
static_assert(sizeof(ScrubStepBody) == 216);

[[nodiscard]] LockBody encode_lock(const LockMessage& message);
// Error: kCorrupt.
[[nodiscard]] Result<LockMessage> decode_lock(ConstBytes body);

// Whether what another node says can be said of a group with this label: numbers name what there
// is.
[[nodiscard]] bool sane(const LockMessage& message, const GroupLabel& label);
[[nodiscard]] bool sane(const PrepareBody& body, const GroupLabel& label);
[[nodiscard]] bool sane(const ReportBody& body, const GroupLabel& label);
[[nodiscard]] bool sane(const ScrubName& name);
[[nodiscard]] bool sane(const ScrubStepBody& body, const GroupLabel& label);

// Calls visit(head, body) for each message of a packet; false: it is damaged, nothing was visited.
bool for_each_message(ConstBytes packet,
                      const std::function<void(const MessageHead&, ConstBytes)>& visit);

// Outbox: what is said to one node in one turn goes as one packet.
class Outbox final : public Continuation {
 public:
  Outbox(Scheduler& scheduler, Peers& peers) : scheduler_(scheduler), peers_(peers) {}

  void add(NodeId to, MessageKind kind, Generation generation, ConstBytes body);
  // Sends all now.
  void flush();
  void run() override { flush(); }

  [[nodiscard]] std::uint64_t messages() const { return messages_; }
  [[nodiscard]] std::uint64_t packets() const { return packets_; }

 private:
  void flush(NodeId to);

  Scheduler& scheduler_;
  Peers& peers_;
  std::array<std::vector<std::byte>, kNodesMax> packets_to_;
  std::uint64_t messages_ = 0;
  std::uint64_t packets_ = 0;
};

}  // namespace duet::raid
