// Beater: a node's own sectors, renewed every beat on each of its members.
//
// Invariants:
//   (1) Rule 1: one write per sector is under way, and only its node writes it.
//   (2) Rule 5: renewed() is when the newest renewal *started* that as many members hold as
//       the serving quorum asks for.  A renewal that ends late counts from its start.
//   (3) Rule 10: between hold() and resume() no write starts.
//
// Ownership: borrows scheduler, clock and disks; dies before them.  Thread-safety: the scheduler's
// thread.

#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "mailbox/members.h"
#include "mailbox/sector.h"
#include "platform/clock.h"
#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::mailbox {

struct BeatOptions {
  Duration lease = std::chrono::milliseconds(500);
  Duration beat = std::chrono::milliseconds(100);
};

// What a beat says of the node, beside that it lives.
struct BeatContent {
  NodeState state = NodeState::kStarting;
  std::uint32_t serving = 0;  // bit f: filer f is served
  std::uint64_t membership_generation = 0;
  std::array<std::uint64_t, kFilers> epochs{};
};

class Beater {
 public:
  // REQUIRES: 1 to kMembersMax members, at blocks that nobody else writes.
  Beater(Scheduler& scheduler, const BootClock& clock, const Writer& writer, MemberDisks members,
         const BeatOptions& options);
  Beater(const Beater&) = delete;
  Beater& operator=(const Beater&) = delete;

  void start();
  // The members from now on.  Given two sets, only a renewal that reached the quorum of each counts
  // (rule 2: who watches may know either).  REQUIRES: as the constructor, for each set.
  void use(const MemberSets& sets);
  // What the next beats say.
  void describe(const BeatContent& content) { content_ = content; }
  [[nodiscard]] const BeatContent& content() const { return content_; }

  void hold() { held_ = true; }
  void resume();
  // Completes when nothing is under way.  REQUIRES: held.
  Task<void> quiet();

  // None before the first.
  [[nodiscard]] std::optional<Instant> renewed() const { return renewed_; }
  // Members whose last beat arrived.
  [[nodiscard]] std::size_t reached() const;

  // Beats only as long as this says that the node's serving strands make progress (rule 6).
  std::function<bool()> progress;
  std::function<void()> on_renewed;  // renewed() has grown
  std::function<void()> on_fenced;   // a member refused this node (rule 10)

 private:
  struct Slot {
    shelf::SharedDisk* disk;
    std::unique_ptr<SectorBuffer> buffer;
    std::uint64_t sequence = 0;
    bool under_way = false;
    bool arrived = false;                 // the last one
    std::optional<Instant> last_started;  // of the last that arrived
    bool retired = false;                 // no member any more: ends when its write has
  };
  Task<void> beat_on(Slot& slot);
  void write_sector(Slot& slot) const;
  void arrived(Slot& slot, Instant started);
  [[nodiscard]] std::optional<Instant> reached_by(const MemberDisks& members) const;

  Scheduler& scheduler_;
  const BootClock& clock_;
  const Writer writer_;
  const BeatOptions options_;
  BeatContent content_;
  MemberSets sets_;
  std::list<Slot> slots_;
  bool started_ = false;
  std::optional<Instant> renewed_;
  bool held_ = false;
  WaitList resumed_;
  WaitList ended_;
  TaskScope scope_;
};

}  // namespace duet::mailbox
