// Two nodes, one log, and everything that may go wrong between them, at every persistent write.
//
// Whenever a memory, the mark or the root changes, the question is put: if the owner ended here,
// or both machines lost their power, what would be replayed?
//   I5: everything that was counted durable, from the owner's memory; and from the copy, if neither
//       generation nor mark forbid it.
//   The copy of a log that is synced is never forbidden.

#include <gtest/gtest.h>

#include <iostream>
#include <numeric>
#include <random>

#include "mirror_fixture.h"

namespace duet::nvlog::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

struct Reached {
  std::uint64_t questions = 0;
  std::uint64_t copies = 0;  // that would have served
  std::uint64_t vetoed = 0;  // by a mark
  std::uint64_t resumed = 0;
  std::uint64_t solos = 0;
  std::uint64_t synced = 0;  // times solo was left
  std::uint64_t takeovers = 0;
  std::uint64_t restarts = 0;
  std::uint64_t partner_restarts = 0;
  std::uint64_t blanks = 0;
};

class MirrorWorld {
 public:
  MirrorWorld(std::uint64_t seed, Wire kind, Reached& reached)
      : pair_(seed, kind), random_(seed * 77 + 5), reached_(reached) {
    pair_.begin();
    observe();
  }

  void run(int actions) {
    for (int i = 0; i < actions && !failed(); ++i) {
      act();
      watch();
    }
    if (!failed()) {
      heal();
    }
  }

 private:
  static bool failed() { return ::testing::Test::HasFailure(); }

  void observe() {
    for (const std::size_t node : {0U, 1U}) {
      const auto ask = [this](auto) { question(); };
      pair_.own[node]->observe(ask);
      pair_.mirror[node]->observe(ask);
      if (pair_.processes[node].duties != nullptr) {
        pair_.processes[node].duties->on_change = [this] { question(); };
      }
    }
  }

  void act() {
    const Node from = random_.one_in(2) ? Node::kA : Node::kB;
    switch (random_.below(24)) {
      case 0:
        pair_.wire.cut(from);
        break;
      case 1:
      case 2:
        pair_.wire.heal(Node::kA);
        pair_.wire.heal(Node::kB);
        break;
      case 3:
        pair_.wire.reset();
        break;
      case 4:
        restart_partner(random_.one_in(3));
        break;
      case 5:
        restart_owner();
        break;
      case 6:
        take_over();
        break;
      case 7:
      case 8:
      case 9:
        begin_cp();
        break;
      case 10:
      case 11:
      case 12:
        end_cp();
        break;
      case 13:
      case 14:
        pair_.run_for(milliseconds(random_.below(400)));
        break;
      case 15:
      case 16:
        pair_.run_for(microseconds(random_.below(500)));
        break;
      default:
        append_some();
    }
  }

  void append_some() {
    for (std::uint64_t n = 1 + random_.below(4); n > 0; --n) {
      const std::size_t size = 1 + random_.below(200);
      if (!pair_.log().fits(size)) {
        return;
      }
      history_.push_back(body_of(history_.size() + 1 + 1000 * pair_.disks.root.epoch, size));
      ASSERT_TRUE(append(pair_.log(), history_.back()).ok());
      watch();
    }
  }

  void begin_cp() {
    if (!freeze_.has_value() && pair_.log().can_switch()) {
      freeze_ = pair_.disks.root;
      freeze_->log_empty = false;
      freeze_->mirror_generation = pair_.log().mirror_generation();
      freeze_->last = pair_.log().switch_half();
    }
  }
  void end_cp() {
    if (!freeze_.has_value()) {
      return;
    }
    pair_.disks.root = *freeze_;
    question();
    const Sequence covered = freeze_->last;
    freeze_.reset();
    ASSERT_TRUE(pair_.log().release(covered).ok());
  }

  // What was counted durable, or a root covers: nothing of it may be lost.
  [[nodiscard]] std::uint64_t acknowledged() const {
    return std::max(acknowledged_, static_cast<std::uint64_t>(pair_.disks.root.last));
  }
  void watch() {
    if (pair_.processes[index(pair_.owner)].log == nullptr) {
      return;
    }
    const auto now = static_cast<std::uint64_t>(pair_.log().durable());
    if (now > acknowledged_) {
      acknowledged_ = now;
      question();
    }
    const std::uint64_t resumed = pair_.log().mirror_status().resumed;
    reached_.resumed += resumed - std::min(resumed, resumed_);
    resumed_ = resumed;
    const bool solo = pair_.log().mirror_status().solo;
    reached_.solos += solo && !solo_ ? 1 : 0;
    reached_.synced += !solo && solo_ ? 1 : 0;
    solo_ = solo;
  }

  void question() {
    if (asking_ || failed()) {
      return;
    }
    if (pair_.processes[index(pair_.owner)].log != nullptr) {
      acknowledged_ = std::max(acknowledged_, static_cast<std::uint64_t>(pair_.log().durable()));
    }
    asking_ = true;
    ++reached_.questions;
    ask(false);
    ask(true);
    asking_ = false;
  }

  void ask(bool power_lost) {
    const Node owner = pair_.owner;
    sim::SimPersistentMemory own(*pair_.own[index(owner)]);
    sim::SimPersistentMemory mirror(pair_.copy_memory());
    sim::SimPersistentMemory nothing(*Pair::blank());
    if (power_lost) {
      own.lose_power(random_);
      mirror.lose_power(random_);
    }
    // The node restarts with its own memory.
    expect_everything(own, nullptr, "its own log");
    // Its memory is lost: the partner's copy serves, or is forbidden.
    if (pair_.disks.mark) {
      ++reached_.vetoed;
      return;
    }
    const bool synced = pair_.processes[index(owner)].log != nullptr && pair_.synced();
    const Result<std::uint64_t> replayed = replay(nothing, &mirror);
    if (replayed.ok()) {
      ++reached_.copies;
      expect_everything(nothing, &mirror, "the copy");
    } else {
      EXPECT_EQ(replayed.error().code, Errc::kForeign) << replayed.error().context;
      EXPECT_FALSE(synced && !blanked_) << "the copy of a synced log is refused";
    }
  }

  Result<std::uint64_t> replay(sim::SimPersistentMemory& own,
                               const sim::SimPersistentMemory* copy) {
    records_.clear();
    // A node of its own, which nobody talks to.
    sim::SimScheduler scheduler(1);
    SimWire wire(scheduler, {});
    sim::SimPersistentMemory mirror(64);
    const auto link = wire.open({kIdentity.pair, Node::kA, Incarnation{1}}, mirror);
    MirrorPort port(*link, mirror, kIdentity.pair);
    Disks disks;
    TestDuties duties(scheduler, disks);
    const auto log =
        MirroredLog::recover(scheduler, own, kIdentity, pair_.disks.root, copy, port, duties, {},
                             [this](const ReplayRecord& record) -> Status {
                               records_.emplace_back(static_cast<std::uint64_t>(record.sequence),
                                                     Body(record.body.begin(), record.body.end()));
                               return Ok{};
                             });
    if (!log.ok()) {
      return log.error();
    }
    return static_cast<std::uint64_t>(log.value()->last());
  }

  void expect_everything(sim::SimPersistentMemory& own, const sim::SimPersistentMemory* copy,
                         const char* what) {
    const Result<std::uint64_t> last = replay(own, copy);
    ASSERT_TRUE(last.ok()) << what << ": " << last.error().context;
    ASSERT_GE(last.value(), acknowledged()) << what;
    ASSERT_LE(last.value(), history_.size()) << what;
    for (const auto& [sequence, body] : records_) {
      ASSERT_EQ(body, history_[sequence - 1]) << what;
    }
  }

  void restart_partner(bool blank) {
    const Node partner = partner_of(pair_.owner);
    if (random_.one_in(3)) {
      pair_.wire.die_silently(partner);
    }
    pair_.kill(partner);
    // A writer that has it mapped does not write into a memory that is gone.
    if (blank) {
      pair_.run_for(milliseconds(1200));
      watch();
      ++reached_.blanks;
      blanked_ = true;
      pair_.mirror[index(partner)] = Pair::blank();
    }
    if (random_.one_in(2)) {
      pair_.run_for(milliseconds(random_.below(300)));
    }
    pair_.boot(partner);
    pair_.host().admit(kIdentity.filer, 1);
    ++reached_.partner_restarts;
    observe();
  }

  // The owner's process ends and opens the filer again from its own log.
  void restart_owner() {
    const Node owner = pair_.owner;
    watch();
    pair_.kill(owner);
    freeze_.reset();
    ++reached_.restarts;
    if (random_.one_in(2)) {
      pair_.own[index(owner)]->lose_power(random_);
      pair_.run_for(milliseconds(random_.below(300)));
    }
    pair_.boot(owner);
    opened(owner, pair_.recover(owner));
  }

  // The partner opens the filer from its copy, if it may.  The old owner ends now or goes on
  // for a while, without a lease.
  void take_over() {
    const Node old = pair_.owner;
    const Node taker = partner_of(old);
    watch();
    freeze_.reset();
    const bool zombie = random_.one_in(2) && !pair_.disks.mark && !blanked_;
    if (zombie) {
      pair_.wire.stale_writer(old, true);
    } else {
      pair_.kill(old);
    }
    copy_ = pair_.processes[index(taker)].port->take(kIdentity.filer);
    if (zombie) {
      asking_ = true;  // what the zombie does is of no importance any more
      for (int i = 0; i < 3 && pair_.log().fits(50); ++i) {
        history_.push_back(body_of(history_.size() + 999, 50));
        ASSERT_TRUE(append(pair_.log(), history_.back()).ok());
      }
      pair_.run_for(microseconds(300));
      pair_.kill(old);
      asking_ = false;
    }
    pair_.wire.stale_writer(old, false);
    MirrorRecovered taken = pair_.recover(taker, pair_.disks.mark ? nullptr : copy_.get());
    if (!taken.status.ok()) {
      pair_.processes[index(taker)].port->admit(kIdentity.filer, 1);
      pair_.boot(old);
      opened(old, pair_.recover(old));
      return;
    }
    ++reached_.takeovers;
    opened(taker, std::move(taken));
    pair_.boot(old);
    pair_.processes[index(old)].port->admit(kIdentity.filer, pair_.disks.root.epoch);
    observe();
  }

  void opened(Node node, MirrorRecovered found) {
    ASSERT_TRUE(found.status.ok()) << found.status.error().context;
    const auto last = static_cast<std::uint64_t>(found.log->last());
    ASSERT_GE(last, acknowledged());
    for (const auto& [sequence, body] : found.records) {
      ASSERT_LE(sequence, history_.size());
      ASSERT_EQ(body, history_[sequence - 1]);
    }
    history_.resize(last);
    acknowledged_ = last;
    resumed_ = 0;
    solo_ = false;
    blanked_ = false;
    asking_ = true;
    pair_.open(node, std::move(found.log));
    asking_ = false;
    observe();
    question();
  }

  // Faults stop: everything comes back.
  void heal() {
    pair_.wire.heal(Node::kA);
    pair_.wire.heal(Node::kB);
    end_cp();
    for (int i = 0; i < 50 && !pair_.synced(); ++i) {
      pair_.run_for(milliseconds(200));
      begin_cp();
      end_cp();
      watch();
    }
    ASSERT_TRUE(pair_.synced()) << static_cast<int>(pair_.log().mirror_status().state);
    ASSERT_TRUE(pair_.run([this] { return !pair_.disks.mark; }));
    blanked_ = false;
    begin_cp();
    end_cp();
    append_some();
    ASSERT_TRUE(pair_.run([this] { return pair_.durable() == history_.size(); }));
    watch();
    question();
  }

  std::unique_ptr<PersistentMemory> copy_;
  Pair pair_;
  sim::Random random_;
  Reached& reached_;
  std::vector<Body> history_;  // what the filer applied; sequence 1 first
  std::vector<std::pair<std::uint64_t, Body>> records_;
  std::optional<Covered> freeze_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t resumed_ = 0;
  bool solo_ = false;
  bool blanked_ = false;  // the copy was lost since the filer was opened or healed
  bool asking_ = false;
};

class MirrorCrash : public ::testing::TestWithParam<Wire> {};

TEST_P(MirrorCrash, NothingThatWasCountedDurableIsLostAnywhere) {
  Reached reached;
  std::vector<std::uint64_t> seeds(100);
  std::iota(seeds.begin(), seeds.end(), 1);
  std::random_device fresh;  // a few that nobody has tried
  for (int i = 0; i < 10; ++i) {
    seeds.push_back(fresh());
  }
  for (const std::uint64_t seed : seeds) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    MirrorWorld world(seed, GetParam(), reached);
    world.run(150);
    if (::testing::Test::HasFailure()) {
      std::cout << "seed " << seed << '\n';
      return;
    }
  }
  std::cout << "questions " << reached.questions << ", copies that serve " << reached.copies
            << ", vetoed " << reached.vetoed << ", resumed " << reached.resumed << ", solo "
            << reached.solos << ", left again " << reached.synced << ", takeovers "
            << reached.takeovers << ", restarts " << reached.restarts << ", of the partner "
            << reached.partner_restarts << ", blank " << reached.blanks << '\n';
  EXPECT_GT(reached.questions, 10'000U);
  EXPECT_GT(reached.copies, 1'000U);
  EXPECT_GT(reached.vetoed, 1'000U);
  EXPECT_GT(reached.resumed, 5U);
  EXPECT_GT(reached.synced, 50U);
  EXPECT_GT(reached.takeovers, 50U);
}

INSTANTIATE_TEST_SUITE_P(Links, MirrorCrash, kWires, name_of);

}  // namespace
}  // namespace duet::nvlog::testing
