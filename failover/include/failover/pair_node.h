// PairNode: one node of a pair: it beats, watches its partner, and owns filers one opening at a
// time.
//
// For each filer:
//
//            +--------------------- lost: the record names another ---------------------+
//            v                                                                          |
//   kAway --claim--> kOpening --opened--> kServing --hand over--> kHanding --swapped--> kAway
//     ^                 |                   ^  |                      |
//     +--refused, failed+                   |  +--lost--> kEnding -->-+--> kAway
//                                           +------- not swapped -----+
//
// Invariants (numbers of DESIGN's list in brackets):
//   (1) I10: a filer leaves kAway only after a swap of this process put {this node, its
//       incarnation, a new epoch} into the owner record, or after its owner handed it over to
//       exactly this process; and it replays only after the record was read again behind the fence.
//   (2) I11: may_answer() is false unless the filer is kServing, the lease holds and no conflict is
//       unresolved.
//   (3) I5: no copy is replayed unless the reading quorum of the marks was read behind the fence
//       and none was seen.
//   (4) A filer is claimed only when nothing of an earlier opening of this process is under way.
//   (5) After a conflict nothing starts before all own I/O has ended and the record was read
//       (rule 10).
//   (6) The groups hear that the partner was shut out only when no lease of it can be valid any
//       more: what it read from their disks until then, and answered, was true.
//
// Transition -> function:
//   look, decide                      watch.cpp     look(), evidence(), act()
//   restart at home, handed over      opening.cpp   open_mine(), swap_in(), join_disks(),
//                                                   finish_opening()
//   takeover (rule 8)                 takeover.cpp  take_over(): wait_out_lease() -> claim()
//                                                   -> fence() -> second_wait() -> cut_partner()
//                                                   -> read_again() -> replay()
//                                                   -> take_addresses() -> serve(); refuse()
//   conflict (rule 10), loss          conflict.cpp  resolve_conflict(), lose()
//   giveback, planned (rules 11, 12)  handover.cpp  hand_over(), prepare_for()
//   giveback by itself (rule 11)      giveback.cpp  consider_giveback()
//   members change (rule 2)           members.cpp   replace_member(), follow_members()
//   the record moves (rule 3)         place.cpp     move_record(), agree_to_move(), follow_place()
//   a start without every disk        known.cpp     enter_by_word(), tell_partner(), let_in_late()
//   redundancy groups                 group_duties.cpp  what differs in a pair that has them
//
// Ownership: borrows everything it is given; dies before it.  Destroying it is what kill -9 is.
// Thread-safety: the scheduler's thread; may_answer() any.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "failover/filer_host.h"
#include "failover/gated_disk.h"
#include "failover/lease_guard.h"
#include "failover/pair_message_format.h"
#include "failover/report.h"
#include "failover/shared_groups.h"
#include "interconnect/partner_link.h"
#include "mailbox/arbiter.h"
#include "mailbox/beater.h"
#include "mailbox/marks.h"
#include "mailbox/members.h"
#include "mailbox/observer.h"
#include "nvlog/mirrored_log.h"
#include "platform/clock.h"
#include "platform/task_scope.h"
#include "shelf/late_disk.h"

namespace duet::failover {

// One shared disk.  Members are among the disks of the node's own filer (rule 2).
struct PairDisk {
  shelf::SharedDisk* disk = nullptr;
  std::uint32_t filer = 0;  // whose aggregate it is in; its home is the node of the same number
  bool member = false;      // of that node's mailbox, as configured; the disks know better
  // The same for both nodes, of no other disk; zero: not known yet, of one that is late.
  mailbox::DiskIdentity identity{};
  shelf::LateDisk* late = nullptr;  // `disk`, if it could not be reached at the start
  // A redundancy group's: no filer's data is on it but the group's, which goes its own way.
  bool grouped = false;
};

// A disk of a redundancy group on which nothing of the mailbox may ever be.
struct GroupDisk {
  shelf::SharedDisk* disk = nullptr;
  shelf::LateDisk* late = nullptr;
};

// One that a filer lives on and that is no disk of its own: of a redundancy group.
struct VirtualDisk {
  shelf::SharedDisk* disk = nullptr;
  std::uint32_t filer = 0;
};

// What a pair with redundancy groups has besides.
struct GroupParts {
  SharedGroups* groups = nullptr;
  std::vector<GroupDisk> disks;
  std::vector<VirtualDisk> virtual_disks;
};

struct PairOptions {
  mailbox::Writer self;
  mailbox::BeatOptions beat;
  Duration look = std::chrono::milliseconds(50);           // between two looks at the partner
  Duration link_silence = std::chrono::milliseconds(300);  // an application beat this old is none
  Duration restart_window = std::chrono::seconds(5);     // a new partner process may start so long
  Duration handover_patience = std::chrono::seconds(2);  // for the partner's answer
  Duration retry = std::chrono::seconds(1);              // between tries of what failed
  // Two nodes that start together: the one that is there first waits so long for a sign of the
  // other before silence counts.
  Duration start_grace = std::chrono::seconds(2);
  bool automatic_takeover = true;
  // Something beside the disks' reservations fences (the partner's process on this host is killed).
  bool second_fence = false;
  // Rule 11: a filer that was taken over goes home by itself when nothing has spoken against it for
  // `giveback_after`; at most `givebacks_per_hour` times in an hour.
  bool automatic_giveback = false;
  Duration giveback_after = std::chrono::seconds(5);
  std::size_t givebacks_per_hour = 3;
  Duration record_patience = std::chrono::seconds(5);  // a record unreadable for so long moves
};

class PairNode final : private interconnect::ChannelUser {
 public:
  // REQUIRES: every disk is of filer 0 or 1; each node has 1 to 3 members; `arbitration` is the
  // disk of `disks` that held the owner record at first: where it is now, start() finds out.
  PairNode(Scheduler& scheduler, const BootClock& clock, const PairOptions& options,
           std::vector<PairDisk> disks, shelf::SharedDisk& arbitration,
           interconnect::PartnerLink& link, GroupParts groups = {});
  ~PairNode();
  PairNode(const PairNode&) = delete;
  PairNode& operator=(const PairNode&) = delete;

  // What a host is made with: the only disks that it may use, and where its log reports solo.
  [[nodiscard]] std::vector<shelf::SharedDisk*> disks_of(std::uint32_t filer);
  [[nodiscard]] nvlog::MirrorDuties& duties_of(std::uint32_t filer);
  void set_host(std::uint32_t filer, FilerHost& host) { filers_[filer].host = &host; }

  // REQUIRES: both hosts are set.
  void start();

  // The last question before a reply (rule 5).
  [[nodiscard]] bool may_answer(std::uint32_t filer) const {
    return filers_[filer].answering.load(std::memory_order_acquire) && guard_.may_answer();
  }
  // The same for what no filer owns, and a redundancy group does: invariant (6).
  [[nodiscard]] bool lease_valid() const { return guard_.may_answer(); }
  // Whoever was told "no" waits here and asks again; the filer may be gone by then.
  [[nodiscard]] WaitList& answers_resumed() { return guard_.resumed(); }

  // A filer could not go on (a CP failed): it is opened anew.
  void filer_failed(std::uint32_t filer);

  // --- the operator
  // Why the filer cannot be handed to the partner now (rules 11, 12); empty: it can.
  [[nodiscard]] std::vector<Veto> handover_vetoes(std::uint32_t filer) const;
  // This node is about to stop: from now on it takes nothing, and opens nothing.
  void leave() { leaving_ = true; }
  // Nobody takes the filer: it comes to rest here, with nothing to replay if that can be done in
  // time, and goes from here.  status() tells when it is away.  REQUIRES: leave().
  void come_to_rest(std::uint32_t filer) { rest_asked_[filer] = true; }

  // Why a takeover of the partner would not work now.
  [[nodiscard]] std::vector<Veto> takeover_vetoes() const;
  // Begins to hand the filer, hosted here, to the partner: giveback or planned takeover.  status()
  // and events tell what came of it; a veto is given some time to pass.  kRefused: it is not served
  // here.
  Status start_handover(std::uint32_t filer);
  // Makes disk `to` a mailbox member of this node instead of `from`; indices of the disks given to
  // the constructor.  status() and events tell what came of it.  kRefused: why not.
  Status start_replacement(std::size_t from, std::size_t to);
  // Moves the owner record to this disk, by agreement with the partner; as above.
  Status start_move(std::size_t to);
  // Asks the partner to hand over; kClosed: it cannot be asked.
  Status ask_for(std::uint32_t filer);
  // Rule 13.  The first call says in `warning` what would be lost and gives a number; the second,
  // with that number, makes the next takeover accept it.  kRefused: the partner may live.
  struct Confirmation {
    std::uint64_t number = 0;
    std::string_view warning;
  };
  Result<Confirmation> prepare_forced_takeover();
  Status force_takeover(std::uint64_t confirmation);

  [[nodiscard]] PairStatus status() const;

  std::function<void(const Event&)> on_event;
  std::function<void(std::string_view)> on_step;  // each step as it begins, for the trace
  std::function<bool()> progress;                 // of the serving strands; as Beater's
  // Whether the partner's process of that incarnation is known to be gone, by something surer than
  // silence: the kernel of this host.  As good as last words that leave it no time.
  std::function<bool(std::uint64_t incarnation)> partner_gone;
  // The second fence, where there is one: ends the partner's process on this host.
  std::function<Status()> fence_partner;
  std::function<void()> on_renewed;  // the lease, while filers may be served here
  std::function<void()> on_halt;     // a newer process of this node is there: exit
  // Reads the identity of a disk that is here: of one that was late, and again of a redundancy
  // group's, which may get or lose its label.  REQUIRED where a disk is late.
  std::function<Task<Result<mailbox::DiskIdentity>>(std::size_t disk)> identify;
  // Solo or back: as nvlog asks.  Called to start a CP.
  std::function<void(std::uint32_t filer)> on_want_cp;

 private:
  class Duties;
  struct Slot {  // a filer
    FilerHost* host = nullptr;
    FilerState state = FilerState::kAway;
    std::uint64_t epoch = 0;             // of the opening, while not kAway
    std::atomic<bool> answering{false};  // read by every thread that replies
    std::uint64_t expected = 0;          // the epoch in which the owner hands it to us; 0: none
    std::uint64_t admitted = 0;          // the epoch last given to admit_partner()
    bool failed = false;                 // the host says so
    bool lost = false;                   // while kOpening: the record names another
    std::uint64_t lined_up = 0;          // the epoch last given to line_up()
    std::uint64_t handovers = 0;         // tries that have ended
    std::string_view handover_error;     // of the last
    Duration handover_silence{};         // of the last
    Instant retry_at{};
    std::string_view waits_for;
    std::uint64_t refusals = 0;  // in a row; each makes the next opening wait longer
    bool by_operator = false;    // handed here by a partner that goes on: it stays until asked for
  };
  static constexpr std::string_view kStrangeMember =
      "a disk that is a mailbox member, as the disks say, and that this configuration lacks";
  struct Members {  // of one node
    bool known = false;
    std::uint64_t generation = 0;
    std::vector<std::size_t> disks;  // indices of disks_
  };
  struct Proposal {
    mailbox::Place place;
    std::size_t disk = 0;
    Instant since{};
    bool hangs = false;  // nobody works at it any more
  };
  // One attempt to own filers, from the claim to the first answer.
  struct Claim {
    FilerSet filers{};  // those that have not failed
    std::array<std::optional<Error>, kFilers> failed;
    mailbox::Owners before{};    // the record that the swap replaced
    mailbox::BeatSnapshot beat;  // when the wait for the lease began
    bool hard = false;           // the partner is fenced, and its log may be needed
    bool always_wait = false;
    bool known_dead = false;  // the owning process, by last words that leave it no time
    bool forced = false;
    bool quiet = false;                    // nobody works on what is claimed: the partner says so
    std::vector<shelf::SharedDisk*> left;  // of the groups: could not be fenced
    bool arbitrated = false;  // of two that live and do not hear each other this one goes on
    bool takeover = false;
    Instant begun{};
    Instant fenced{};
    std::uint64_t partner = 0;  // its newest process that was known when the fence began
    Phases phases;
  };

  // watch.cpp
  Task<void> run();
  Task<void> beat_link();
  Task<bool> enter();
  Task<bool> enter_by_reading();
  Task<void> look();
  Task<void> look_at_all();
  Task<void> read_record_beside();
  Task<void> look_closer_beside();
  Task<void> wait_for(const bool& running, Instant deadline);
  void watch_lease();
  [[nodiscard]] Evidence evidence() const;
  [[nodiscard]] BeatEvidence beat_evidence() const;
  [[nodiscard]] bool marked_by_partner(std::uint32_t filer) const;
  [[nodiscard]] bool gone(std::uint64_t incarnation) const;
  Task<void> act();
  Task<void> follow_record();
  Task<void> call_disks_of(std::uint32_t filer);
  [[nodiscard]] bool partner_serves(std::uint32_t filer) const;
  void describe();
  void say_state();
  void alarm(Alarm alarm);
  // opening.cpp
  Task<void> open_mine(FilerSet filers);
  Task<Status> open_handed_over(std::uint32_t filer);
  Task<Status> swap_in(Claim& claim);
  Task<Status> join_disks(const Claim& claim);
  Task<Result<bool>> last_opening_finished(const Claim& claim);
  Task<Status> raise_epochs(const Claim& claim);
  Task<void> finish_opening(Claim& claim);
  Task<Status> shut_out(Claim& claim);
  Task<Status> read_again(Claim& claim);
  Task<Status> may_replay(Claim& claim, std::uint32_t filer, bool& copy_allowed);
  Task<Status> replay(Claim& claim, std::uint32_t filer, bool copy_allowed);
  Status serve(std::uint32_t filer);
  static void fail(Claim& claim, std::uint32_t filer, const Error& error);
  static void fail_all(Claim& claim, const Error& error);
  Task<void> give_up(const Claim& claim);
  [[nodiscard]] Duration back_off(std::uint64_t refusals) const;
  Task<void> close(std::uint32_t filer, std::string_view why);
  // takeover.cpp
  Task<void> take_over(bool forced, bool arbitrated = false);
  Task<bool> wait_out_lease(Claim& claim);
  Task<Status> fence(Claim& claim);
  Task<Status> fence_disks(Claim& claim);
  Task<Status> fence_one(shelf::SharedDisk& disk);
  Task<void> fence_those_left(std::uint64_t incarnation, std::uint64_t exclusion);
  Task<Status> fence_for_group(shelf::SharedDisk& disk, std::vector<shelf::SharedDisk*>& left);
  Task<void> exclude(Claim& claim);
  Task<void> second_wait(Claim& claim);
  void cut_partner(const Claim& claim);
  Task<void> refuse(std::uint32_t filer, const Error& why);
  // conflict.cpp
  void conflict();
  Task<void> resolve_conflict();
  Task<mailbox::OwnersRead> read_record_surely();
  Task<bool> register_again(bool kept_only);
  Task<void> lose(std::uint32_t filer);
  void halt();
  // members.cpp
  Task<bool> learn_members(std::uint32_t node);
  [[nodiscard]] bool adopt(std::uint32_t node, const mailbox::Membership& found);
  Task<void> follow_members();
  Task<void> settle_members();
  Task<void> replace_member(std::size_t from, std::size_t to);
  Task<Status> replace(Members next);
  [[nodiscard]] Task<Status> write_note(bool all);
  void use_members(std::uint32_t node);
  void say_members(std::uint32_t node);
  [[nodiscard]] mailbox::MemberDisks disks_at(const std::vector<std::size_t>& indices) const;
  [[nodiscard]] mailbox::MemberDisks gates_at(const std::vector<std::size_t>& indices) const;
  [[nodiscard]] std::optional<std::size_t> disk_of(const mailbox::DiskIdentity& identity) const;
  [[nodiscard]] bool is_member(std::size_t disk) const;
  [[nodiscard]] std::optional<std::string_view> replacement_veto(std::size_t from,
                                                                 std::size_t to) const;
  // place.cpp
  Task<bool> find_place();
  Task<void> follow_place();
  Task<void> settle_proposal();
  Task<void> retire_old_places();
  void consider_move();
  Task<void> move_record(std::size_t to);
  Task<Status> move_to(std::size_t to);
  Task<Status> commit_move(const mailbox::PlaceRead& there, const mailbox::Claims& theirs);
  Task<void> agree_to_move(PlaceMessage asked);
  Task<void> drop_proposal();
  void record_moved();
  [[nodiscard]] std::optional<std::string_view> move_veto(std::size_t to) const;
  void on_place_message(ConstBytes bytes);
  Status send(const PlaceMessage& message);
  // known.cpp
  [[nodiscard]] bool is_away(std::size_t disk) const;
  [[nodiscard]] bool members_behind() const;
  [[nodiscard]] bool knows_all() const;
  Task<void> tell_partner(KnowledgeMessage asked);
  void put_members(KnowledgeMessage& message) const;
  Task<void> identify_anew();
  Task<void> identify_disk(std::size_t disk);
  void say_which_members();
  [[nodiscard]] bool members_differ() const;
  void follow_differences();
  void ask_what_is_known();
  void on_knowledge_message(ConstBytes bytes);
  Status send(const KnowledgeMessage& message);
  Task<bool> enter_by_word();
  [[nodiscard]] std::string_view take_word(const KnowledgeMessage& told, std::uint64_t record,
                                           const mailbox::MembersRead& mine,
                                           std::optional<std::uint64_t> in_root);
  [[nodiscard]] bool can_adopt(std::uint32_t node, const KnownMembers& told) const;
  void adopt_told(std::uint32_t node, const KnownMembers& told);
  bool learn_from_partner();
  void note_newest(const mailbox::MembersRead& read);
  void say_waiting();
  void follow_late_disks();
  Task<void> let_in_beside(std::size_t disk, bool of_group);
  Task<Status> join(shelf::SharedDisk& disk);
  Task<Status> let_in_late(std::size_t disk);
  Task<Status> look_at_late(std::size_t disk);
  Status refuse_late(std::string_view why, std::string_view remedy);
  // giveback.cpp
  void consider_giveback();
  // group_duties.cpp
  [[nodiscard]] bool groups_need_partner() const;
  [[nodiscard]] bool must_arbitrate() const;
  [[nodiscard]] std::uint64_t newest_partner() const;
  [[nodiscard]] bool may_go_solo() const;
  [[nodiscard]] bool may_hold_record(std::size_t disk) const;
  [[nodiscard]] bool manages_groups_of(std::uint32_t filer) const;
  Task<Status> join_group_disks();
  Task<Status> let_in_group_disk(std::size_t disk);
  void shut_out_of_groups(const Claim& claim);
  [[nodiscard]] bool reaches_lease_of_partner(const std::vector<shelf::SharedDisk*>& left) const;
  Task<void> begin_groups();
  Task<void> watch_groups();
  [[nodiscard]] bool partner_is_missed() const;
  Task<void> groups_ready(Claim& claim);
  Task<bool> partner_is_quiet(FilerSet filers);
  void tell_whether_quiet(const PairMessage& asked);
  // handover.cpp
  Task<Status> hand_over(std::uint32_t filer);
  Task<void> rest(std::uint32_t filer);
  void ask_handover(std::uint32_t filer);
  [[nodiscard]] std::optional<std::string_view> hard_veto(std::uint32_t filer) const;
  Task<Status> settle(std::uint32_t filer);
  Task<Status> ask_to_prepare(std::uint32_t filer);
  Task<Status> commit(std::uint32_t filer);
  Task<void> serve_on(std::uint32_t filer);
  Task<void> prepare_for();
  void on_message(ConstBytes message) override;
  void on_link(const interconnect::LinkStatus& status) override;
  Status send(PairVerb verb, std::uint32_t filer, std::uint64_t epoch, std::uint64_t number,
              std::uint32_t answer);

  void step(std::string_view what) const;
  void tell(Severity severity, std::string_view what, std::string_view remedy,
            std::optional<std::uint32_t> filer = std::nullopt) const;
  [[nodiscard]] mailbox::Node me() const { return options_.self.node; }
  [[nodiscard]] std::uint32_t my_number() const { return mailbox::index_of(me()); }
  [[nodiscard]] std::uint32_t peer_number() const { return 1 - my_number(); }
  [[nodiscard]] bool is_mine(const mailbox::Owners& owners, std::uint32_t filer) const;
  [[nodiscard]] bool link_up() const;
  // Over the link, or by a beat that changed within its lease on a member that can be read.
  [[nodiscard]] bool partner_shows_life() const;
  [[nodiscard]] bool hosts_any() const;
  [[nodiscard]] bool reaches_disks_of(std::uint32_t filer) const;
  [[nodiscard]] std::vector<GatedDisk*> gates_of(std::uint32_t filer) const;
  [[nodiscard]] bool gates_under_way(std::uint32_t filer) const;
  void open_gates(std::uint32_t filer, std::uint64_t epoch);
  void end_gates(std::uint32_t filer);
  Task<void> gates_quiet(std::uint32_t filer);

  Scheduler& scheduler_;
  const BootClock& clock_;
  const PairOptions options_;
  std::vector<PairDisk> disks_;
  const GroupParts groups_;
  interconnect::PartnerLink& link_;
  LeaseGuard guard_;
  std::vector<std::unique_ptr<GatedDisk>> gates_;          // as disks_
  std::vector<std::unique_ptr<GatedDisk>> virtual_gates_;  // as groups_.virtual_disks
  mailbox::Arbiter arbiter_;
  mailbox::Beater beater_;
  mailbox::Observer observer_;
  std::vector<std::unique_ptr<mailbox::Marks>> marks_;  // by filer
  std::vector<std::unique_ptr<Duties>> duties_;
  std::array<Slot, kFilers> filers_;

  std::array<Members, mailbox::kNodes> members_;
  std::optional<Members> next_;  // mine, that may be in the root already
  std::uint64_t highest_ = 0;    // generation of my members that was ever written
  mailbox::MembersSector note_;  // as written last
  mailbox::MembersWriter note_writer_;
  bool relearn_ = false;  // the partner's members changed
  Instant relearn_at_{};
  std::uint64_t peer_members_ = 0;             // generation, as the partner says
  std::optional<KnowledgeMessage> peer_says_;  // which disks the mailboxes are, both nodes'
  Instant agreed_at_{};                        // about that, last
  bool differ_told_ = false;
  std::set<std::size_t> identified_;  // disks of which the identity is being read anew
  bool replacing_ = false;
  std::uint64_t replacements_ = 0;
  std::string_view replacement_error_;

  std::size_t arbitration_ = 0;          // index of disks_
  std::optional<Proposal> proposal_;     // promised
  std::vector<std::size_t> old_places_;  // where a record that counts no more may stand
  Instant retire_at_{};
  Instant record_seen_{};  // when it could be read last
  Instant move_at_{};
  std::size_t moves_tried_ = 0;
  bool moving_ = false;
  bool agreeing_ = false;
  std::uint64_t moves_ = 0;
  std::string_view move_error_;
  std::optional<PlaceMessage> place_answer_;
  std::uint64_t peer_place_ = 0;  // generation, as the partner says

  std::array<std::optional<Instant>, kFilers> giveback_since_;  // nothing has spoken against it
  std::vector<Instant> givebacks_;                              // of the last hour
  std::string_view giveback_;

  Instant entered_at_{};
  bool entered_ = false;        // what counts is known: from here on it beats, and owns filers
  std::uint64_t entries_ = 0;   // tries that came to nothing for want of a disk
  std::string_view waits_for_;  // before that
  std::uint64_t asked_number_ = 0;
  std::optional<KnowledgeMessage> told_;  // the answer to that
  bool letting_in_ = false;               // a late disk
  Instant let_in_at_{};
  Instant apart_since_{};  // that both live and do not hear each other
  Instant looked_at_{};    // when the last look began
  bool looking_ = false;
  bool fencing_ = false;
  std::size_t let_in_next_ = 0;    // asked first
  std::string_view late_refused_;  // why, told last

  std::optional<mailbox::OwnersRead> record_;  // the last that could be read
  bool record_readable_ = false;
  std::optional<mailbox::OwnersRead> fresh_record_;  // of this look
  bool record_reading_ = false;
  std::uint64_t looks_ = 0;
  bool closer_reading_ = false;
  bool calling_ = false;       // disks that are away
  bool lease_lapsed_ = false;  // and it was told
  std::uint64_t refused_takeovers_ = 0;
  std::array<mailbox::MarkReading, kFilers> seen_marks_;
  std::optional<mailbox::WordsSector> words_;
  Instant words_seen_{};
  Instant asked_at_{};
  bool asked_ = false;
  std::uint32_t peer_flags_ = 0;
  std::uint64_t peer_incarnation_ = 0;  // as it says over the link
  Verdict verdict_;
  Alarm alarm_told_ = Alarm::kNone;
  Instant alarm_since_{};  // that verdict_ has the alarm it has
  bool conflict_ = false;  // resolve_conflict() runs
  bool halted_ = false;
  bool taking_ = false;
  bool leaving_ = false;
  Instant may_take_at_{};
  std::vector<shelf::SharedDisk*> left_;  // of the groups: the last exclusion did not reach them
  std::uint64_t exclusions_ = 0;
  std::uint64_t force_number_ = 0;
  bool force_ = false;
  FilerSet handover_asked_{};
  std::array<Instant, kFilers> handover_until_{};  // a veto is waited out so long
  FilerSet rest_asked_{};
  std::optional<PairMessage> prepare_;
  std::optional<PairMessage> prepared_;
  std::optional<PairMessage> quiet_;
  std::uint64_t questions_ = 0;
  std::optional<Phases> last_takeover_;
  WaitList conflict_over_;
  TaskScope scope_;
};

}  // namespace duet::failover
