// Core: what a Group is made of.
//
// Twelve files: core.cpp (life, settling), core_io.cpp (reads and writes), core_packets.cpp (what
// is said and heard), core_view.cpp (who leads, what every node does when the view changes),
// core_change.cpp (what the leader does), core_holders.cpp (whose memories have the intents, and
// who of them takes over), core_disks.cpp (disks that come and go), core_wishes.cpp (what
// operators want of them), core_return.cpp (one that failed comes back, and what it has missed),
// core_rebuild.cpp (rebuilding them), core_expand.cpp (spreading over more of them), core_scrub.cpp
// (scrubbing, and what a layer with checksums of its own asks for).
//
// Of the waits in here: a request may hold locks while it waits for a view or for room, so a
// change of view and the settling of intents never wait for a request.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>

#include "intent_log.h"
#include "message.h"
#include "platform/task_scope.h"
#include "row_locks.h"
#include "stripe_io.h"
#include "sweep.h"

namespace duet::raid {

class Core final : public PeersUser, public LockTableUser {
 public:
  Core(Scheduler& scheduler, std::vector<BlockDevice*> devices, Assembly assembly,
       IntentMemory memory, Peers& peers, GroupOptions options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  void start();
  Task<Status> wait_active();
  Task<Status> read(std::uint64_t block, std::span<const MutableBytes> parts);
  Task<Status> write(std::uint64_t block, std::span<const MutableBytes> parts, WriteKind kind,
                     Answer answer);
  Task<Status> flush();
  void node_fenced(NodeId node, std::uint64_t incarnation);
  void node_started(NodeId node, std::uint64_t incarnation);
  void disk_failed(std::uint32_t disk);
  Task<Status> close();

  // core_disks.cpp
  void add_device(BlockDevice& device);
  [[nodiscard]] const BlockDevice* device_called(const DiskId& id) const {
    return disks_.device_called(id);
  }

  // core_wishes.cpp
  Task<Status> keep_out(std::uint32_t disk);
  Task<Status> add_disk(Wish wish, BlockDevice& device, bool force);
  Task<Status> remove_spare(DiskId id);
  Task<Status> expand(std::span<BlockDevice* const> devices, std::span<const DiskId> ids,
                      bool force);
  Task<Status> add_virtual_disk(std::string name, std::uint64_t blocks);

  // core_return.cpp
  Task<Status> take_back(std::uint32_t disk, bool by_itself);

  // core_rebuild.cpp
  void set_needed(const raid::Part& part, Needed needed);

  // core_expand.cpp
  [[nodiscard]] ExpansionStatus expansion_status() const;

  // core_scrub.cpp
  Status start_scrub(ScrubKind kind);
  Status stop_scrub();
  [[nodiscard]] ScrubStatus scrub_status() const;
  Task<Status> read_other(std::uint64_t block, std::uint32_t attempt, MutableBytes bytes);
  Task<Status> repair(std::uint64_t block, ConstBytes good);

  // Of all disks; and of those that the capacity goes by.
  [[nodiscard]] const Geometry& geometry() const { return disks_.geometry(); }
  [[nodiscard]] Geometry capacity() const { return capacity_of(disks_.label()); }
  [[nodiscard]] const Assembly& assembly() const { return assembly_; }
  [[nodiscard]] GroupStatus status() const;
  [[nodiscard]] GroupCounters counters() const;

  // PeersUser
  void on_packet(NodeId from, ConstBytes packet) override;
  void on_session(NodeId node) override;
  void on_stored(NodeId /*node*/) override { log_.wake(); }
  // LockTableUser
  void send(NodeId to, const LockMessage& message) override;
  void settle(LockRange range, std::uint64_t number) override;

 private:
  class LockUse;
  class Request;
  class Wanting;
  // What `wait()`s test again and again; why nothing more will come of this manager.
  [[nodiscard]] std::optional<Error> ended() const;

  // core_io.cpp
  struct Part;  // of a request: within one stripe
  struct Parts;
  struct Kept;  // a write that has a copy of its blocks
  void split(std::uint64_t block, std::span<const MutableBytes> bytes, Parts& parts);
  void plan_parts(Parts& parts, std::uint64_t block, std::span<const MutableBytes> blocks);
  [[nodiscard]] bool has_moved(Part& part) const;
  Task<void> for_each_part(Parts& parts);
  Task<void> take_parts(Parts& parts);
  Task<Status> write_kept(std::uint64_t block, std::span<const MutableBytes> bytes, Answer answer);
  Task<void> finish(std::shared_ptr<Kept> kept);
  Task<Status> read_part(Part& part);
  Task<Status> read_computed(PlacedStripe stripe, std::uint32_t column, Span span, ColumnSet bad,
                             std::span<const MutableBytes> to);
  Task<Status> write_part(Parts& parts, Part& part);
  Task<Status> write_rows(Parts& parts, Part& part, std::uint32_t count);
  Task<Status> hold(LockUse& use, Stripe stripe, LockMode mode);
  Task<Status> hold(LockUse& use, Stripe stripe, LockMode mode, std::uint8_t extra);
  Task<Status> hold(RowLocks::Hold& rows);
  Task<Status> wait_to_begin(const Intent& intent);
  Task<Result<IntentLog::Handle>> begin(const Update& update, Parts* parts = nullptr,
                                        std::uint32_t blocks = 0);
  Task<Status> end_intents(Stripe stripe, std::uint32_t first_row, std::uint32_t rows);
  Task<Status> absorb_failures();
  void tell_of_suspects();
  [[nodiscard]] std::uint64_t range_stripes() const { return disks_.label().range_stripes; }
  [[nodiscard]] LockRange range_of(Stripe stripe) const {
    return LockRange{static_cast<std::uint64_t>(stripe) / range_stripes()};
  }

  // core.cpp
  Task<Status> settle_all();
  Task<void> settle_cycles();
  Task<void> settle_later();
  Task<void> settle_range(LockRange range, std::uint64_t number);
  void stop(const Error& why);
  void notice_end();
  void wake();

  // core_view.cpp
  void say(NodeId to, MessageKind kind, Generation generation, ConstBytes body);
  void say_hello(NodeId to, bool answer);
  void report(bool even_if_nothing = false);
  void on_message(NodeId from, const MessageHead& head, ConstBytes body);
  void on_prepare(NodeId from, Generation generation, const PrepareBody& body);
  void on_lock(NodeId from, const MessageHead& head, ConstBytes body);
  void follow(NodeId from, const LockMessage& message);
  void on_hello(NodeId from, Generation generation, const HelloBody& hello);
  void on_report(NodeId from, const ReportBody& body);
  Task<void> end_own_change();
  Task<void> obey(NodeId leader, Generation generation, PrepareBody body);
  Task<void> prepare(NodeId leader, Generation generation, PrepareBody body);
  [[nodiscard]] bool fits(const PrepareBody& body, bool joins) const;
  [[nodiscard]] bool keep_for_later(NodeId from, const MessageHead& head, ConstBytes body);
  void commit(Generation generation, const CommitBody& body);
  void adopt_in_view(const GroupLabel& label);

  Task<void> lead();
  [[nodiscard]] bool leads() const;
  [[nodiscard]] bool leads_from_cold() const;
  [[nodiscard]] NodeSet connected() const;  // that have said hello
  [[nodiscard]] NodeSet newcomers() const;
  [[nodiscard]] bool change_is_urgent() const;
  [[nodiscard]] bool change_needed() const;
  [[nodiscard]] bool quiet() const;
  [[nodiscard]] NodeSet unsure() const;
  Task<void> ask_again();
  // Of a node's processes, of which the newest alone can be alive.
  [[nodiscard]] bool is_dead(NodeId node, std::uint64_t incarnation) const {
    return incarnation != 0 && incarnation <= dead_[number(node)];
  }
  void note_dead(NodeId node, std::uint64_t incarnation) {
    dead_[number(node)] = std::max(dead_[number(node)], incarnation);
  }
  [[nodiscard]] bool gone(NodeId node) const;
  [[nodiscard]] NodeSet gone_members() const;
  Status wipe(NodeSet nodes);

  // core_holders.cpp
  [[nodiscard]] NodeSet choose_holders(NodeSet members) const;
  [[nodiscard]] NodeSet new_holders(const PrepareBody& body) const;
  [[nodiscard]] bool next_view_is_in_label() const;
  [[nodiscard]] NodeSet heirs() const;
  [[nodiscard]] NodeSet leader_among(NodeSet nodes) const;
  [[nodiscard]] bool must_look_who_leads() const;
  Task<void> look_who_leads();

  // core_change.cpp
  Task<void> look_at_labels();
  Task<Status> read_labels();
  Task<Status> recover(NodeSet origins, std::uint64_t& moved);
  Generation next_proposal();
  [[nodiscard]] GroupLabel next_label(Generation generation, NodeSet members,
                                      NodeSet holders) const;
  bool mark_suspects(GroupLabel& label) const;
  bool mark_failed(GroupLabel& label, ColumnSet disks, ColumnSet away) const;
  Task<Status> write_labels(GroupLabel& label);
  Task<Status> put_view(Generation generation, const PrepareBody& body);
  Task<Status> pay_what_is_owed();
  Task<Status> start_alone();
  Task<Status> finish_for_the_leader();
  Task<bool> prepare_all(Generation generation, PrepareBody body, NodeSet who);
  Task<bool> share(NodeSet origins, NodeSet holders);
  std::uint64_t store_from_memory(NodeId to, std::uint64_t offset, std::uint64_t bytes);
  Task<Status> change_view();
  void announce(const GroupLabel& label, const PrepareBody& body);
  void tell_present_view(NodeSet whom);

  // core_disks.cpp
  bool arrange(GroupLabel& label) const;
  [[nodiscard]] bool arrangement_needed() const;
  bool grant_keeping_out(GroupLabel& label) const;
  bool grant_wish(GroupLabel& label, const Wish& wish) const;
  bool grant_expansion(GroupLabel& label, const Wish& wish) const;
  [[nodiscard]] bool may_lose(const GroupLabel& label, std::uint32_t disk) const;
  [[nodiscard]] bool seen_by_all(NodeId wisher) const;
  [[nodiscard]] bool knows_disks_of(const Wish& wish) const;
  void say_seen();
  Task<void> look_for_disks();
  Task<void> look_for_members();
  [[nodiscard]] bool look_is_worth_it() const;

  // core_wishes.cpp
  [[nodiscard]] std::optional<Status> outcome(const Wish& wish) const;
  [[nodiscard]] std::optional<Status> outcome_of_expansion(const Wish& wish) const;
  Task<Status> come_true(Wish wish);
  Task<Status> prepare_disk(BlockDevice& device, const DiskId& id, bool force);
  Task<void> wake_after(Duration duration);

  // core_return.cpp
  [[nodiscard]] static bool is_kept_out_from(const GroupLabel& label, const Wish& wish);
  [[nodiscard]] bool may_return(const LabelDisk& disk) const;
  Task<void> look_at_failed();
  void bring_back(GroupLabel& label, std::uint32_t disk) const;
  [[nodiscard]] Regions unsettled() const;
  void note_unsettled(const Regions& regions);
  void note_owed(NodeSet owed);
  void say_missed(GroupLabel& label, const Regions& regions) const;
  [[nodiscard]] bool must_say_missed(Stripe stripe) const;
  [[nodiscard]] bool has_unsaid() const;
  void ask_to_say_missed(Stripe stripe);
  void note_missed(const MissedBody& body);
  [[nodiscard]] bool missed_due() const;

  // core_rebuild.cpp
  Task<void> rebuild();
  [[nodiscard]] std::optional<std::uint64_t> next_step() const;
  Task<Status> rebuild_step(std::uint64_t step);
  Task<Status> rebuild_stripe(PlacedStripe stripe);
  using StripeWork = Task<Status> (Core::*)(PlacedStripe);
  struct Fleet;  // stripes of a step that are worked on
  Task<Status> for_each_stripe(std::uint64_t step, StripeWork work);
  Task<void> send_out(Fleet& fleet, Stripe stripe, std::uint8_t extra, StripeWork work);
  Task<Status> alone_with(Stripe stripe, std::uint8_t extra, StripeWork work);
  [[nodiscard]] std::uint8_t ranges_left(std::uint64_t stripe, std::uint64_t end) const;
  Task<void> give_way(std::uint64_t blocks);
  void begin_rebuild();
  void repeat_steps();
  void tell_of_step(std::uint64_t step);
  void note_step(NodeId node, std::uint64_t step, bool passed_by);
  [[nodiscard]] bool needed(std::uint64_t step) const;
  [[nodiscard]] bool lacks_any(std::uint64_t step) const;
  [[nodiscard]] bool anyone_needs(std::uint64_t first, std::uint64_t end) const;
  [[nodiscard]] std::uint64_t step_count() const;
  [[nodiscard]] std::uint64_t first_step() const;
  [[nodiscard]] std::uint64_t stripes_below(std::uint64_t step) const;
  [[nodiscard]] bool progress_due() const;
  [[nodiscard]] bool rebuild_due() const;
  Task<Status> write_progress();

  // core_expand.cpp
  struct Batch;
  struct MoveLocks;
  void begin_expansion();
  void note_move(NodeId node, const MoveBody& body);
  void tell_of_trouble(const Batch& batch);
  void note_trouble(std::uint64_t stripe);
  [[nodiscard]] bool is_stuck() const;
  void say_what_is_known();
  void note_known(NodeId node, const KnowsBody& body);
  [[nodiscard]] bool all_know(std::uint64_t sequence) const;
  [[nodiscard]] bool all_in_sync() const;
  [[nodiscard]] std::uint64_t moved_below() const;
  [[nodiscard]] bool expansion_due() const;
  static void advance(GroupLabel& label, std::uint64_t reached);
  [[nodiscard]] std::uint64_t move_step() const;
  [[nodiscard]] std::optional<Batch> next_batch() const;
  [[nodiscard]] bool still_due(const Batch& batch) const;
  [[nodiscard]] bool recorded(const Batch& batch) const;
  Task<void> expand_stripes();
  Task<Status> move(Batch batch);
  Task<Status> lock_rows(Batch batch, MoveLocks& locks);
  Task<Status> gather(Sheet& sheet);
  Task<Status> move_stripe(Stripe stripe);
  Task<Status> move_away(Batch batch, bool& told);
  Task<Status> move_over(PlacedStripe stripe, Batch batch, bool& told);
  Task<Status> tell_of_move(Batch batch, Generation at);
  Task<Status> wait_until_known();

  // core_scrub.cpp
  Task<void> scrub();
  [[nodiscard]] std::optional<std::uint64_t> next_scrub_step() const;
  Task<Status> scrub_stripe(PlacedStripe stripe);
  using BlockWork = std::function<Task<Status>(PlacedStripe, Cell)>;
  Task<Status> with_block(std::uint64_t block, LockMode mode, const BlockWork& work);
  Task<Status> read_other_cell(PlacedStripe stripe, Cell cell, std::uint32_t attempt,
                               MutableBytes bytes);
  Task<Status> repair_cell(PlacedStripe stripe, Cell cell, ConstBytes good);
  void begin_scrub(const ScrubName& name);
  bool follow_scrub(const ScrubName& name);
  void note_scrub_step(NodeId node, std::uint64_t step, bool matches);
  Task<bool> scrubbed_for_good();
  [[nodiscard]] std::uint64_t whole_since() const;
  [[nodiscard]] bool same_disks_as_scrubbed() const;
  [[nodiscard]] bool unneeded(const PlacedStripe& stripe, std::uint32_t row) const;
  [[nodiscard]] bool tightening_due() const;
  void tell_of_scrub();
  void tell_of_scrub_step(std::uint64_t step, bool matches);
  void on_scrub(const ScrubBody& body);
  void on_scrub_step(NodeId from, const ScrubStepBody& body);

  struct Peer {
    std::uint64_t session = 0;  // in which it said hello
    bool stale = false;         // and was told to change what it said
    HelloBody hello;
    Generation view{};
  };

  Scheduler& scheduler_;
  std::vector<BlockDevice*> devices_;
  const Assembly assembly_;
  const GroupOptions options_;
  const NodeId self_;
  const std::uint64_t incarnation_;
  Peers& peers_;
  GroupCounters counters_;
  Disks disks_;
  StripeIo io_;
  IntentMemory memory_;
  IntentLog log_;
  LockTable locks_;
  RowLocks rows_;
  Outbox outbox_;
  WaitList changed_;
  WaitList granted_;  // locks of the group
  bool dying_ = false;
  std::optional<Error> stopped_;

  // Settling.
  std::uint64_t settles_wanted_ = 0;  // cycles
  std::uint64_t settles_done_ = 0;
  bool settling_ = false;
  bool timer_runs_ = false;

  // The view.
  bool active_ = false;
  bool paused_ = true;  // nothing begins
  Generation view_{};
  NodeSet members_ = 0;
  NodeSet holders_ = 0;  // of those: who has the intents of all
  std::array<std::uint64_t, kNodesMax> incarnations_{};
  Generation prepared_{};
  PrepareBody prepared_body_;
  std::array<Peer, kNodesMax> peer_{};
  std::array<std::uint64_t, kNodesMax> dead_{};     // the newest incarnation that is no more
  std::array<std::uint64_t, kNodesMax> started_{};  // the latest that is known
  NodeSet fenced_ = 0;                              // since the view began
  NodeSet leaving_ = 0;                             // members that have settled everything and go
  ColumnSet reported_ = 0;                          // disks that were suspected in this view
  ColumnSet failed_in_view_ = 0;  // disks that nobody of this view reads or writes
  std::uint64_t renewals_ = 0;    // sessions that were lost, and made again
  std::uint64_t prepared_renewals_ = 0;
  std::uint64_t renewed_ = 0;             // of those, before the view was prepared
  bool closing_ = false;                  // no request begins any more
  std::uint64_t last_early_write_ = 0;    // number of a write
  std::set<std::uint64_t> early_writes_;  // those that are not done
  std::size_t requests_ = 0;              // under way
  std::size_t background_ = 0;            // and of these, of a rebuild or a scrub
  struct Early {
    NodeId from;
    Generation generation;
    LockMessage message;
  };
  std::deque<Early> early_;  // of the view that is prepared
  struct EarlyNews {
    NodeId from;
    MessageHead head;
    std::vector<std::byte> body;
  };
  std::deque<EarlyNews> early_news_;  // the same, of other kinds

  // Disks that come and go.
  std::array<Wish, kNodesMax> wishes_{};  // of the nodes of this view, this one among them
  using Seen = decltype(ReportBody::seen);
  std::array<Seen, kNodesMax> seen_by_{};  // as they said in this view, and this one itself
  AsyncMutex wishing_;                     // one of this node at a time
  int looking_ = 0;                        // look_for_members() runs; nothing begins

  // Of disks that have failed.
  Regions missed_{};             // that the label is to call missed, as was asked for in this view
  Regions unsettled_{};          // of all who prepared the view that this node proposes
  bool unsettled_known_ = true;  // else a disk that fails now is not recorded

  struct Rebuild {
    std::vector<std::pair<DiskId, std::uint64_t>> of;  // disks, and since when
    Instant began{};
    std::uint64_t done_before = 0;  // stripes
    Sweep sweep;
    std::set<std::uint64_t> passed_by;  // steps, of those that are done
    std::optional<Error> trouble;
  };
  Rebuild rebuild_;
  // Who speaks for which stripes.
  std::map<std::uint64_t, std::pair<raid::Part, Needed>> needed_;  // by their first block
  Instant background_due_{};                                       // no stripe before, by the rate

  struct Expansion {
    std::uint32_t before = 0;  // disks; 0: none is under way
    std::uint32_t after = 0;
    Instant began{};
    std::map<std::uint64_t, std::uint64_t>
        done;  // by its begin the end of what was told in this view
    std::array<std::uint64_t, kNodesMax> shares{};
    std::optional<Error> trouble;
    std::optional<std::uint64_t> stuck;  // who was to move this stripe next could not
  };
  Expansion expansion_;
  std::array<KnowsBody, kNodesMax> known_{};      // which label each node goes by, at least
  std::vector<std::unique_ptr<MoveLocks>> kept_;  // of moves that did not come to their end

  struct Scrub {
    ScrubName of;
    bool running = false;
    Instant began{};
    Sweep sweep;
    std::array<ScrubReport, kNodesMax> reports{};  // of each node
    Regions left{};           // with a step that is done, and not all of which matches
    bool matches = true;      // of the step that this node does: what is done of it
    bool touched = false;     // something of it was written, or must be on the disks for good
    std::uint32_t tries = 0;  // of it, that failed
    std::optional<Error> trouble;
  };
  Scrub scrub_;

  // As the leader.
  std::uint64_t term_ = 0;  // of the labels that this node writes
  Generation proposal_{};
  NodeSet prepared_by_ = 0;
  bool changing_ = false;      // change_view() runs
  int giving_way_ = 0;         // who waits for the end of it; none begins
  bool asking_again_ = false;  // ask_again() runs
  std::uint64_t looked_ = 0;   // the changes after which the labels were looked at
  std::uint64_t looked_who_leads_ = 0;
  std::uint64_t changes_ = 0;  // of what a proposal depends on

  TaskScope scope_;
};

// One that close() waits for; none begins behind it.
class Core::Request {
 public:
  enum class Of : std::uint8_t { kCaller, kBackground };
  explicit Request(Core& core, Of of = Of::kCaller)
      : core_(core), background_(of == Of::kBackground ? 1 : 0) {
    ++core_.requests_;
    core_.background_ += background_;
  }
  ~Request() {
    core_.background_ -= background_;
    if (--core_.requests_ == 0 && core_.closing_ && !core_.dying_) {
      core_.changed_.wake_all();
    }
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

 private:
  Core& core_;
  const std::size_t background_;
};

// A ticket for a lock of the group that is given back at the end.
class Core::LockUse final : public LockTicket {
 public:
  LockUse(LockTable& table, WaitList& granted) : table_(table), granted_list_(granted) {}
  ~LockUse() {
    if (granted_) {
      table_.release(*this);
    } else if (wanted_) {
      table_.withdraw(*this);
    }
  }
  LockUse(const LockUse&) = delete;
  LockUse& operator=(const LockUse&) = delete;

  void want(LockRange range, LockMode mode, std::uint8_t extra) {
    wanted_ = true;
    granted_ = table_.acquire(*this, range, mode, extra);
  }
  void lock_granted() override {
    granted_ = true;
    granted_list_.wake_all();
  }
  [[nodiscard]] bool granted() const { return granted_; }

 private:
  LockTable& table_;
  WaitList& granted_list_;
  bool wanted_ = false;
  bool granted_ = false;
};

// What a batch of an expansion has locked: of the group, and of this node's requests.
struct Core::MoveLocks {
  std::list<LockUse> ranges;
  std::list<RowLocks::Hold> rows;
};

}  // namespace duet::raid
