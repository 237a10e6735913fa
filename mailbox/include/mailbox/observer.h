// Observer: what a node sees of its partner's mailbox.
//
// Life is "the record changed" (rule 4), timed by the observer's own clock; the lease that counts
// is the one in the partner's record.  Unreadable, torn and foreign sectors say nothing (rule 1).
//
// Ownership: borrows scheduler and disks; dies before them.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "mailbox/beater.h"
#include "mailbox/members.h"
#include "platform/task_scope.h"

namespace duet::mailbox {

enum class Readable : std::uint8_t {
  kBoth,  // the reading quorum: enough to say that nothing changed
  kOne,   // some, but fewer
  kNone,
};

// What each member held at some moment.
struct BeatSnapshot {
  struct Beat {
    std::uint64_t incarnation = 0;  // 0: the sector was never written
    std::uint64_t sequence = 0;
    friend bool operator==(const Beat&, const Beat&) = default;
  };
  std::vector<std::optional<Beat>> members;  // none: not readable
};

class Observer {
 public:
  // `assumed`: lease and beat of a partner that was never seen.
  Observer(Scheduler& scheduler, const std::array<std::uint64_t, 2>& pair, Node peer,
           MemberDisks members, const BeatOptions& assumed);
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  // The members from now on: what was seen on the others counts no more, and a change is taken to
  // have been seen now.
  void use(const MemberDisks& members);

  // Reads every member once.  Does not wait for a member beyond `patience`: that one is not
  // readable, and is not read again before its read has ended.  Until the look has ended, what is
  // asked below is answered from the one before.
  Task<void> look(Duration patience);

  [[nodiscard]] Readable readable() const;
  // Of the looks up to now: when a change was last seen, on any member; the first look is one.
  [[nodiscard]] Instant changed() const { return changed_; }
  // For how long the reading quorum is known to have been unchanged: from changed() to the
  // beginning of the last look that has ended.  Zero unless readable() is kBoth.
  [[nodiscard]] Duration unchanged_for() const;
  // Rule 5: unchanged for the lease in the partner's record and a tenth more.
  [[nodiscard]] bool lease_is_over() const { return unchanged_for() >= wait_time(); }
  [[nodiscard]] Duration wait_time() const;
  [[nodiscard]] Duration lease() const;
  // No change for two of its beats and a half: not yet death.
  [[nodiscard]] bool stale() const;

  [[nodiscard]] BeatSnapshot snapshot() const;
  // Whether any member holds another beat than in `before`, or cannot tell.
  [[nodiscard]] bool moved_since(const BeatSnapshot& before) const;

  // The newest beat seen, of the greatest incarnation; none if there never was one.
  [[nodiscard]] const std::optional<BeatSector>& beat() const { return newest_; }

  // The partner's last words, if a member has them.
  Task<std::optional<WordsSector>> read_words();

 private:
  struct Slot {
    shelf::SharedDisk* disk;
    SectorBuffer buffer{};
    bool reading = false;
    bool answered = false;                   // in the look that began last
    bool readable = false;                   // in the last that has ended
    std::optional<BeatSnapshot::Beat> last;  // the last that was readable
  };
  Task<void> read(std::shared_ptr<Slot> slot);
  void take(Slot& slot, const Status& status);

  Scheduler& scheduler_;
  const std::array<std::uint64_t, 2> pair_;
  const Node peer_;
  const BeatOptions assumed_;
  std::vector<std::shared_ptr<Slot>> slots_;  // a read keeps the slot of a former member
  std::optional<BeatSector> newest_;
  Instant changed_{};
  Instant look_begun_{};    // the last
  Instant looked_since_{};  // ... that has ended: when it began
  TaskScope scope_;
};

// Rule 6: written by the supervisor of a node, once its process is gone, on each member that can
// be written.  Error: none could.
Task<Status> write_words(Writer writer, MemberDisks members, Incarnation dead, Cause cause,
                         Duration restart, std::uint64_t crashes);

}  // namespace duet::mailbox
